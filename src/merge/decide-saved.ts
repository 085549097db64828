// Whose voice is it, for the user's part of ebtables' and arptables' tables: as for native tables, by rules and chains. Pure.
// Goals: no `nft -f` can hold these tables, so one that flushed and left them out did so by accident, and they come back.
// Guarantees: a policy that is DROP by the time of a wipe stays so (ADR 15).
// Does not: know places among neighbours: plan/saved-plan.ts says why none is needed.

import { mapObjects, type NativePart, objectKey } from '../ruleset/nft/native-part.ts';
import { isTrivial, policyOf, savedChain } from '../ruleset/nft/saved.ts';
import type { NftTable } from '../ruleset/nft/types.ts';
import { decideNative, type NativeDecision, type NativeSituation } from './decide-native.ts';

/** The decision for each such table that stands or is wanted. A table that says nothing is as good as none. */
export function decideSaved(situation: NativeSituation): NativeDecision[] {
  const { wish, live, summaries } = situation;
  const decisions = decideNative({
    ...situation,
    wish: withoutTrivial(wish, live),
    live: withoutTrivial(live, wish),
    summaries:
      summaries && new Map([...summaries].map(([key, said]) => [key, { ...said, leftOut: false, madeByLoad: false }])),
  });
  if (situation.byHand) return decisions;
  return decisions.map((decision) => ({ ...decision, next: stillClosed(decision, live.get(decision.key)) }));
}

const withoutTrivial = (part: NativePart, other: NativePart): NativePart =>
  new Map([...part].filter(([key, table]) => other.has(key) || !isTrivial(table)));

function stillClosed({ kind, next }: NativeDecision, live: NftTable | undefined): NftTable | undefined {
  if (kind !== 'wipe' || next === undefined || live === undefined) return next;
  const now = new Map(live.objects.map((object) => [objectKey(object), object]));
  return mapObjects(next, (object) => {
    const before = now.get(objectKey(object));
    if (object.kind !== 'chain' || before?.kind !== 'chain' || policyOf(before) !== 'DROP') return object;
    return savedChain(
      object.name,
      'DROP',
      object.rules.map(({ text }) => text),
    );
  });
}
