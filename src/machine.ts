// The daemon's mind: (state, input, time) -> state and effects. Pure; guard.ts carries the effects out.
// Two speeds. Fast lane: a touched table is read at once, and a displacement or a whole-table load is dealt with; anything
// that lacks user rules waits for the burst's end. Slow lane: libvirt's own part is judged when libvirt has been quiet.
// libvirt's part is never put back while libvirt may be rebuilding it (measured: overlapping leaves rules doubled or lost).
// What is heard: machine/events.ts; which pass runs: machine/passes.ts; what its result means: machine/done.ts.

import { ageContention } from './machine/contention.ts';
import { onPassDone } from './machine/done.ts';
import { onEvent, onSettle } from './machine/events.ts';
import { ask } from './machine/passes.ts';
import { type Effect, type Input, join, quiet, type State, type Step, type TimerName } from './machine/types.ts';

const BIG_RULESET = 5000;
const QUIET_MS = 50;
const QUIET_BIG_MS = 150;
/** Nobody says who wrote and whether a script still runs; one with pauses of 30 ms fell apart at 150 on a busy machine (measured). */
const QUIET_LEGACY_MS = 300;

/** One input; `nowMs` is monotonic. */
export function step(state: State, input: Input, nowMs: number): Step {
  switch (input.kind) {
    case 'event':
      return onEvent(state, input.event, nowMs);
    case 'timer':
      return onTimer(state, input.name, input.writerLives === true, nowMs);
    case 'pass-done':
      return onPassDone(state, input.request, input.outcome, nowMs);
    case 'facts':
      return quiet({
        ...state,
        quietMs: quietMsOf(state, input.rules),
        chainsWithUserRules: input.chainsWithUserRules,
      });
    case 'pause':
      return {
        state: { ...state, pausedUntilMs: input.untilMs },
        effects: [{ kind: 'timer', name: 'resume', ms: Math.max(0, input.untilMs - nowMs) }],
      };
    case 'resume':
      // Differences made meanwhile are pending, as if heard one by one; whole-table wipes are mended.
      return ask(
        { ...state, pausedUntilMs: undefined, burst: undefined },
        { kind: 'settled', trigger: 'resume' },
        nowMs,
      );
  }
}

function onTimer(state: State, name: TimerName, writerLives: boolean, nowMs: number): Step {
  switch (name) {
    case 'settle':
      return onSettle(state, writerLives, nowMs);
    case 'libvirt':
      return ask({ ...state, libvirtBusySinceMs: undefined }, { kind: 'libvirt', trigger: 'libvirt quiet' }, nowMs);
    case 'retry':
      return ask(state, { kind: 'settled', trigger: 'retry' }, nowMs);
    case 'resume':
      return join({ state, effects: [{ kind: 'log', level: 'notice', message: 'the pause is over' }] }, (next) =>
        step(next, { kind: 'resume' }, nowMs),
      );
    case 'age': {
      const aged = ageContention(state.contention, nowMs, state.settings.contention);
      const effects = aged.changes.map((change): Effect => ({
        kind: 'log',
        level: 'notice',
        message: `no longer contended ${change.chain}: ${change.rival} is quiet`,
      }));
      const next = { ...state, contention: aged.contention };
      if (aged.changes.length === 0 && aged.contention.size > 0)
        return { state: next, effects: [{ kind: 'timer', name: 'age', ms: state.settings.contention.windowMs / 4 }] };
      return join({ state: next, effects }, (after) =>
        effects.length > 0 ? ask(after, { kind: 'settled', trigger: 'recovered' }, nowMs) : quiet(after),
      );
    }
  }
}

function quietMsOf({ settings }: State, rules: number): number {
  if (!settings.events) return QUIET_LEGACY_MS;
  return rules >= BIG_RULESET ? QUIET_BIG_MS : QUIET_MS;
}
