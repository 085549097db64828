// The clock of a trial that runs without a daemon: a shell that sleeps, then asks for the rollback if it is still due.
// It has a session of its own, so that the end of the terminal, of `apply` and of its parent does not end it. `sleep` counts
// on the monotonic clock; whether time is over says the trial's own record.

import type { Config } from '../config.ts';
import type { Session } from './session.ts';

/** Signals of a terminal that goes are nothing to it. $1: seconds; the rest: the command. */
const SCRIPT = 'trap "" HUP INT QUIT; sleep "$1"; shift; exec "$@"';

/** False: it could not be started, so only a daemon would roll back. */
export async function startTrialClock(session: Session, config: Config, trialMs: number): Promise<boolean> {
  const { terminal, options } = session;
  const words = [
    ...(options.config === undefined ? [] : ['--config', options.config]),
    ...(options.state === undefined ? [] : ['--state', options.state]),
  ];
  const rollback = [...terminal.self, ...words, '--wait', '60', 'rollback', '--due'];
  const args = ['-c', SCRIPT, 'mendwall-trial', String(Math.ceil(trialMs / 1000)), ...rollback];
  return (await terminal.detach('/bin/sh', args, `${config.runDir}/rollback.log`)) !== undefined;
}
