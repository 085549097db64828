// The edits that make the rules mendwall keeps for guests what they should be, in both engines. Pure.
// Guarantees: no rule but marked ones is written or deleted; what stands as wanted is not touched; each place is the one
// that the question was answered for, or the plan says `stale` and nothing is done.

import { withoutMarked } from '../classify/classify-native.ts';
import type { Classified } from '../classify/classify.ts';
import type { TargetChain, TargetTable } from '../merge/merge.ts';
import { isMarked, isSentinel } from '../owners/mendwall.ts';
import { sameSequence } from '../ruleset/multiset.ts';
import { canonicalRule } from '../ruleset/nft/same.ts';
import { chainsOf, type NftChain, type NftRule, type NftTable, tableKey } from '../ruleset/nft/types.ts';
import { type Chain, type Family, isBuiltin, type Table } from '../ruleset/types.ts';
import { MENDWALL, USER } from '../ruleset/user-part.ts';
import type { Edit, TablePlan } from './plan.ts';

/** One rule to keep: `at` rules of its chain, marked ones not counted, stand above it, and `above` directly below (empty: none). */
export interface OpeningAt {
  readonly chain: string;
  readonly at: number;
  readonly above: string;
  readonly text: string;
}

// --- iptables ----------------------------------------------------------------------------------------------------

/** The table with these openings and no other; undefined where it stands so. */
export function openedTable(
  { ruleset }: Classified,
  name: string,
  openings: readonly OpeningAt[],
): TargetTable | undefined {
  const live = ruleset.tables.get(name);
  if (live === undefined) return undefined;
  const chains = [...live.chains.values()].filter((chain) => !isSentinel(chain));
  const opened = chains.map((chain) => openedChain(chain, openings));
  const isSame = chains.every(({ rules }, index) =>
    sameSequence(rules.map(textOf), (opened[index] as TargetChain).rules.map(textOf)),
  );
  return isSame ? undefined : { name, chains: new Map(opened.map((chain) => [chain.name, chain])) };
}

/**
 * From a table to another that differs in marked rules only. No other rule is touched: the least edit might move one of the
 * user's past one of ours.
 */
export function openingPlan(family: Family, name: string, from: Chains, to: Chains): TablePlan {
  const edits = [...to].flatMap(([chain, { rules }]) => {
    const [before, after] = [(from.get(chain)?.rules ?? []).map(textOf), rules.map(textOf)];
    return sameSequence(before, after) ? [] : chainEdits(chain, before, after);
  });
  return { family, table: name, edits };
}

type Chains = ReadonlyMap<string, { readonly rules: readonly { readonly text: string }[] }>;

function chainEdits(chain: string, before: readonly string[], after: readonly string[]): Edit[] {
  const last = after.findLastIndex((text) => !isMarked(text));
  const inserts = after.flatMap((text, index): Edit[] => {
    const at = index > last ? undefined : index + 1;
    return isMarked(text) ? [{ kind: 'insert', chain, text, at, counters: undefined }] : [];
  });
  return [...before.filter(isMarked).map((text): Edit => ({ kind: 'delete', chain, text })), ...inserts];
}

/** Tables that hold marked rules. */
export const tablesWithOpenings = ({ ruleset }: Classified): string[] =>
  [...ruleset.tables.values()].filter(hasMarked).map(({ name }) => name);

const hasMarked = ({ chains }: Table): boolean =>
  [...chains.values()].some(({ rules }) => rules.some(({ text }) => isMarked(text)));

const textOf = ({ text }: { readonly text: string }): string => text;

function openedChain(chain: Chain, openings: readonly OpeningAt[]): TargetChain {
  const texts = chain.rules.map(textOf).filter((text) => !isMarked(text));
  const mine = openings.filter((each) => each.chain === chain.name);
  const rules = between(
    texts.map((text) => ({ owner: USER, text })),
    mine.map(({ at, text }) => ({ at, item: { owner: MENDWALL, text } })),
  );
  return { name: chain.name, policy: isBuiltin(chain) ? undefined : '-', rules };
}

/** `items` with each of `more` before the item of its number. */
function between<T>(items: readonly T[], more: readonly { readonly at: number; readonly item: T }[]): T[] {
  const before = (index: number): T[] => more.filter(({ at }) => at === index).map(({ item }) => item);
  return [...items.flatMap((item, index) => [...before(index), item]), ...before(items.length)];
}

// --- nft ---------------------------------------------------------------------------------------------------------

export interface NativeOpenings {
  /** `inet filter` */
  readonly key: string;
  /**
   * Empty chains of mendwall's own that stand in the table. Handles are counted anew in a table that was replaced: a commit by
   * handle first deletes these by name, and fails where the table is another one.
   */
  readonly locks: readonly string[];
  /** `delete rule ... handle 7`, `insert rule ... handle 5 ...`, `add rule ...`; empty: it stands as wanted. */
  readonly lines: readonly string[];
}

/** The lines for one table as `nft -a` lists it; `stale` where it is no longer the one the question was about. */
export function nativeOpenings(table: NftTable, openings: readonly OpeningAt[]): NativeOpenings | 'stale' {
  const key = tableKey(table);
  const bare = new Map(chainsOf(withoutMarked(table)).map((chain) => [chain.name, chain]));
  const isAsStood = ({ chain, at, above }: OpeningAt): boolean =>
    bare.has(chain) && canonicalRule(bare.get(chain)?.rules[at]?.text ?? '') === canonicalRule(above);
  if (!openings.every(isAsStood)) return 'stale';
  const locks = chainsOf(table).filter(isSentinel);
  const lines = chainsOf(table).flatMap((chain) =>
    chainLines(
      key,
      chain,
      openings.filter((each) => each.chain === chain.name),
    ),
  );
  return { key, locks: locks.map(({ name }) => name), lines };
}

function chainLines(key: string, chain: NftChain, openings: readonly OpeningAt[]): string[] {
  const users = chain.rules.filter(({ text }) => !isMarked(text));
  const wanted = between(
    users.map(textOf),
    openings.map(({ at, text }) => ({ at, item: text })),
  );
  const standing = chain.rules.map(({ text }) => canonicalRule(text));
  if (sameSequence(standing, wanted.map(canonicalRule))) return [];
  const place = `${key} ${chain.name}`;
  return [
    ...chain.rules.filter(({ text }) => isMarked(text)).map(({ handle }) => `delete rule ${place} handle ${handle}`),
    ...openings.map(({ at, text }) => insertLine(place, users[at], text)),
  ];
}

const insertLine = (place: string, above: NftRule | undefined, text: string): string =>
  above === undefined ? `add rule ${place} ${text}` : `insert rule ${place} handle ${above.handle} ${text}`;
