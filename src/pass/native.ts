// The native tables of a pass: the same line (observe -> classify -> merge -> plan -> apply) beside iptables' tables.
// Guarantees: one `nft -f` for all tables; what nft refuses by its line waits, and the rest is loaded; after a commit the
// tables are read again, and need no edit. Does not: run in the fast lane (a displacement cannot happen in one's own table),
// remember (record.ts), or write any table that is not the user's.

import { type ClassifiedNative, classifyNative, userNativeOf } from '../classify/classify-native.ts';
import { decideNative, type NativeDecision } from '../merge/decide-native.ts';
import type { Drift } from '../merge/drift.ts';
import { nativeDrift, unloadableDrift } from '../merge/native-drift.ts';
import { readNative } from '../observe/native-read.ts';
import { ownerOfNativeTable } from '../owners/index.ts';
import { isWhole, type NativeEdit, type NativeWaiting, withoutHeld, withWaiting } from '../plan/native-plan.ts';
import type { NftLock, NftRefusal } from '../plan/nft-replace.ts';
import type { NativePart } from '../ruleset/nft/native-part.ts';
import { isIptablesName } from '../ruleset/nft/iptables-part.ts';
import { printNftTable } from '../ruleset/nft/print.ts';
import { USER } from '../ruleset/user-part.ts';
import { libvirtNativeDrift } from './libvirt-native.ts';
import { asOfNow, carryOut, type NativeStep } from './native-commit.ts';
import type { PassContext, PassRequest } from './types.ts';

/** A table that is replaced takes two: one for its lock. */
const MOST_ROUNDS = 9;

/** How the native tables ended. */
export interface NativeEnding {
  readonly kind: 'not-looked' | 'seen' | 'unreadable' | 'failed';
  readonly why: string | undefined;
  /** Somebody wrote while the pass ran: the burst goes on, nothing was decided. */
  readonly overtaken?: boolean;
  /** What named all tables there are, at the last read; undefined: not read. */
  readonly names?: string;
  readonly classified: ClassifiedNative;
  /** As first decided, before anything was written. */
  readonly decisions: readonly NativeDecision[];
  /** The user's tables as wanted from now on, with what waits; undefined where that is not to be remembered. */
  readonly wish: NativePart | undefined;
  readonly done: readonly NativeEdit[];
  readonly mended: readonly Drift[];
  /** What would be written (observe mode, a dry run). */
  readonly left: readonly NativeEdit[];
  readonly waiting: readonly NativeWaiting[];
  readonly drift: readonly Drift[];
  /** Names of the texts that were replaced, as the journal keeps them. */
  readonly kept: readonly string[];
}

export const NOT_LOOKED: NativeEnding = {
  kind: 'not-looked',
  why: undefined,
  classified: new Map(),
  decisions: [],
  wish: undefined,
  done: [],
  mended: [],
  left: [],
  waiting: [],
  drift: [],
  kept: [],
};

/** Runs the native part of a pass. Never throws for what nft says. */
export async function walkNative(context: PassContext, request: PassRequest): Promise<NativeEnding> {
  if (request.scope !== undefined) return NOT_LOOKED;
  let ending: NativeEnding = { ...NOT_LOOKED, kind: 'seen' };
  let asked = request;
  const locks = new Map<string, NftLock>();
  for (let round = 1; round <= MOST_ROUNDS; round++) {
    const read = await readNative(
      context.host,
      (key) => ownerOfNativeTable(key) === undefined,
      context.memory.wish.native,
    );
    if (read.kind === 'unreadable') return { ...ending, ...unreadable(read.why) };
    // Whether the tables stand cannot be told then.
    if (read.isWithoutNft && context.memory.wish.native.size > 0)
      return { ...ending, ...unreadable('nft is not installed') };
    const classified = classifyNative(read.tables, context.memory.wish.native);
    ending = { ...ending, names: read.names };
    asked = asOfNow(asked);
    const seen = see(context, asked, classified, ending);
    // What was decided before somebody else's commit came between, and nothing was done for, is no decision.
    if (ending.done.length === 0) ending = { ...ending, decisions: seen.decisions };
    if (asked !== request) ending = { ...ending, overtaken: true };
    const step = await carryOut(context, asked, classified, seen, { refused: ending.waiting, locks });
    ending = { ...ending, classified, waiting: step.waiting, kept: [...ending.kept, ...step.kept] };
    if (step.kind === 'again') {
      ending = {
        ...ending,
        done: [...ending.done, ...step.plan.edits],
        mended: [...ending.mended, ...step.plan.mends],
      };
      continue;
    }
    if (step.kind === 'raced') continue;
    if (step.kind === 'failed') return { ...ending, kind: 'failed', why: step.why };
    return { ...ending, left: step.plan.edits, ...whatIsLeft(context, classified, seen, step) };
  }
  return { ...ending, kind: 'failed', why: 'the native tables changed again after each commit' };
}

/** With libvirt's own tables judged: by then the pass has read its networks, and the user's tables stand. */
export async function withLibvirtsTables(
  { host, cache }: PassContext,
  request: PassRequest,
  ending: NativeEnding,
): Promise<NativeEnding> {
  if (request.scope !== undefined || !request.burstOver) return ending;
  const { drift, why } = await libvirtNativeDrift(host, cache.networks, ending.names);
  const unread =
    why === undefined ? [] : [{ ...nativeDrift('unreadable', 'ip libvirt_network', '', '', why), owner: 'libvirt' }];
  return { ...ending, drift: [...ending.drift, ...drift, ...unread] };
}

const unreadable = (why: string): Partial<NativeEnding> => ({
  kind: 'unreadable',
  why,
  drift: [{ ...nativeDrift('unreadable', 'inet ', '', '', why), owner: 'unknown' }],
});

interface SeenNative {
  readonly live: NativePart;
  readonly decisions: readonly NativeDecision[];
  /** With what waits in its place: what is tried. */
  readonly tried: readonly NativeDecision[];
}

function see(
  { memory, settings }: PassContext,
  request: PassRequest,
  classified: ClassifiedNative,
  so: Pick<NativeEnding, 'done' | 'waiting'>,
): SeenNative {
  const live = userNativeOf(classified);
  // After a commit only what it left out waits; before it, what waits since the last pass has not been tried.
  const waiting = [...so.waiting, ...(so.done.length > 0 ? [] : (memory.waitingNative ?? []))];
  const known = memory.snapshotId === undefined ? live : memory.wish.native;
  // What nft cannot load back stays as it is, and is wanted as it was.
  const wanted = [...known].filter(([key]) => (classified.get(key)?.unloadable ?? []).length === 0);
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
  const decisions = decideNative({ ...settings, wish: new Map(standing), live, summaries, burstOver, byHand });
  const tried = decisions.map((decision) => {
    const mine = waiting.filter(({ key }) => key === decision.key);
    const next = decision.next === undefined ? undefined : withWaiting(decision.next, known.get(decision.key), mine);
    return { ...decision, next };
  });
  const whole = wanted.filter(([key]) => !decisions.some((decision) => decision.key === key));
  const again = whole.map(([key, next]): NativeDecision => ({ key, kind: 'kept', next, evidence: ['table=waits'] }));
  return { live, decisions, tried: [...tried, ...again] };
}

function whatIsLeft(
  { memory }: PassContext,
  classified: ClassifiedNative,
  { tried }: SeenNative,
  step: Extract<NativeStep, { kind: 'end' }>,
): Pick<NativeEnding, 'wish' | 'drift'> {
  const unloadable = [...classified.values()].filter((table) => table.unloadable.length > 0);
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

/**
 * The edit as nft would take it, for the journal and for people: the table's new text behind what makes room for it. A table under a
 * name of iptables' is not deleted.
 */
export const describeEdit = ({ kind, key, table }: NativeEdit): string => {
  const gone = isIptablesName(key) ? `delete native chains of table ${key}` : `delete table ${key}`;
  return `${kind === 'create' ? `create table ${key}` : gone}${table === undefined ? '' : `\n${printNftTable(table).trimEnd()}`}`;
};
