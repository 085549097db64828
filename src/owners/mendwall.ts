// What mendwall itself adds: the sentinel chains that serve as optimistic lock (law 7), and rules it marks.

import type { Chain } from '../ruleset/types.ts';
import type { Owner } from './types.ts';

/** `mw-1a2b3c4d` */
export const SENTINEL = /^mw-[0-9a-f]{8}$/;

/** A sentinel is always empty: a chain of that name with rules in it is the user's. */
export function isSentinel({ name, rules }: Pick<Chain, 'name' | 'rules'>): boolean {
  return rules.length === 0 && SENTINEL.test(name);
}

/** `-m comment --comment "mendwall:open-guests default"` */
const MARK = / --comment "?mendwall:/;

export const mendwall: Owner = {
  id: 'mendwall',
  title: 'mendwall itself',
  slot: 'kept',
  place: 'as-found',
  byText: true,
  claim(view, sheet) {
    for (const chain of view.table.chains.values()) {
      if (isSentinel(chain)) {
        sheet.chain(chain.name, { owner: 'mendwall', evidence: 'sentinel chain (optimistic lock)' });
        continue;
      }
      chain.rules.forEach((rule, index) => {
        if (rule.text.includes('mendwall:') && MARK.test(rule.text)) {
          sheet.rule(chain.name, index, { owner: 'mendwall', evidence: 'comment mendwall:' });
        }
      });
    }
  },
};
