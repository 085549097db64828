// What rule counters tell where there are no events: a table whose user rules all count from the start again was built
// anew, by a load or by a script. Pure. Measured with iptables 1.8.9, both engines: -A, -D and -P keep the counters of the
// other rules (those of a chain's policy start again with each command, so they prove nothing).

import type { Classified } from '../classify/classify.ts';
import type { TableName } from '../ruleset/types.ts';

/** Packets seen by each user rule that has seen any, by table and rule text. */
export type RuleCounters = ReadonlyMap<TableName, ReadonlyMap<string, number>>;

export function countersOf(classified: Classified): RuleCounters {
  const tables = new Map<TableName, Map<string, number>>();
  for (const table of classified.tables.values()) {
    const counters = new Map<string, number>();
    for (const entry of table.chains.values()) {
      entry.chain.rules.forEach((rule, index) => {
        const packets = Number(rule.counters?.split(':')[0] ?? 0); // 12:840
        if (packets > 0 && entry.claims[index]?.owner === 'user')
          counters.set(rule.text, packets + (counters.get(rule.text) ?? 0));
      });
    }
    tables.set(table.name, counters);
  }
  return tables;
}

/**
 * True when every user rule of the table that stood before with packets, and stands now, has seen fewer; and there is one.
 * A table without user rules of its own goes with the others of its family: one file loads them all.
 */
export function restarted(before: RuleCounters | undefined, classified: Classified, table: TableName): boolean {
  const now = countersOf(classified);
  const own = usersTexts(classified, table);
  if (own.size > 0) return restartedIn(before, now, table, own);
  return [...now.keys()].some((other) => restartedIn(before, now, other, usersTexts(classified, other)));
}

function restartedIn(
  before: RuleCounters | undefined,
  now: RuleCounters,
  table: TableName,
  texts: ReadonlySet<string>,
): boolean {
  const standing = [...(before?.get(table) ?? [])].filter(([text]) => texts.has(text));
  return standing.length > 0 && standing.every(([text, packets]) => (now.get(table)?.get(text) ?? 0) < packets);
}

function usersTexts(classified: Classified, table: TableName): Set<string> {
  const chains = [...(classified.tables.get(table)?.chains.values() ?? [])];
  return new Set(
    chains.flatMap(({ chain, claims }) =>
      chain.rules.filter((_, index) => claims[index]?.owner === 'user').map((rule) => rule.text),
    ),
  );
}
