// libvirt's own part: when it is rebuilding, when it is done, and what is asked of it when something is missing.

import { type Drift, isNative } from '../merge/drift.ts';
import { isLibvirts } from '../owners/index.ts';
import type { Outcome, PassRequest } from '../pass/types.ts';
import { ask } from './passes.ts';
import { type Effect, join, LIBVIRT_QUIET_MS, quiet, type State, type Step } from './types.ts';

const LIBVIRT_CAP_MS = 5000;
const MOST_RELOADS = 3;
/** So many rules of a neighbour's gone at once are no single deletion by hand. */
const LOST_BY_WIPE = 3;

export function libvirtWrote(state: State, nowMs: number): Step {
  const busySince = state.libvirtBusySinceMs ?? nowMs;
  const ms = Math.max(0, Math.min(LIBVIRT_QUIET_MS, busySince + LIBVIRT_CAP_MS - nowMs));
  return {
    state: { ...state, libvirtMs: nowMs, libvirtBusySinceMs: busySince },
    effects: [{ kind: 'timer', name: 'libvirt', ms }],
  };
}

/** libvirt is about to rewrite, or was told to. */
export function libvirtBusy(state: State, nowMs: number): Step {
  const wipe = state.wipe === undefined ? undefined : { ...state.wipe, libvirtSince: true };
  return libvirtWrote({ ...state, wipe }, nowMs);
}

/** libvirt says that it is done: no need to wait for quiet. */
export function libvirtDone(state: State, nowMs: number): Step {
  const stopped: Step = { state, effects: [{ kind: 'stop-timer', name: 'libvirt' }] };
  return join(stopped, (next) => ask(next, { kind: 'libvirt', trigger: 'libvirt done' }, nowMs));
}

/** Without events a wipe is known by its result; libvirt's part goes back after a quiet, since libvirt may be at it. */
export function wipeByResult(state: State, request: PassRequest, outcome: Outcome, nowMs: number): Step {
  if (request.summaries !== undefined || state.wipe !== undefined || state.gaveUp) return quiet(state);
  const lost = countRules(outcome.drift.filter(isLibvirtsLoss));
  const decided = outcome.tables.some(
    (table) => table.decision === 'wipe' || table.decision === 'load' || table.decision === 'replaced',
  );
  if (lost === 0 || (!decided && lost < LOST_BY_WIPE)) return quiet(state);
  return {
    state: { ...state, wipe: { atMs: nowMs, libvirtSince: nowMs - state.libvirtMs < LIBVIRT_QUIET_MS } },
    effects: [{ kind: 'timer', name: 'libvirt', ms: LIBVIRT_QUIET_MS }],
  };
}

/** What other neighbours lost is reported, never repaired. */
function isLibvirtsLoss({ kind, owner }: Drift): boolean {
  return (kind === 'foreign-lost' || kind === 'foreign-unhooked') && isLibvirts(owner);
}

/** One drift may stand for a network's many rules. */
const countRules = (lost: readonly Drift[]): number => lost.reduce((sum, { rules = 1 }) => sum + rules, 0);

/** Copies in libvirt's own chains that it did not write, or no longer wants: they go when it is quiet. Native ones stay. */
function hasCopies({ drift }: Outcome): boolean {
  return drift.some((each) => each.kind === 'stale' && each.owner === 'libvirt' && !isNative(each));
}

function repairWhenQuiet(state: State, nowMs: number): Step {
  const wipe = { atMs: nowMs, ...state.wipe, libvirtSince: true };
  const ms = Math.max(1, LIBVIRT_QUIET_MS - (nowMs - state.libvirtMs));
  return { state: { ...state, wipe }, effects: [{ kind: 'timer', name: 'libvirt', ms }] };
}

const NOTHING_LOST = { wipe: undefined, libvirtBusySinceMs: undefined, reloadsAsked: 0, gaveUp: false };

/** After a pass at rest: is libvirt's part whole? If not, and libvirt is quiet, it is asked to rebuild; bounded. */
export function settleRepair(state: State, request: PassRequest, outcome: Outcome, nowMs: number): Step {
  if (outcome.kind === 'unreadable' || outcome.kind === 'failed') return quiet(state);
  const lost = outcome.drift.filter(isLibvirtsLoss);
  const overlapped = state.wipe?.libvirtSince === true;
  if (lost.length === 0) {
    if (!request.repair && mayWrite(state) && hasCopies(outcome)) return repairWhenQuiet(state, nowMs);
    // After an overlap libvirt's own memory may be wrong although its rules are right: one Reloaded puts both right.
    if (overlapped && request.repair && outcome.changed && state.reloadsAsked === 0 && mayWrite(state))
      return askLibvirt(state, nowMs, 'it was rebuilding while its rules were put back');
    const whole = request.neighboursQuiet || state.wipe === undefined || nowMs - state.libvirtMs >= LIBVIRT_QUIET_MS;
    return quiet(whole ? { ...state, ...NOTHING_LOST } : state);
  }
  if (!mayWrite(state) || state.wipe === undefined) return quiet(state);
  // The wait was cut short by its cap, and libvirt may have written its last commit: nothing else would ask again.
  const restMs = LIBVIRT_QUIET_MS - (nowMs - state.libvirtMs);
  if (restMs > 0) return { state, effects: [{ kind: 'timer', name: 'libvirt', ms: restMs }] };
  // By text first (guests are out 130 ms instead of 700, measured); what text could not put right is asked for.
  if (!request.repair) return { state, effects: [{ kind: 'timer', name: 'libvirt', ms: LIBVIRT_QUIET_MS }] };
  const missing = countRules(lost);
  if (state.reloadsAsked >= MOST_RELOADS) {
    const message = `libvirt's rules are incomplete after ${MOST_RELOADS} requests to rebuild: ${missing} missing, first ${lost[0]?.table} ${lost[0]?.chain} ${lost[0]?.text}`;
    return {
      state: { ...state, wipe: undefined, reloadsAsked: 0, gaveUp: true },
      effects: [{ kind: 'log', level: 'error', message }],
    };
  }
  return askLibvirt(state, nowMs, `${missing} of its rules are missing`);
}

const mayWrite = (state: State): boolean => state.settings.mode === 'merge' && state.settings.repair;

function askLibvirt(state: State, nowMs: number, why: string): Step {
  const asked = libvirtBusy({ ...state, reloadsAsked: state.reloadsAsked + 1, libvirtBusySinceMs: undefined }, nowMs);
  const effects: Effect[] = [
    { kind: 'ask-libvirt' },
    { kind: 'log', level: 'notice', message: `asked libvirt to rebuild its rules: ${why}` },
  ];
  return { state: asked.state, effects: [...asked.effects, ...effects] };
}
