// What several checks ask of a table: who jumps to a chain, and whether anybody does. Pure.

import type { Classified, ClassifiedTable } from '../classify/classify.ts';
import { isBuiltin, type Family } from '../ruleset/types.ts';

export interface Seat {
  readonly family: Family;
  readonly table: string;
  readonly chain: string;
}

/** `-A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd` */
export const targetOf = (text: string): string | undefined => / -[jg] (\S+)/.exec(text)?.[1];

/** Every table of both families. */
export const tablesOf = (
  families: readonly Classified[],
): readonly { readonly family: Family; readonly table: ClassifiedTable }[] =>
  families.flatMap(({ ruleset, tables }) => [...tables.values()].map((table) => ({ family: ruleset.family, table })));

/** Chains with rules in them that no packet reaches: no way leads there from a built-in chain. */
export function unreachable(table: ClassifiedTable): ReadonlySet<string> {
  const open = [...table.chains.values()].filter(({ chain }) => isBuiltin(chain)).map(({ chain }) => chain.name);
  const seen = new Set(open);
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    for (const { text } of table.chains.get(name)?.chain.rules ?? []) {
      const target = targetOf(text);
      if (target === undefined || seen.has(target) || !table.chains.has(target)) continue;
      seen.add(target);
      open.push(target);
    }
  }
  const filled = [...table.chains.values()]
    .filter(({ chain }) => chain.rules.length > 0)
    .map(({ chain }) => chain.name);
  return new Set(filled.filter((name) => !seen.has(name)));
}
