// The rows of the design's table that are decided chain by chain: wipes, damage by a neighbour, and what stays `pending`. Pure.

import { isLibvirts, isLeftToUser } from '../owners/index.ts';
import { countRules, ruleTexts, type UserTable } from '../ruleset/user-part.ts';
import type { Decision, Situation } from './decide.ts';
import type { ChainDifference, Difference } from './difference.ts';
import { restoredChain, takeLive } from './next-table.ts';

type ChainVerdict = 'wipe' | 'damage' | 'pending';

/** Chain by chain, once the burst is over and no load is to be seen: a wipe, damage, or the user's own doing. */
export function decideChains(situation: Situation, wish: UserTable, live: UserTable, difference: Difference): Decision {
  const tableWiped = isTableWiped(situation, wish, live, difference);
  const verdicts = new Map<string, ChainVerdict>();
  const chains = new Map(takeLive(situation, wish, live).chains);
  for (const chain of difference.chains) {
    const verdict = tableWiped ? 'wipe' : chainVerdict(situation, chain, wish, live);
    verdicts.set(chain.name, verdict);
    const before = wish.chains.get(chain.name);
    if (verdict !== 'pending' && before !== undefined)
      chains.set(
        chain.name,
        restoredChain(situation, before, live.chains.get(chain.name), verdict === 'wipe' ? 'wish' : 'live'),
      );
    // No rule of the user's is left in it.
    else if (!live.chains.has(chain.name) && isTakenByItsOwner(situation, chain)) chains.delete(chain.name);
  }
  const kinds = new Set(verdicts.values());
  const kind = kinds.has('wipe') ? 'wipe' : kinds.has('damage') ? 'damage' : 'pending';
  return {
    kind,
    next: { name: wish.name, chains },
    evidence: [...verdicts].map(([name, verdict]) => `${name}=${verdict}`),
    loaded: false,
  };
}

/** All user rules of a table are gone, and not one by one by name, as far as events say. */
function isTableWiped(situation: Situation, wish: UserTable, live: UserTable, difference: Difference): boolean {
  if (countRules(live) > 0) return false;
  if (situation.live === undefined && wish.chains.size > 0) return true;
  const lost = countRules(wish);
  if (lost === 0)
    return situation.summary?.wiped === true && difference.chains.some((chain) => chain.chainGone || chain.policy);
  return situation.summary === undefined || situation.summary.wiped;
}

function chainVerdict(situation: Situation, chain: ChainDifference, wish: UserTable, live: UserTable): ChainVerdict {
  if (isTakenByItsOwner(situation, chain)) return 'pending';
  if (isChainWiped(situation, chain, wish, live)) return 'wipe';
  const lossy = chain.gone.length > 0 || chain.moved || chain.chainGone;
  if (lossy && isDamage(situation)) return 'damage';
  if (chain.gone.length > 0 && situation.onDelete === 'restore') return 'damage';
  return 'pending';
}

/**
 * A neighbour rewrote a chain that it keeps for itself, and a rule of the user's in there went with it (`ufw reload`, neutron's
 * next change). It is not put back against the chain's owner, who would take it out again: shown as pending. libvirt's chains
 * are no such: libvirt deletes its own rules by text, and leaves others' alone.
 */
function isTakenByItsOwner({ summary, live }: Situation, { name }: ChainDifference): boolean {
  const owner = live?.chains.get(name)?.claim.owner;
  if (owner === undefined || owner === 'user' || isLibvirts(owner) || isLeftToUser(owner, name)) return false;
  return summary !== undefined && !summary.wiped && !summary.byOther && summary.writers?.includes(owner) === true;
}

/** A chain of the user's own that is deleted (`-X`) was emptied on purpose: nothing jumped to it any more. */
function isChainWiped({ summary }: Situation, chain: ChainDifference, wish: UserTable, live: UserTable): boolean {
  const before = wish.chains.get(chain.name);
  if (before === undefined) return false;
  const had = ruleTexts(before.items).length;
  const refilled = ruleTexts(live.chains.get(chain.name)?.items ?? []).length > 0;
  // Rules added in the wipe's own burst are a script's (decide.ts); later ones, before the wipe was mended, are only added.
  const emptied = had > 0 && chain.gone.length === had && (!refilled || summary?.wiped === true);
  if (before.policy === '-') return emptied && !chain.chainGone && summary?.wiped === true;
  return emptied && (summary === undefined || summary.wiped);
}

/** Losses in a neighbour's burst are the neighbour's doing, unless another author is known. */
function isDamage({ summary }: Situation): boolean {
  if (summary === undefined) return false;
  return (summary.byNeighbour ?? summary.neighbour) !== undefined && !summary.byOther;
}
