// Whose a built-in chain's policy is. Nothing in the kernel tells who set it, so it is inferred: ufw sets policies when it is
// switched on, and while it is, its jumps stand in those chains. Pure.
// Does not: undo or set a policy; a policy that changed is the wish all the same, so that nobody fights over it.

import type { Classified } from '../classify/classify.ts';
import { neighbourById } from '../owners/index.ts';
import type { OwnerId } from '../ruleset/user-part.ts';
import type { Drift } from './drift.ts';

/** Who is taken to have set the policy of a chain of the table filter; undefined: nobody known. */
export function policySetter({ tables }: Classified, chain: string): OwnerId | undefined {
  const owners =
    tables
      .get('filter')
      ?.chains.get(chain)
      ?.claims.map(({ owner }) => owner) ?? [];
  return owners.find((owner) => neighbourById(owner)?.policies?.includes(chain) === true);
}

/** The drift that is the user's: without policies that a neighbour has set. */
export function withoutSetPolicies(drift: readonly Drift[], live: readonly Classified[]): Drift[] {
  return drift.filter(({ kind, family, table, chain }) => {
    const classified = live.find(({ ruleset }) => ruleset.family === family);
    return kind !== 'policy' || table !== 'filter' || !classified || policySetter(classified, chain) === undefined;
  });
}
