// The guards that `[[netns]]` asks for, each with its own host, folders, locks and control socket, as `--netns NAME` has them.

import { type Config, configInNetns } from '../config.ts';
import { netnsEntryFor } from '../config/netns.ts';
import { systemBus } from '../host/bus.ts';
import type { Host, Log } from '../host/host.ts';
import { type NamedNetns, NETNS_FOLDER } from '../host/netns.ts';
import type { RealHost } from '../host/real.ts';
import type { Drift } from '../merge/drift.ts';
import type { NamespaceStatus } from '../verbs/status.ts';
import { waitMs } from './call-verb.ts';
import { type GuardedPlace, openGuardedPlace } from './guarded-place.ts';
import { createNetnsGuards, type NetnsGuard, type NetnsGuards } from './netns-guards.ts';
import { hostIn, type Inside, openInside, type Session } from './session.ts';

/** `host`: the daemon's own. */
export function guardNetns(session: Session, host: RealHost, config: Config): NetnsGuards {
  const guards: NetnsGuards = createNetnsGuards({
    clock: host.clock,
    log: host.log,
    modeFor: (name) => (netnsEntryFor(config.netns, name) === undefined ? undefined : configInNetns(config, name).mode),
    list: () => session.terminal.netns.list(),
    watch: (handlers) => host.files.watch(NETNS_FOLDER, handlers),
    open: (netns) => open(session, host, config, netns, () => 1 + guards.status().length),
  });
  return guards;
}

async function open(
  session: Session,
  outer: RealHost,
  config: Config,
  { name, life }: NamedNetns,
  sharing: () => number,
): Promise<NetnsGuard | undefined> {
  const inside = await openInside(session.terminal, name);
  if (inside === undefined) return undefined;
  const own = configInNetns(config, name);
  const host = { ...hostIn(outer, inside), log: prefixed(outer.log, `netns ${name}: `) };
  try {
    if (inside.netns.life !== life) throw new Error('it was made anew meanwhile');
    const place = await openGuardedPlace(host, inside.libvirt ? own : { ...own, repair: false }, {
      bus: inside.libvirt ? systemBus({ clock: host.clock, log: host.log }) : undefined,
      waitMs: waitMs(session),
      netns: inside.netns.inode,
      takesFirst: true,
      notifies: false,
      sharing,
    });
    return guardOf(place, inside, outer, own.runDir);
  } catch (error) {
    await inside.netns.close();
    throw error;
  }
}

function guardOf(place: GuardedPlace, { netns }: Inside, { files }: Host, runDir: string): NetnsGuard {
  return {
    lost: place.taken,
    status: () => statusOf(place),
    async stop(gone) {
      try {
        await place.stop(gone);
        if (gone !== undefined) await files.remove(runDir);
      } finally {
        await netns.close();
      }
    },
  };
}

function statusOf({ guard, world }: GuardedPlace): ReturnType<NetnsGuard['status']> {
  const { mode, passes, lastOutcome } = guard.status();
  const drift: Partial<Record<Drift['kind'], number>> = {};
  for (const { kind } of lastOutcome?.drift ?? []) drift[kind] = (drift[kind] ?? 0) + 1;
  return { mode: mode as NamespaceStatus['mode'], passes, drift, snapshot: world.context.memory.snapshotId };
}

const prefixed = (log: Log, prefix: string): Log => ({
  write: (level, message, fields) => log.write(level, `${prefix}${message}`, fields),
});
