// Policies of chains that were not there before: a table that iptables made for the rules that go now.
// Why: rules that go and a DROP that stays lock the host. The kernel's own policy of a new table is ACCEPT. Pure.

import type { UserRules } from '../record/memory.ts';
import { FAMILIES, type Family } from '../ruleset/types.ts';
import type { UserPart, UserTable } from '../ruleset/user-part.ts';

/** `before`, and for each built-in chain that only `after` has a policy of ACCEPT. */
export function withOpenPolicies(before: UserRules, after: UserRules): UserRules {
  const [ip, ip6] = FAMILIES.map((family) => withPolicies(before[family], after[family])) as [UserPart, UserPart];
  return { ...before, ip, ip6 } satisfies Record<Family, UserPart> & UserRules;
}

function withPolicies(before: UserPart, after: UserPart): UserPart {
  const tables = new Map<string, UserTable>(before.tables);
  for (const { name, chains } of after.tables.values()) {
    const own = new Map(tables.get(name)?.chains);
    for (const chain of chains.values())
      if (!own.has(chain.name) && (chain.policy === 'DROP' || chain.policy === 'ACCEPT'))
        own.set(chain.name, { name: chain.name, policy: 'ACCEPT', items: [] });
    tables.set(name, { name, chains: own });
  }
  return { ...before, tables };
}
