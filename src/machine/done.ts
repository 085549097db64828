// What a pass that has ended means: rivals are counted, evidence is kept while it is not dealt with, the next pass begins.

import { isNothing, NOTHING_HEARD } from './burst.ts';
import { noteDisplacement } from './contention.ts';
import type { Drift } from '../merge/drift.ts';
import type { Outcome, PassRequest } from '../pass/types.ts';
import { settleRepair, wipeByResult } from './libvirt.ts';
import { look, start } from './passes.ts';
import { type Effect, join, quiet, type State, type Step } from './types.ts';

/** A pass that failed is tried again after 1, 2, 4 ... 60 s, whatever the backstop does. */
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 60_000;

/** What is known after a pass, and what comes next. */
export function onPassDone(state: State, request: PassRequest, outcome: Outcome, nowMs: number): Step {
  const atRest = request.burstOver && outcome.overtaken !== true;
  const waiting = outcome.tables
    .filter((table) => table.decision === 'wait')
    .flatMap(({ family, table }) => (family === 'ip' || family === 'ip6' ? [{ family, table }] : []));
  const idle = { ...state, running: false, waiting: atRest ? [] : [...state.waiting, ...waiting] };
  let result = countRivals(idle, outcome, nowMs);
  if (atRest) result = join(result, (next) => wipeByResult(next, request, outcome, nowMs));
  if (atRest) result = join(result, (next) => settleRepair(next, request, outcome, nowMs));
  if (request.burstOver) result = join(result, (next) => keepEvidence(next, request, outcome));
  return join(result, (next) => {
    if (next.next !== undefined) return start(next, next.next, nowMs);
    return look(next, nowMs);
  });
}

/**
 * A pass that failed decided nothing: what it went by is kept, and it is tried again. Without this a wipe that could not be
 * mended at once would look like the user's deletions as soon as somebody adds a rule.
 */
function keepEvidence(state: State, request: PassRequest, outcome: Outcome): Step {
  const done = { ...state, settling: NOTHING_HEARD };
  // The burst that goes on is judged together with this one.
  const missed = state.missed || request.summaries === undefined;
  if (outcome.overtaken === true) return quiet({ ...done, missed, unsettled: state.settling });
  if (outcome.kind !== 'failed' && outcome.kind !== 'unreadable')
    return {
      state: { ...done, unsettled: NOTHING_HEARD, failures: 0 },
      effects: state.failures === 0 ? [] : [{ kind: 'stop-timer', name: 'retry' }],
    };
  const ms = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(state.failures, 10));
  return {
    state: {
      ...done,
      unsettled: state.settling,
      failures: state.failures + 1,
      // Where nothing was heard, the result alone can tell.
      missed: missed || isNothing(state.settling),
    },
    effects: [{ kind: 'timer', name: 'retry', ms }],
  };
}

function countRivals(state: State, outcome: Outcome, nowMs: number): Step {
  const chainOf = (drift: Drift): string => `${drift.family} ${drift.table} ${drift.chain}`;
  const displaced = outcome.mended.filter((drift) => drift.kind === 'displaced');
  let contention = state.contention;
  const effects: Effect[] = [];
  for (const drift of displaced) {
    const noted = noteDisplacement(contention, chainOf(drift), drift.owner, nowMs, state.settings.contention);
    contention = noted.contention;
    if (noted.change !== undefined) {
      const who = outcome.by[0] === undefined ? '' : ` (last by ${outcome.by[0]})`;
      effects.push({
        kind: 'log',
        level: 'warning',
        message: `contended ${noted.change.chain}: ${noted.change.rival}${who} keeps changing the order; it is left alone until the rival is quiet`,
      });
      effects.push({ kind: 'timer', name: 'age', ms: state.settings.contention.windowMs });
    }
  }
  const restored =
    outcome.changed && outcome.mended.some((drift) => drift.kind === 'lost')
      ? [...state.restoredMs.slice(-16), nowMs]
      : state.restoredMs;
  return { state: { ...state, contention, restoredMs: restored }, effects };
}
