// The life of `mendwall run`: its guard, those of the namespaces that `[[netns]]` names, signals. All rules stay when it ends,
// whatever ends it.

import type { Config } from '../config.ts';
import { systemBus } from '../host/bus.ts';
import type { RealHost } from '../host/real.ts';
import type { Mode } from '../pass/types.ts';
import { waitMs } from './call-verb.ts';
import { type GuardedPlace, openGuardedPlace } from './guarded-place.ts';
import { EXIT, Stop } from './exit-codes.ts';
import { guardNetns } from './run-netns.ts';
import type { NetnsGuards } from './netns-guards.ts';
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
    if ((await once(session, { ...config, mode: mode ?? config.mode }, nextEnd)) === 'stop') return EXIT.ok;
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

async function once(session: Session, config: Config, nextEnd: () => Promise<End>): Promise<End> {
  const host = openHost(session, config, 'info');
  const netns = config.netns.length === 0 ? undefined : guardNetns(session, host, config);
  try {
    const place = await openPlace(session, host, config, netns);
    netns?.start();
    return await untilEnd(host, place, netns, nextEnd());
  } finally {
    await netns?.stop();
    await host.close();
  }
}

function openPlace(
  session: Session,
  host: RealHost,
  config: Config,
  netns: NetnsGuards | undefined,
): Promise<GuardedPlace> {
  const { inside } = session;
  // In a namespace without libvirt the bus speaks of another one's networks.
  const hears = inside === undefined || inside.libvirt;
  return openGuardedPlace(host, hears ? config : { ...config, repair: false }, {
    bus: hears ? systemBus({ clock: host.clock, log: host.log }) : undefined,
    waitMs: waitMs(session),
    netns: inside?.netns.inode,
    takesFirst: false,
    ...(netns === undefined ? {} : { more: () => ({ namespaces: netns.status() }) }),
  });
}

async function untilEnd(
  host: RealHost,
  place: GuardedPlace,
  netns: NetnsGuards | undefined,
  ended: Promise<End>,
): Promise<End> {
  const end = await Promise.race([ended, place.taken.then((why) => ({ why }))]);
  if (typeof end === 'string')
    host.log.write('info', end === 'stop' ? 'stopping; all rules stay' : 'reading the configuration again');
  await Promise.all([place.stop(), netns?.stop()]);
  if (typeof end === 'string') return end;
  throw new Stop(EXIT.busy, `${end.why}; this one ends, all rules stay`);
}
