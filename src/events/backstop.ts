// The slow check: all other sources are hints, and hints can be lost.
// Guarantees: the check takes at most a thousandth of the time, whatever a pass costs, within 30 s and 10 min.
// Does not: check anything; the caller reads, and reports what it cost.

import type { Clock, Timer } from '../host/host.ts';
import type { Source, SourceHandlers } from './types.ts';

const COST_FACTOR = 1000;
const SHORTEST_MS = 30_000;
const LONGEST_MS = 600_000;

export interface Backstop extends Source {
  /** What the last full check cost, in ms of wall time. The next one comes one new interval from now. */
  reportCost(costMs: number): void;
}

/** How long to wait between two checks of that cost: 1000 times the cost, at least 30 s, at most 10 min. */
export function backstopIntervalMs(costMs: number): number {
  return Math.min(Math.max(costMs * COST_FACTOR, SHORTEST_MS), LONGEST_MS);
}

/** The event source `backstop`. The first check comes after 30 s, since the caller reads everything when it starts. */
export function createBackstop(clock: Clock): Backstop {
  let handlers: SourceHandlers | undefined;
  let timer: Timer | undefined;
  let intervalMs = SHORTEST_MS;

  function arm(): void {
    timer?.cancel();
    timer = clock.after(intervalMs, fire);
  }

  function fire(): void {
    arm(); // also when the caller never reports a cost
    handlers?.event({ kind: 'backstop' });
  }

  function tell(): void {
    const detail = `full check every ${Math.round(intervalMs / 1000)} s`;
    handlers?.health({ source: 'backstop', state: 'ok', detail });
  }

  return {
    name: 'backstop',
    async start(given) {
      handlers = given;
      arm();
      tell();
    },
    reportCost(costMs) {
      if (handlers === undefined) return;
      const before = intervalMs;
      intervalMs = backstopIntervalMs(costMs);
      arm();
      if (intervalMs !== before) tell();
    },
    async close() {
      handlers = undefined;
      timer?.cancel();
    },
  };
}
