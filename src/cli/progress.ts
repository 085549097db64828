// One line on standard error about what takes longer than a second, when a person looks on.

import type { Clock } from '../host/host.ts';
import type { Session } from './session.ts';

const QUIET_MS = 1_000;

export interface Progress {
  /** What is being done now. */
  say(text: string): void;
  stop(): void;
}

export function startProgress(session: Session, clock: Clock): Progress {
  let now = '';
  const timer = clock.after(QUIET_MS, () => {
    if (session.terminal.isTerminal.err === true && now !== '') session.say(`${now} ...`);
  });
  return { say: (text) => void (now = text), stop: () => timer.cancel() };
}
