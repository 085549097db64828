// A mendwall reduced to the spool: `run` and `mend --trigger spool` with the real lock, spool source and one-shot, and
// in place of a pass a line in a file. For systemd.alone.lab.ts, which runs it as /usr/bin/mendwall under a real systemd.
//   /run/lab/events  one line a hook call that was taken: who took it, object, subject
//   /run/lab/runs    one line a run of the one-shot: its outcome

import { appendFileSync } from 'node:fs';

import { spoolSource } from '../../src/events/spool.ts';
import { mendFromSpool, type SpoolLock } from '../../src/events/spool-mend.ts';
import type { GuardEvent } from '../../src/events/types.ts';
import { acquireLock } from '../../src/host/lock.ts';
import { realHost } from '../../src/host/real.ts';

const RUN_DIR = '/run/mendwall';
const host = realHost({ ownFolders: [RUN_DIR] });

function note(who: string, event: GuardEvent): void {
  const what = event.kind === 'hook' ? `${event.object} ${event.subject}` : event.kind;
  appendFileSync('/run/lab/events', `${who} ${what}\n`);
}

async function run(): Promise<void> {
  const lock = await acquireLock({ runDir: RUN_DIR, name: 'run', waitMs: 1_000, command: 'mendwall run' });
  if (lock.kind === 'busy') process.exit(4);
  const source = spoolSource(host);
  await source.start({ event: (event) => note('daemon', event), health: () => undefined });
  // The Host's commands get a fixed environment: the socket has to be named.
  const env = { NOTIFY_SOCKET: process.env['NOTIFY_SOCKET'] ?? '' };
  await host.exec({ file: 'systemd-notify', args: ['--ready'], env });
  process.on('SIGHUP', () => appendFileSync('/run/lab/events', 'daemon reloaded\n'));
  process.on('SIGTERM', () => void source.close().then(() => process.exit(0)));
  setInterval(() => undefined, 60_000);
}

async function lock(): Promise<SpoolLock> {
  const daemon = await acquireLock({ runDir: RUN_DIR, name: 'run', waitMs: 0, command: 'mendwall mend' });
  if (daemon.kind === 'busy') return 'daemon';
  await daemon.release();
  const pass = await acquireLock({ runDir: RUN_DIR, name: 'pass', waitMs: 30_000, command: 'mendwall mend' });
  return pass.kind === 'held' ? 'mine' : 'busy';
}

async function mend(): Promise<void> {
  const pass = (events: readonly GuardEvent[]): Promise<void> => {
    for (const event of events) note('mend', event);
    return Promise.resolve();
  };
  const outcome = await mendFromSpool(host, { lock, pass });
  appendFileSync('/run/lab/runs', `${JSON.stringify(outcome)}\n`);
}

void (process.argv[2] === 'run' ? run() : mend().then(() => process.exit(0)));
