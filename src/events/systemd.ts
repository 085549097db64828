// systemd's voice: services that write firewall rules start, stop or reload.
// Goal: see a restart of libvirtd (after which libvirt-dbus is mute), and know the likely author of a load.
// Guarantees: signals count only from the owner of systemd's name; a new systemd (re-exec) is subscribed to again.
// Does not: start, stop or ask for anything. Without systemd on the bus it is `off`, and says so.

import type { Bus, BusSignal, BusState, Watch } from '../host/host.ts';
import { HostError } from '../host/host.ts';
import { busSource } from './bus-source.ts';
import type { Source, SourceHandlers, SourceHealth } from './types.ts';

const NAME = 'org.freedesktop.systemd1';
const PATH = '/org/freedesktop/systemd1';
const MANAGER = 'org.freedesktop.systemd1.Manager';
const DBUS = 'org.freedesktop.DBus';

/** The services whose jobs are told. */
export const WATCHED_UNITS: ReadonlySet<string> = new Set(
  ['libvirtd', 'virtnetworkd', 'virtqemud', 'docker', 'nftables', 'firewalld', 'iptables', 'ip6tables']
    .concat(['netfilter-persistent', 'ufw', 'ferm'])
    .map((name) => `${name}.service`),
);

/** The units that mean a new libvirt daemon: the reason to poke libvirt-dbus. */
export const LIBVIRT_UNITS: ReadonlySet<string> = new Set([
  'libvirtd.service',
  'virtnetworkd.service',
  'virtqemud.service',
]);

/** A source on this bus; the caller connects and closes the bus. */
export function systemdSource(bus: Bus): Source {
  return busSource('systemd', (handlers) => startListening(bus, handlers));
}

async function startListening(bus: Bus, handlers: SourceHandlers): Promise<Watch[]> {
  const rule = { name: NAME, from: 'owner', path: PATH, interface: MANAGER } as const;
  const renamed = { name: DBUS, from: 'owner', interface: DBUS, member: 'NameOwnerChanged', arg0: NAME } as const;
  const tell = (signal: BusSignal): void => tellUnit(handlers, signal);
  return [
    ...(await Promise.all([
      bus.subscribe({ ...rule, member: 'JobRemoved' }, tell),
      bus.subscribe({ ...rule, member: 'UnitNew' }, tell),
      bus.subscribe(renamed, () => void askForSignals(bus, handlers)),
    ])),
    bus.onState((state) => tellState(bus, handlers, state)),
  ];
}

function tellUnit(handlers: SourceHandlers, { member, body }: BusSignal): void {
  // JobRemoved(u id, o job, s unit, s result), UnitNew(s id, o unit)
  const [unit, change] = member === 'UnitNew' ? [body[0], 'loaded'] : [body[2], `job ${String(body[3])}`];
  if (typeof unit === 'string' && WATCHED_UNITS.has(unit))
    handlers.event({ kind: 'unit', unit, change: String(change) });
}

function tellState(bus: Bus, handlers: SourceHandlers, state: BusState): void {
  if (state.kind === 'up') void askForSignals(bus, handlers);
  else tellHealth(handlers, 'degraded', `no D-Bus system bus: ${state.reason}`);
}

/** systemd sends signals only while somebody has subscribed (Manager.Subscribe). */
async function askForSignals(bus: Bus, handlers: SourceHandlers): Promise<void> {
  try {
    if ((await bus.owner(NAME)) === undefined) return tellHealth(handlers, 'off', 'no systemd on the bus');
    await bus.call({ destination: NAME, path: PATH, interface: MANAGER, member: 'Subscribe', autoStart: false });
    tellHealth(handlers, 'ok', 'jobs of the services that write rules');
  } catch (error) {
    if (error instanceof HostError && error.message.includes('AlreadySubscribed')) {
      return tellHealth(handlers, 'ok', 'jobs of the services that write rules');
    }
    tellHealth(handlers, 'degraded', error instanceof Error ? error.message : String(error));
  }
}

function tellHealth(handlers: SourceHandlers, state: SourceHealth['state'], detail: string): void {
  handlers.health({ source: 'systemd', state, detail });
}
