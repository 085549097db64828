// `mend --trigger spool`: the path unit's one-shot. systemd/README.md has the protocol.

import { mendFromSpool, type SpoolLock } from '../events/spool-mend.ts';
import type { GuardEvent } from '../events/types.ts';
import { acquireLock, type HeldLock, type LockRequest } from '../host/lock.ts';
import type { Mode, Outcome } from '../pass/types.ts';
import { mend } from '../verbs/mend.ts';
import type { World } from '../verbs/types.ts';
import { DEFAULT_WAIT_MS } from './call-verb.ts';
import { EXIT, exitOfOutcome } from './exit-codes.ts';
import { outcomeLines } from './outcome-view.ts';
import { openWorld, type Session, unlessRefused } from './session.ts';

/** Under systemd a command by hand may hold the lock for a while; then the files are kept for the next run. */
const WAIT_MS = 3 * DEFAULT_WAIT_MS;

export async function mendSpool(session: Session, mode: Mode | undefined): Promise<number> {
  const world = await openWorld(session);
  const { config, host } = world;
  const held: HeldLock[] = [];
  let last: Outcome | undefined;
  await host.files.makeDir(config.runDir);
  try {
    const outcome = await mendFromSpool(
      host,
      {
        lock: () => takeLocks({ runDir: config.runDir, netns: session.inside?.netns.inode }, held),
        pass: async (events) => {
          last = await passFor(session, world, mode ?? config.mode, events);
        },
      },
      config.spool,
    );
    if (outcome.kind === 'busy')
      session.say(`another mendwall holds the lock; ${outcome.held} hook calls are kept for the next run`);
    return outcome.kind === 'busy' ? EXIT.busy : exitOfOutcome(last);
  } finally {
    for (const lock of held) await lock.release();
    await host.close();
  }
}

/** The daemon's own lock first: whoever serves the spool is not waited for. It is let go at once when it was free. */
async function takeLocks(place: Pick<LockRequest, 'runDir' | 'netns'>, held: HeldLock[]): Promise<SpoolLock> {
  const command = 'mendwall mend --trigger spool';
  const daemon = await acquireLock({ ...place, name: 'run', waitMs: 0, command });
  if (daemon.kind === 'busy') return 'daemon';
  await daemon.release();
  const pass = await acquireLock({ ...place, name: 'pass', waitMs: WAIT_MS, command });
  if (pass.kind === 'busy') return 'busy';
  held.push(pass);
  return 'mine';
}

async function passFor(
  session: Session,
  world: World,
  mode: Mode,
  events: readonly GuardEvent[],
): Promise<Outcome | undefined> {
  const { memory } = await world.context.files.load();
  Object.assign(world.context.memory, memory);
  const by = events.flatMap((event) =>
    event.kind === 'hook' ? [`libvirt hook ${event.object} ${event.operation} ${event.subject}`] : [],
  );
  const result = await mend(world, { mode, dryRun: false, trigger: 'spool', by: [...new Set(by)].slice(0, 8) });
  // Hooks may be installed before `init`: then there is nothing to guard yet, which is no failure of the unit.
  if (result.kind === 'refused' && result.code === 'no-snapshot') {
    session.say(result.message);
    return undefined;
  }
  const { outcomes } = unlessRefused(result);
  for (const line of outcomeLines(outcomes, false)) session.print(line);
  return outcomes.at(-1);
}
