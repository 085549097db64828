// The clock of a trial that runs without a daemon: mendwall itself, later, asking for the rollback if it is due then. Whether
// time is over says the trial's own record.

import type { Config } from '../config.ts';
import type { Session } from './session.ts';

/** False: it could not be started, so only a daemon would roll back. */
export function startTrialClock({ terminal, options }: Session, config: Config, trialMs: number): Promise<boolean> {
  const named = (['config', 'state', 'netns'] as const).flatMap((name) => {
    const value = options[name];
    return value === undefined ? [] : [`--${name}`, value];
  });
  const args = [...named, '--wait', '60', 'rollback', '--due'];
  return terminal.later(Math.ceil(trialMs / 1000), args, `${config.runDir}/rollback.log`);
}
