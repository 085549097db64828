// The life of `mendwall run`: locks, guard, control socket, signals. All rules stay when it ends, whatever ends it.

import type { Config } from '../config.ts';
import { openContext } from '../context.ts';
import { createGuard, type Guard } from '../guard.ts';
import { systemBus } from '../host/bus.ts';
import type { RealHost } from '../host/real.ts';
import type { Mode } from '../pass/types.ts';
import { controlHandler } from '../verbs/control.ts';
import { readPause } from '../verbs/pause-state.ts';
import { rollBack } from '../verbs/rollback.ts';
import { leftMs, readTrial } from '../verbs/trial-state.ts';
import { watchTrial } from '../verbs/trial-watch.ts';
import { noSnapshot, type World } from '../verbs/types.ts';
import { waitMs } from './call-verb.ts';
import { openRunFolder, type RunFolder } from './run-folder.ts';
import { EXIT, Stop, stopFor } from './exit-codes.ts';
import { openConfig, openHost, type Session } from './session.ts';

type End = 'stop' | 'reload';

/** Runs until SIGTERM or SIGINT; after SIGHUP it begins again with the configuration as it is then. */
export async function runDaemon(session: Session, mode: Mode | undefined): Promise<number> {
  const waiting: { end: ((end: End) => void) | undefined; early: End | undefined } = {
    end: undefined,
    early: undefined,
  };
  session.terminal.onSignals(['SIGTERM', 'SIGINT', 'SIGHUP'], (name) => {
    const end: End = name === 'SIGHUP' ? 'reload' : 'stop';
    if (waiting.end === undefined) waiting.early = end;
    else waiting.end(end);
  });
  const nextEnd = (): Promise<End> =>
    new Promise((resolve) => {
      waiting.end = resolve;
      if (waiting.early !== undefined) resolve(waiting.early);
      waiting.early = undefined;
    });
  let { config } = await openConfig(session);
  for (;;) {
    if ((await once(session, config, mode ?? config.mode, nextEnd)) === 'stop') return EXIT.ok;
    config = await reread(session, config);
  }
}

/** A configuration with an error does not end a guard that runs: the one before stays. */
async function reread(session: Session, before: Config): Promise<Config> {
  try {
    return (await openConfig(session)).config;
  } catch (error) {
    session.terminal.err(
      `mendwall: the configuration stays as it was: ${error instanceof Error ? error.message : String(error)}\n`,
    );
    return before;
  }
}

async function once(session: Session, config: Config, mode: Mode, nextEnd: () => Promise<End>): Promise<End> {
  const host = openHost(session, config, 'info');
  const folder = await openRunFolder(host, config, waitMs(session));
  try {
    const { context, notes } = await openContext(host, config);
    for (const note of notes) host.log.write('warning', note);
    if (context.memory.snapshotId === undefined) throw stopFor(noSnapshot(context.memory));
    return await guardUntil(host, folder, { context, config: { ...config, mode } }, nextEnd);
  } finally {
    await folder.close();
    await host.close();
  }
}

async function guardUntil(host: RealHost, folder: RunFolder, world: World, nextEnd: () => Promise<End>): Promise<End> {
  const { context, config } = world;
  await endDueTrial(world);
  const pause = await readPause(context);
  const guard: Guard = createGuard(context, {
    mode: config.mode,
    repair: config.repair,
    contention: config.contention,
    fixConntrack: config.fixConntrack,
    pinDrops: config.pinDrops,
    pausedForMs: pause === undefined ? undefined : pause.untilMs - host.clock.wallMs(),
    bus: systemBus({ clock: host.clock, log: host.log }),
    procfs: config.procfs,
    spool: config.spool,
  });
  const ended = nextEnd();
  await guard.start();
  const trials = watchTrial(world, guard);
  await trials.look();
  await folder.serve(controlHandler(world, guard, trials));
  host.log.write('info', `guarding in ${config.mode} mode, snapshot ${context.memory.snapshotId}`);
  const end = await Promise.race([ended, folder.taken.then((why) => ({ why }))]);
  if (typeof end === 'string')
    host.log.write('info', end === 'stop' ? 'stopping; all rules stay' : 'reading the configuration again');
  await folder.closeControl();
  trials.close();
  await guard.stop();
  if (typeof end === 'string') return end;
  throw new Stop(EXIT.busy, `${end.why}; this one ends, all rules stay`);
}

/** Rules that nobody confirmed before the host was booted, or before this start, are not what is guarded from now on. */
async function endDueTrial({ context }: World): Promise<void> {
  const trial = await readTrial(context);
  if (trial === undefined || leftMs(context.host, trial) > 0) return;
  const outcome = await rollBack(context, trial, 'it was not confirmed in time');
  context.host.log.write(
    'warning',
    `rolled back at the start: ${trial.what} was not confirmed in time (${outcome.kind})`,
  );
}
