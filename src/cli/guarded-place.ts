// One guard with its place in the run folder: locks, memory, control socket. The daemon has one for its own network namespace,
// and one for each that `[[netns]]` names.
// Guarantees: what was opened is closed when a later step fails; all rules stay, whatever ends it.

import type { Config } from '../config.ts';
import { openContext } from '../context.ts';
import { createGuard, type Guard, type GuardOptions } from '../guard.ts';
import type { RealHost } from '../host/real.ts';
import { controlHandler } from '../verbs/control.ts';
import { init } from '../verbs/init.ts';
import { readPause } from '../verbs/pause-state.ts';
import { endDueTrial, watchTrial } from '../verbs/trial-watch.ts';
import type { DaemonStatus } from '../verbs/status.ts';
import { noSnapshot, type World } from '../verbs/types.ts';
import { stopFor } from './exit-codes.ts';
import { openRunFolder, type RunFolder } from './run-folder.ts';

export interface PlaceOptions extends Pick<GuardOptions, 'bus' | 'notifies' | 'sharing'> {
  /** For another mendwall to let go of the lock. */
  readonly waitMs: number;
  /** Inode of the network namespace; undefined: ours. */
  readonly netns: string | undefined;
  /** Where there is no snapshot, take the first one as `init` does. */
  readonly takesFirst: boolean;
  /** What `status` says besides the guard's own. */
  readonly more?: () => Pick<DaemonStatus, 'namespaces'>;
}

export interface GuardedPlace {
  readonly guard: Guard;
  readonly world: World;
  /** Resolves with the reason when another mendwall holds a lock that was ours. */
  readonly taken: Promise<string>;
  stop(gone?: 'gone'): Promise<void>;
}

/** Opens the place and starts guarding. Throws Stop (no snapshot, or it cannot be taken; 4 busy) and HostError. */
export async function openGuardedPlace(host: RealHost, config: Config, options: PlaceOptions): Promise<GuardedPlace> {
  const folder = await openRunFolder(host, config, options.waitMs, options.netns);
  try {
    const { context, notes } = await openContext(host, config);
    for (const note of notes) host.log.write('warning', note);
    if (config.pinOwner && !config.pinDrops)
      host.log.write('warning', 'user.pin_owner does nothing without user.pin_drops');
    const world = { context, config };
    if (context.memory.snapshotId === undefined) await first(world, options.takesFirst);
    return await startIn(folder, host, world, options);
  } catch (error) {
    await folder.close();
    throw error;
  }
}

async function first(world: World, takes: boolean): Promise<void> {
  const { memory, host } = world.context;
  // Damaged ones are a person's affair: taking the live rules for the user's word would hide them.
  if (!takes || (memory.damaged ?? []).length > 0) throw stopFor(noSnapshot(memory));
  const taken = await init(world, { from: [], place: 'as-found', force: false, dryRun: false });
  if (taken.kind === 'refused') throw stopFor(taken);
  const rules = taken.taken.reduce((sum, chain) => sum + chain.rules.length, 0);
  host.log.write('notice', `first snapshot ${taken.id}: ${rules} rules taken as yours`);
}

async function startIn(folder: RunFolder, host: RealHost, world: World, options: PlaceOptions): Promise<GuardedPlace> {
  const { context, config } = world;
  await endDueTrial(world);
  const pause = await readPause(context);
  const guard = createGuard(context, {
    mode: config.mode,
    repair: config.repair,
    contention: config.contention,
    fixConntrack: config.fixConntrack,
    pinDrops: config.pinDrops,
    repairs: config.repairs,
    pinOwner: config.pinOwner,
    pausedForMs: pause === undefined ? undefined : pause.untilMs - host.clock.wallMs(),
    procfs: config.procfs,
    spool: config.spool,
    ...options,
  });
  await guard.start();
  const trials = watchTrial(world, guard);
  await trials.look();
  await folder.serve(controlHandler(world, guard, options.more, trials));
  host.log.write('info', `guarding in ${config.mode} mode, snapshot ${context.memory.snapshotId}`);
  const stop = async (gone?: 'gone'): Promise<void> => {
    await folder.closeControl();
    trials.close();
    await guard.stop(gone);
    await folder.close();
  };
  return { guard, world, taken: folder.taken, stop };
}
