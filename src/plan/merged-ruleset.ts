// The ruleset that plans lead to: every target in its table, what no plan speaks of as it stands. Pure.

import type { TargetTable } from '../merge/merge.ts';
import { SENTINEL } from '../owners/mendwall.ts';
import type { Chain, Ruleset, Table } from '../ruleset/types.ts';
import type { FamilyWork } from './family-plan.ts';

/** Tables in the order of `live`, then those only the plans have. */
export function mergedRuleset(live: Ruleset, work: Pick<FamilyWork, 'tables'>): Ruleset {
  const targets = new Map(work.tables.map(({ table, target }) => [table, target]));
  const names = [...live.tables.keys(), ...[...targets.keys()].filter((name) => !live.tables.has(name))];
  const tables = new Map<string, Table>();
  for (const name of names) {
    const target = targets.get(name);
    if (target !== undefined) tables.set(name, { name, chains: chainsOf(target, live.tables.get(name)) });
  }
  return { family: live.family, tables };
}

function chainsOf(target: TargetTable, live: Table | undefined): Map<string, Chain> {
  const chains = new Map<string, Chain>();
  for (const { name, policy, rules } of target.chains.values()) {
    if (rules.length === 0 && SENTINEL.test(name)) continue;
    const now = live?.chains.get(name);
    const counters = now?.policy === (policy ?? now?.policy) ? now?.counters : undefined;
    chains.set(name, {
      name,
      policy: policy ?? now?.policy ?? 'ACCEPT',
      counters,
      rules: rules.map(({ text }) => ({ chain: name, text, counters: undefined })),
    });
  }
  return chains;
}
