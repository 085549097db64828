// Rules that stand but can never be written: text that iptables-save prints and iptables-restore refuses. Pure.
// Measured with iptables 1.8.9, both engines: a comment typed with a line break is printed over two lines, and loading that
// ends with exit code 2, "Bad argument", for -A and -D alike. Only a command with the comment as one argument can make it.
// Guarantees: no plan deletes, inserts or moves such a rule; the others are placed around it; one that is gone is reported.

import type { ClassifiedTable } from '../classify/classify.ts';
import { alignStaying } from '../ruleset/align.ts';
import { missingFrom } from '../ruleset/multiset.ts';
import type { Family } from '../ruleset/types.ts';
import { ruleTexts, type UserTable } from '../ruleset/user-part.ts';
import type { TargetChain, TargetTable } from './merge.ts';
import type { PlacedRule } from './place.ts';

const WHY =
  'iptables-restore cannot load a line break inside quotes; type it again with iptables, or `mendwall snapshot`';

/** A rule that is wanted and cannot be loaded; the same shape as one that iptables refused. */
export interface LostUnloadable {
  readonly family: Family;
  readonly table: string;
  readonly chain: string;
  readonly text: string;
  readonly why: string;
}

const isUnloadable = (text: string): boolean => text.includes('\n');

/** Unloadable rules of the wish that do not stand: nobody but the user can bring them back. */
export function lostUnloadable(
  family: Family,
  wish: UserTable | undefined,
  live: ClassifiedTable | undefined,
): LostUnloadable[] {
  return [...(wish?.chains.values() ?? [])].flatMap((chain) => {
    const wanted = ruleTexts(chain.items).filter(isUnloadable);
    if (wanted.length === 0) return [];
    const standing = live?.chains.get(chain.name)?.chain.rules.map((rule) => rule.text) ?? [];
    return missingFrom(wanted, standing).map((text) => ({
      family,
      table: wish?.name ?? '',
      chain: chain.name,
      text,
      why: WHY,
    }));
  });
}

/** The target with the unloadable rules exactly as they stand: each behind the rule that stays before it. */
export function leaveInPlace(target: TargetTable, live: ClassifiedTable | undefined): TargetTable {
  const standing = [...(live?.chains.values() ?? [])].filter(({ chain }) =>
    chain.rules.some((rule) => isUnloadable(rule.text)),
  );
  if (standing.length === 0) return target;
  const chains = new Map(target.chains);
  for (const entry of standing) {
    const { name, policy } = entry.chain;
    const order = entry.chain.rules.map(({ text }, index) => ({ text, owner: entry.claims[index]?.owner ?? 'user' }));
    const wanted: TargetChain = chains.get(name) ?? { name, policy, rules: [] };
    chains.set(name, { ...wanted, rules: aroundStanding(wanted.rules, order) });
  }
  return { ...target, chains };
}

/** What stays of `live` in `wanted` and the unloadable rules of `live` together are in order: the planner moves none of them. */
function aroundStanding(wanted: readonly PlacedRule[], live: readonly PlacedRule[]): PlacedRule[] {
  const loadable = wanted.filter((rule) => !isUnloadable(rule.text));
  const staying = alignStaying(
    live.map((rule) => rule.text),
    loadable.map((rule) => rule.text),
  );
  const fixed = live.flatMap((rule, at) => (isUnloadable(rule.text) ? [{ rule, at }] : []));
  const result: PlacedRule[] = [];
  loadable.forEach((rule, index) => {
    const at = staying[index] ?? -1;
    while (at !== -1 && fixed[0] !== undefined && fixed[0].at < at)
      result.push(...fixed.splice(0, 1).map((f) => f.rule));
    result.push(rule);
  });
  return [...result, ...fixed.map((each) => each.rule)];
}
