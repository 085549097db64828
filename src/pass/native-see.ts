// What a look at the native tables means: the decisions, what of them is tried, and what is left to say afterwards.
// Does not: write, or read (native.ts and saved.ts do).

import { type ClassifiedNative, isLeftAlone, userNativeOf } from '../classify/classify-native.ts';
import { decideNative, type NativeDecision, type NativeSituation } from '../merge/decide-native.ts';
import type { Drift } from '../merge/drift.ts';
import { type BootEvidence, NO_BOOT_FILES } from '../merge/native-boot.ts';
import { nativeDrift, unloadableDrift } from '../merge/native-drift.ts';
import { isWhole, withoutHeld, withWaiting } from '../plan/native-plan.ts';
import type { NftRefusal } from '../plan/nft-replace.ts';
import type { NativePart } from '../ruleset/nft/native-part.ts';
import { USER } from '../ruleset/user-part.ts';
import type { NativeEnding } from './native.ts';
import type { NativeStep } from './native-commit.ts';
import type { PassContext, PassRequest } from './types.ts';

/** The same context with only those tables in its memory that this part of the pass works on. */
export function narrowed(context: PassContext, keep: (key: string) => boolean): PassContext {
  const { memory } = context;
  const native = new Map([...memory.wish.native].filter(([key]) => keep(key)));
  const waitingNative = (memory.waitingNative ?? []).filter(({ key }) => keep(key));
  return { ...context, memory: { ...memory, wish: { ...memory.wish, native }, waitingNative } };
}

export interface SeenNative {
  readonly situation: NativeSituation;
  readonly live: NativePart;
  readonly decisions: readonly NativeDecision[];
  /** With what waits in its place: what is tried. */
  readonly tried: readonly NativeDecision[];
}

/** How a look may differ from the usual one. */
export interface Looking {
  /** The user's part of what stands; default: of the native tables. */
  readonly live?: NativePart;
  /** Whose voice each difference is. */
  readonly decide?: typeof decideNative;
  readonly boot?: BootEvidence;
}

export function see(
  { memory, settings }: PassContext,
  request: PassRequest,
  classified: ClassifiedNative,
  so: Pick<NativeEnding, 'done' | 'waiting'>,
  { live = userNativeOf(classified), decide = decideNative, boot = NO_BOOT_FILES }: Looking = {},
): SeenNative {
  // After a commit only what it left out waits; before it, what waits since the last pass has not been tried.
  const waiting = [...so.waiting, ...(so.done.length > 0 ? [] : (memory.waitingNative ?? []))];
  const known = memory.snapshotId === undefined ? live : memory.wish.native;
  // What nft cannot load back stays as it is, and is wanted as it was.
  const wanted = [...known].filter(([key]) => !isLeftAlone(classified.get(key)));
  const standing = wanted.flatMap(([key, table]) => {
    const mine = waiting.filter((rule) => rule.key === key);
    const without = live.has(key)
      ? withoutHeld(
          table,
          mine.filter((rule) => !isWhole(rule)),
        )
      : withoutHeld(table, mine);
    return without === undefined ? [] : [[key, without] as const];
  });
  const { burstOver, native: summaries } = request;
  const byHand = request.authority === 'snapshot';
  const situation = { ...settings, wish: new Map(standing), live, summaries, burstOver, byHand, boot };
  const decisions = decide(situation);
  const tried = decisions.map((decision) => {
    const mine = waiting.filter(({ key }) => key === decision.key);
    const next = decision.next === undefined ? undefined : withWaiting(decision.next, known.get(decision.key), mine);
    return { ...decision, next };
  });
  const whole = wanted.filter(([key]) => !decisions.some((decision) => decision.key === key));
  const again = whole.map(([key, next]): NativeDecision => ({ key, kind: 'kept', next, evidence: ['table=waits'] }));
  return { situation, live, decisions, tried: [...tried, ...again] };
}

export function whatIsLeft(
  { memory }: PassContext,
  classified: ClassifiedNative,
  { tried }: SeenNative,
  step: Pick<Extract<NativeStep, { kind: 'end' }>, 'plan' | 'waiting'>,
): Pick<NativeEnding, 'wish' | 'drift'> {
  const unloadable = [...classified.values()].filter(isLeftAlone);
  const untouched = unloadable.flatMap(({ key }) => {
    const wanted = memory.wish.native.get(key);
    return wanted === undefined ? [] : [[key, wanted] as const];
  });
  const wanted = tried.flatMap(({ key, next }) => (next === undefined ? [] : [[key, next] as const]));
  return {
    wish: new Map([...wanted, ...untouched]),
    drift: [
      ...step.plan.mends,
      ...unloadable.filter(({ owner }) => owner === USER).flatMap((each) => unloadableDrift(each.key, each.unloadable)),
      ...unloadable.flatMap(({ key, unread }) =>
        unread === undefined ? [] : [nativeDrift('unreadable', key, '', '', `${unread}; the table is left as it is`)],
      ),
      ...step.plan.refused.flatMap(refusalDrift),
      ...step.waiting.map(({ key, chain, text, why }) => nativeDrift('waiting', key, chain, text, why)),
    ],
  };
}

function refusalDrift(refusal: NftRefusal): Drift[] {
  if (refusal.kind === 'unloadable') return unloadableDrift(refusal.table, refusal.lines);
  if (refusal.kind === 'iptables') return [];
  const by = refusal.progname === undefined ? 'a program' : refusal.progname;
  return [nativeDrift('waiting', refusal.table, '', `table ${refusal.table}`, `${by} owns the table of this name`)];
}
