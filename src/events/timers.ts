// Timers that end together, so that nothing fires after what they belong to is gone.

import type { Clock, Timer } from '../host/host.ts';

export interface Timers {
  /** As Clock.after; never runs once `stop` was called. */
  after(ms: number, run: () => void): Timer;
  stop(): void;
  readonly stopped: boolean;
}

/** An empty group of timers on that clock. */
export function createTimers(clock: Clock): Timers {
  const pending = new Set<Timer>();
  let stopped = false;

  function after(ms: number, run: () => void): Timer {
    const timer = clock.after(ms, () => {
      pending.delete(timer);
      if (!stopped) run();
    });
    pending.add(timer);
    if (stopped) timer.cancel();
    return timer;
  }

  function stop(): void {
    stopped = true;
    for (const timer of pending) timer.cancel();
    pending.clear();
  }
  return {
    after,
    stop,
    get stopped() {
      return stopped;
    },
  };
}
