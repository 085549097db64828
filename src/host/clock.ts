// The machine's clocks. Wall time is for people and journals; every duration and timer uses the monotonic clock,
// which a step of the wall time (NTP, `date -s`) does not touch.

import type { Clock, Timer } from './host.ts';

/** Longest delay that setTimeout takes, in ms (about 24.8 days); with more it would fire at once. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

/** The real clock. */
export const realClock: Clock = {
  wallMs: () => Date.now(),
  monoMs: () => performance.now(),
  after,
};

/** Never calls early: setTimeout does, by a fraction of a ms (measured: Node 20, one timer in three), and quiets are counted. */
function after(ms: number, run: () => void): Timer {
  const dueMs = performance.now() + ms;
  let handle = setTimeout(fire, Math.min(ms, LONGEST_TIMEOUT_MS));
  function fire(): void {
    const leftMs = dueMs - performance.now();
    if (leftMs <= 0) return run();
    handle = setTimeout(fire, Math.min(leftMs, LONGEST_TIMEOUT_MS));
  }
  return { cancel: () => clearTimeout(handle) };
}
