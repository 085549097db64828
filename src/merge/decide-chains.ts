// The rows of the design's table that are decided chain by chain: wipes, damage by a neighbour, and what stays `pending`. Pure.

import { ownerById } from '../owners/index.ts';
import { isMarkedBy } from '../owners/marks.ts';
import { countRules, ruleTexts, type UserChain, type UserTable } from '../ruleset/user-part.ts';
import type { Decision, Situation } from './decide.ts';
import type { ChainDifference, Difference } from './difference.ts';
import { restoredChain, takeLive } from './next-table.ts';

type ChainVerdict = 'wipe' | 'damage' | 'pending';

/** Chain by chain, once the burst is over and no load is to be seen: a wipe, damage, or the user's own doing. */
export function decideChains(situation: Situation, wish: UserTable, live: UserTable, difference: Difference): Decision {
  const tableWiped = isTableWiped(situation, wish, live, difference);
  const verdicts = new Map<string, ChainVerdict>();
  const chains = new Map(takeLive(situation, wish, live).chains);
  for (const name of wish.chains.keys())
    if (!chains.has(name) && wish.chains.get(name)?.policy === 'foreign')
      chains.set(name, wish.chains.get(name) as UserChain);
  for (const chain of difference.chains) {
    const verdict = tableWiped ? 'wipe' : chainVerdict(situation, chain, wish, live);
    verdicts.set(chain.name, verdict);
    const before = wish.chains.get(chain.name);
    if (verdict !== 'pending' && before !== undefined)
      chains.set(
        chain.name,
        restoredChain(situation, before, live.chains.get(chain.name), verdict === 'wipe' ? 'wish' : 'live'),
      );
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
  if (isTakenByItsWriter(situation, chain, wish, live)) return 'pending';
  if (isChainWiped(situation, chain, wish, live)) return 'wipe';
  const lossy = chain.gone.length > 0 || chain.moved || chain.chainGone;
  if (lossy && isDamage(situation)) return 'damage';
  if (chain.gone.length > 0 && situation.onDelete === 'restore') return 'damage';
  return 'pending';
}

/** A neighbour without a file in owners/ took away or moved rules that carry its own mark, and no other. */
function isTakenByItsWriter(
  { summary }: Situation,
  { name }: ChainDifference,
  wish: UserTable,
  live: UserTable,
): boolean {
  const writer = summary?.byNeighbour;
  if (writer === undefined || ownerById(writer) !== undefined || summary?.byOther === true) return false;
  const unmarked = (table: UserTable): string[] =>
    ruleTexts(table.chains.get(name)?.items ?? []).filter((text) => !isMarkedBy(writer, text));
  return holdsInOrder(unmarked(live), unmarked(wish)) && (live.chains.has(name) || isMarkedBy(writer, `-A ${name}`));
}

/** True when `whole` holds `part`, in its order. */
function holdsInOrder(whole: readonly string[], part: readonly string[]): boolean {
  let next = 0;
  for (const text of whole) if (text === part[next]) next++;
  return next === part.length;
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
