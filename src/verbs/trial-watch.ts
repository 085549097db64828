// The daemon's share in a trial: when its time is over, the rules before come back, whoever began it and whatever became of them.
// Guarantee: a rollback that failed (a lock, a full disk) is tried again until it succeeds or somebody confirms.

import type { GuardApi } from '../guard.ts';
import type { Timer } from '../host/host.ts';
import { rollBack } from './rollback.ts';
import { leftMs, readTrial } from './trial-state.ts';
import type { World } from './types.ts';

const AGAIN_MS = 5_000;

export interface TrialWatch {
  /** A trial may have begun or ended. */
  look(): Promise<void>;
  close(): void;
}

export function watchTrial({ context }: World, guard: Pick<GuardApi, 'exclusive'>): TrialWatch {
  const { clock, log } = context.host;
  let timer: Timer | undefined;
  let closed = false;

  function wake(ms: number): void {
    timer?.cancel();
    if (!closed) timer = clock.after(ms, () => void end());
  }

  async function end(): Promise<void> {
    try {
      await guard.exclusive(async () => {
        const trial = await readTrial(context);
        if (trial === undefined || leftMs(context.host, trial) > 0) return;
        const { kind, why } = await rollBack(context, trial, 'it was not confirmed in time');
        if (kind === 'failed' || kind === 'unreadable')
          log.write(
            'error',
            `${trial.what} could not be rolled back: ${why ?? kind}; next try in ${AGAIN_MS / 1000} s`,
          );
        else log.write('warning', `rolled back: ${trial.what} was not confirmed in time`);
      });
    } catch (error) {
      log.write('error', `the rollback failed: ${error instanceof Error ? error.message : String(error)}`);
    }
    await look();
  }

  async function look(): Promise<void> {
    timer?.cancel();
    timer = undefined;
    const trial = await readTrial(context);
    if (trial === undefined) return;
    const left = leftMs(context.host, trial);
    wake(left > 0 ? left : AGAIN_MS);
  }

  return {
    look,
    close: () => {
      closed = true;
      timer?.cancel();
    },
  };
}

/** Rules that nobody confirmed before the host was booted, or before this start, are not what is guarded from now on. */
export async function endDueTrial({ context }: World): Promise<void> {
  const trial = await readTrial(context);
  if (trial === undefined || leftMs(context.host, trial) > 0) return;
  const outcome = await rollBack(context, trial, 'it was not confirmed in time');
  context.host.log.write(
    'warning',
    `rolled back at the start: ${trial.what} was not confirmed in time (${outcome.kind})`,
  );
}
