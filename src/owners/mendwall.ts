// What mendwall itself adds: the sentinel chains that serve as optimistic lock (law 7), and rules it marks.
// Neither is the user's word: no snapshot, wish or pending holds them, and no repair puts them back.

import type { Owner } from './types.ts';

/** `mw-1a2b3c4d` */
export const SENTINEL = /^mw-[0-9a-f]{8}$/;

/** A sentinel is always empty: a chain of that name with rules in it is the user's. */
export function isSentinel({ name, rules }: { readonly name: string; readonly rules: readonly unknown[] }): boolean {
  return rules.length === 0 && SENTINEL.test(name);
}

/** `-m comment --comment "mendwall:open-guests default"`; of nft: `comment "mendwall:open-guests default"`. */
const MARK = /(?: --|\b)comment "?mendwall:/;

/** True for a rule that mendwall keeps, of either engine. */
export const isMarked = (text: string): boolean => text.includes('mendwall:') && MARK.test(text);

/** The comment of the rules that open a chain for a network's guests. A name that would need quoting gives way to the uuid. */
export const openingMark = ({ name, uuid }: { readonly name: string; readonly uuid: string }): string =>
  `mendwall:open-guests ${/^[\w.-]{1,64}$/.test(name) ? name : uuid}`;

/** `-A INPUT ... --comment "mendwall:open-guests default" -j ACCEPT`: default */
export const openedNetwork = (text: string): string | undefined =>
  isMarked(text) ? /mendwall:open-guests ([^"\s]+)/.exec(text)?.[1] : undefined;

export const mendwall: Owner = {
  id: 'mendwall',
  title: 'mendwall itself',
  slot: 'none',
  place: 'as-found',
  byText: false,
  claim(view, sheet) {
    for (const chain of view.table.chains.values()) {
      if (isSentinel(chain)) {
        sheet.chain(chain.name, { owner: 'mendwall', evidence: 'sentinel chain (optimistic lock)' });
        continue;
      }
      chain.rules.forEach((rule, index) => {
        if (isMarked(rule.text)) sheet.rule(chain.name, index, { owner: 'mendwall', evidence: 'comment mendwall:' });
      });
    }
  },
};
