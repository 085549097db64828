// The user's part to have from now on, once it is decided whose word counts: as it stands live, or as it was wished. Pure.

import { reslot } from './reslot.ts';
import { liveOrder } from './merge.ts';
import { weave } from './weave.ts';
import type { Situation } from './decide.ts';
import { isPolicy } from './difference.ts';
import { ruleTexts, type UserChain, type UserTable } from '../ruleset/user-part.ts';

/** The user's rules back, and what the neighbour brought kept: its unmarked lines are its own, not mendwall's to take out. */
export function restoredTable(situation: Situation, wish: UserTable, live: UserTable): UserTable {
  const chains = new Map(live.chains);
  for (const chain of wish.chains.values())
    chains.set(chain.name, restoredChain(situation, chain, live.chains.get(chain.name), 'wish'));
  return { name: wish.name, chains };
}

/** The live user part, with the slots of the wish where they now belong. Stale copies of neighbours are not in it. */
export function takeLive(situation: Situation, wish: UserTable, live: UserTable): UserTable {
  const chains = new Map<string, UserChain>();
  for (const chain of live.chains.values())
    chains.set(chain.name, takeLiveChain(situation, wish.chains.get(chain.name), chain));
  for (const chain of wish.chains.values()) {
    // Slots outlive a load that did not bring their chain: the neighbour's rules come back to their places.
    if (!chains.has(chain.name) && isPolicy(chain))
      chains.set(chain.name, { ...chain, policy: 'ACCEPT', items: chain.items.filter((item) => item.kind === 'slot') });
  }
  return { name: live.name, chains };
}

function takeLiveChain(situation: Situation, wish: UserChain | undefined, live: UserChain): UserChain {
  if (wish === undefined) return { ...live, items: live.items.filter((item) => item.kind === 'rule') };
  const items = reslot(wish.items, liveOrder(situation.live, live.name), situation.isGuestBridge);
  return { name: live.name, policy: live.policy, items };
}

/** No flush sets DROP: where it stands, somebody closed the host (`-P INPUT DROP; -F`), and mendwall does not open it again. */
function closerPolicy(wish: string, live: string | undefined): string {
  return live === 'DROP' && wish === 'ACCEPT' ? live : wish;
}

/** A chain as the user had it; rules that were added since are kept, in their place. */
export function restoredChain(
  situation: Situation,
  wish: UserChain,
  live: UserChain | undefined,
  policyOf: 'wish' | 'live',
): UserChain {
  const policy = policyOf === 'live' && live !== undefined ? live.policy : closerPolicy(wish.policy, live?.policy);
  if (live === undefined) return { ...wish, policy };
  const texts = weave(ruleTexts(wish.items), ruleTexts(live.items));
  const order = texts.map((text) => ({ owner: 'user', text }));
  return { name: wish.name, policy, items: reslot(wish.items, order, situation.isGuestBridge) };
}
