// The native tables as one side of `diff --effect` has them: the neighbours' of now, and the user's own of that side. Pure.
// Does not: say which of the neighbours' would stand then, or place iptables' saved parts (the merge does).

import { isSameTable, type NativePart } from '../ruleset/nft/native-part.ts';
import { parseNft } from '../ruleset/nft/parse.ts';
import { printNftTable } from '../ruleset/nft/print.ts';
import { isSavedKey } from '../ruleset/nft/saved.ts';
import { type NftTable, type NftText, tableKey } from '../ruleset/nft/types.ts';

export interface NativeText {
  /** As `nft list ruleset` prints it. */
  readonly text: string;
  /** Tables that no packet is asked of, by `FAMILY NAME`. */
  readonly without: ReadonlySet<string>;
}

/** `live`: the user's part of what is listed; `side`: what the user has on that side. A table that is alike stays as listed. */
export function nativeOfSide(listed: NativeText, live: NativePart, side: NativePart): NativeText {
  if (live === side) return listed;
  const { parts } = parseNft(listed.text, 'nft list ruleset');
  const seen = new Set(parts.map((part) => (part.kind === 'table' ? tableKey(part) : '')));
  const changed = [...side].filter(([key, table]) => !isSavedKey(key) && !isSameTable(table, live.get(key)));
  const gone = [...live.keys()].filter((key) => !isSavedKey(key) && !side.has(key));
  const replaced = new Map<string, NftTable | undefined>([...changed, ...gone.map((key) => [key, undefined] as const)]);
  const textOf = (part: NftTable | NftText): string => {
    if (part.kind === 'text') return part.source;
    const key = tableKey(part);
    const table = replaced.has(key) ? replaced.get(key) : part;
    return table === undefined ? '' : printNftTable(table);
  };
  const added = changed.filter(([key]) => !seen.has(key)).map(([, table]) => printNftTable(table));
  const dormant = changed.filter(([, { flags }]) => flags.includes('dormant')).map(([key]) => key);
  const without = [...listed.without].filter((key) => !replaced.has(key));
  return { text: [...parts.map(textOf), ...added].join(''), without: new Set([...without, ...dormant]) };
}
