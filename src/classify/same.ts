// Does a live table hold exactly these user rules? Pure.

import { sameSequence } from '../ruleset/multiset.ts';
import { ruleTexts, type UserTable } from '../ruleset/user-part.ts';
import { type ClassifiedTable, userTableOf } from './classify.ts';

/** True when both hold the same user rules in the same order in every chain, and at least one rule. */
export function sameUserRules(part: UserTable | undefined, live: ClassifiedTable): boolean {
  if (part === undefined) return false;
  const table = userTableOf(live);
  const names = new Set([...part.chains.keys(), ...table.chains.keys()]);
  let count = 0;
  for (const name of names) {
    const wanted = ruleTexts(part.chains.get(name)?.items ?? []);
    const found = ruleTexts(table.chains.get(name)?.items ?? []);
    if (!sameSequence(wanted, found)) return false;
    count += wanted.length;
  }
  return count > 0;
}
