// Which connections on the bus belong to which program.

import { DBUS, DBUS_PATH } from './bus-rule.ts';
import type { Bus, ProcReader } from './host.ts';

/** libvirt's daemons that write firewall rules, by the name the kernel has for them (comm, at most 15 characters). */
export const LIBVIRT_DAEMONS: readonly string[] = ['libvirtd', 'virtnetworkd', 'virtnwfilterd'];

/**
 * Unique names (`:1.7`) of the connections whose process has one of these comms, in the order the bus lists them.
 * The bus gives pids as dbus-daemon sees them, so `procFolder` must be the proc filesystem of dbus-daemon's own pid
 * namespace: `/proc` when mendwall runs beside it, as on every host. Anybody may name a process `libvirtd`: good for
 * choosing whom to tell something harmless, not for trust. Rejects as Bus.call does.
 */
export async function connectionsOf(
  bus: Bus,
  proc: ProcReader,
  comms: readonly string[] = LIBVIRT_DAEMONS,
  procFolder = '/proc',
): Promise<string[]> {
  const [names] = await bus.call({ destination: DBUS, path: DBUS_PATH, interface: DBUS, member: 'ListNames' });
  const unique = Array.isArray(names) ? names.filter((name) => typeof name === 'string' && name.startsWith(':')) : [];
  const found = await Promise.all(
    unique.map(async (name: string) => {
      const pid = await pidOf(bus, name);
      const comm = pid === undefined ? undefined : proc.read(`${procFolder}/${pid}/comm`)?.trimEnd();
      return comm !== undefined && comms.includes(comm) ? [name] : [];
    }),
  );
  return found.flat();
}

/** Undefined for a connection that ended since it was listed, and for one whose pid the bus does not know. */
async function pidOf(bus: Bus, name: string): Promise<number | undefined> {
  const [answer] = await Promise.allSettled([
    bus.call({
      destination: DBUS,
      path: DBUS_PATH,
      interface: DBUS,
      member: 'GetConnectionUnixProcessID',
      signature: 's',
      body: [name],
    }),
  ]);
  const pid = answer.status === 'fulfilled' ? answer.value[0] : undefined;
  return typeof pid === 'number' ? pid : undefined;
}
