// How a live table's user part differs from the wish. Pure.

import type { ClassifiedTable } from '../classify/classify.ts';
import { missingFrom, sameSequence } from '../ruleset/multiset.ts';
import { type Item, ruleTexts, type UserChain, type UserTable } from '../ruleset/user-part.ts';

/** What one chain of the user's part lacks, has besides, or has in another order. */
export interface ChainDifference {
  readonly name: string;
  readonly gone: readonly string[];
  readonly added: readonly string[];
  readonly moved: boolean;
  readonly policy: boolean;
  readonly chainGone: boolean;
  readonly chainAdded: boolean;
}

export interface Difference {
  readonly any: boolean;
  readonly chains: readonly ChainDifference[];
}

/** What the live user part lacks, has besides, or has in another order. */
export function differenceOf(wish: UserTable, live: UserTable): Difference {
  const names = new Set([...wish.chains.keys(), ...live.chains.keys()]);
  const chains = [...names].map((name) => chainDifference(name, wish.chains.get(name), live.chains.get(name)));
  const differing = chains.filter(
    (chain) =>
      chain.gone.length + chain.added.length > 0 || chain.moved || chain.policy || chain.chainGone || chain.chainAdded,
  );
  return { any: differing.length > 0, chains: differing };
}

function chainDifference(name: string, wish: UserChain | undefined, live: UserChain | undefined): ChainDifference {
  const before = ruleTexts(wish?.items ?? []);
  const now = ruleTexts(live?.items ?? []);
  const same = sameSequence(before, now);
  const gone = same ? [] : missingFrom(before, now);
  const added = same ? [] : missingFrom(now, before);
  return {
    name,
    gone,
    added,
    moved: !same && gone.length === 0 && added.length === 0,
    policy: wish !== undefined && live !== undefined && isPolicy(wish) && isPolicy(live) && wish.policy !== live.policy,
    // A built-in chain that is not printed is empty, with policy ACCEPT.
    chainGone:
      wish !== undefined && live === undefined && (wish.policy === '-' || (isPolicy(wish) && wish.policy !== 'ACCEPT')),
    chainAdded: wish === undefined && live !== undefined && live.policy === '-',
  };
}

/** A built-in chain of the user's part: it has a policy. */
export const isPolicy = (chain: UserChain): boolean => chain.policy !== '-' && chain.policy !== 'foreign';

/**
 * Rules that a neighbour claims by now (a set became whole) are no longer the user's. Only where nothing else of the chain's
 * is gone: what a neighbour writes after a flush, in the user's very words, is a copy of its own.
 */
export function withoutReclaimed(wish: UserTable, live: ClassifiedTable | undefined): UserTable {
  if (live === undefined) return wish;
  let chains: Map<string, UserChain> | undefined;
  for (const chain of wish.chains.values()) {
    const items = keptItems(chain, live);
    if (items === chain.items) continue;
    chains ??= new Map(wish.chains);
    chains.set(chain.name, { ...chain, items });
  }
  return chains === undefined ? wish : { name: wish.name, chains };
}

function keptItems(chain: UserChain, live: ClassifiedTable): readonly Item[] {
  const entry = live.chains.get(chain.name);
  if (entry === undefined) return chain.items;
  const users: string[] = [];
  const foreign = new Set<string>();
  entry.chain.rules.forEach((rule, index) => {
    if (entry.claims[index]?.owner === 'user') users.push(rule.text);
    else foreign.add(rule.text);
  });
  const mine = ruleTexts(chain.items);
  if (foreign.size === 0 || sameSequence(mine, users)) return chain.items;
  const slotted = new Set(chain.items.flatMap((item) => (item.kind === 'slot' ? item.texts : [])));
  const gone = missingFrom(mine, users);
  const reclaimed = new Set(gone.filter((text) => foreign.has(text) && !slotted.has(text)));
  return reclaimed.size === 0 || gone.some((text) => !reclaimed.has(text))
    ? chain.items
    : chain.items.filter((item) => item.kind === 'slot' || !reclaimed.has(item.text));
}
