// Virtual time: nothing happens until a test says so.

import type { Clock, Timer } from '../../src/host/host.ts';

export interface FakeClock extends Clock {
  /** Lets time pass: timers run in order of their time, and what they start (promises included) before the next one. */
  advance(ms: number): Promise<void>;
  /** Lets everything that waits for nothing but its turn run; no time passes. */
  settle(): Promise<void>;
  /** Timers that are waiting. */
  pending(): number;
}

interface Waiting {
  readonly dueMs: number;
  readonly number: number;
  readonly run: () => void;
}

/** A clock that stands at `wallMs`. */
export function createFakeClock(wallMs = Date.UTC(2026, 10, 20, 20, 0, 0)): FakeClock {
  const waiting = new Set<Waiting>();
  let nowMs = 0;
  let count = 0;

  function after(ms: number, run: () => void): Timer {
    const timer: Waiting = { dueMs: nowMs + Math.max(0, ms), number: count++, run };
    waiting.add(timer);
    return { cancel: () => void waiting.delete(timer) };
  }

  const nextUntil = (endMs: number): Waiting | undefined =>
    [...waiting].filter((timer) => timer.dueMs <= endMs).sort((a, b) => a.dueMs - b.dueMs || a.number - b.number)[0];

  async function advance(ms: number): Promise<void> {
    const endMs = nowMs + ms;
    await settle();
    for (let timer = nextUntil(endMs); timer !== undefined; timer = nextUntil(endMs)) {
      nowMs = Math.max(nowMs, timer.dueMs);
      waiting.delete(timer);
      timer.run();
      await settle();
    }
    nowMs = endMs;
  }

  return { wallMs: () => wallMs + nowMs, monoMs: () => nowMs, after, advance, settle, pending: () => waiting.size };
}

/** Turns of the event loop until promise chains of any usual length have run out. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
}
