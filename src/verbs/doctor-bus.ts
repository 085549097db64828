// What `doctor` asks of D-Bus: whether libvirt-dbus is there and answers, and firewalld's version.
// Guarantees: starts no service (autoStart false); each call ends after 5 s.

import type { BusFact, FirewalldFact, Read } from '../doctor/types.ts';
import { FIREWALLD_NAME, FIREWALLD_PATH } from '../events/firewalld.ts';
import { DBUS, DBUS_PATH } from '../host/bus-rule.ts';
import type { Bus } from '../host/host.ts';
import { reading } from './doctor-files.ts';

const LIBVIRT = 'org.libvirt';
const LIBVIRT_PROGRAMS = ['libvirtd', 'virtnetworkd', 'virtqemud', 'virtxend', 'virtlxcd'];

/** `programs`: what runs here. */
export async function readBus(bus: Bus, programs: Read<ReadonlySet<string>>): Promise<Read<BusFact>> {
  if (programs.kind === 'unread') return programs;
  if (!LIBVIRT_PROGRAMS.some((name) => programs.value.has(name))) return known({ kind: 'no-libvirt' });
  const state = bus.state();
  if (state.kind === 'down') return { kind: 'unread', why: `no D-Bus system bus: ${state.reason}` };
  return reading(() => libvirtVoice(bus));
}

const known = <T>(value: T): Read<T> => ({ kind: 'read', value });

async function libvirtVoice(bus: Bus): Promise<BusFact> {
  if ((await bus.owner(LIBVIRT)) === undefined) {
    const ask = { destination: DBUS, path: DBUS_PATH, interface: DBUS, member: 'ListActivatableNames' };
    const [names] = await bus.call(ask);
    return { kind: Array.isArray(names) && names.includes(LIBVIRT) ? 'on-demand' : 'missing' };
  }
  const refusals: string[] = [];
  // One after the other: libvirtd writes an error into its log for each driver that it has not.
  for (const driver of ['QEMU', 'Xen', 'LXC']) {
    const answer = await reading(() => listNetworks(bus, driver));
    if (answer.kind === 'read') return { kind: 'answers' };
    refusals.push(answer.why);
  }
  const [first = ''] = refusals;
  if (/AccessDenied|not allowed/i.test(first)) throw new Error('only root may ask libvirt-dbus');
  return { kind: 'mute', why: first };
}

const listNetworks = (bus: Bus, driver: string): Promise<unknown> =>
  bus.call({
    destination: LIBVIRT,
    path: `/org/libvirt/${driver}`,
    interface: 'org.libvirt.Connect',
    member: 'ListNetworks',
    signature: 'u',
    body: [0],
    autoStart: false,
  });

/** Without a bus the program tells that it runs, and nobody its version. */
export async function readFirewalld(bus: Bus, programs: Read<ReadonlySet<string>>): Promise<Read<FirewalldFact>> {
  if (bus.state().kind === 'up') {
    const asked = await reading(() => firewalldOnBus(bus));
    if (asked.kind === 'read') return asked;
  }
  if (programs.kind === 'unread') return programs;
  return known({ running: programs.value.has('firewalld'), version: undefined });
}

async function firewalldOnBus(bus: Bus): Promise<FirewalldFact> {
  if ((await bus.owner(FIREWALLD_NAME)) === undefined) return { running: false, version: undefined };
  const ask = bus.call({
    destination: FIREWALLD_NAME,
    path: FIREWALLD_PATH,
    interface: 'org.freedesktop.DBus.Properties',
    member: 'Get',
    signature: 'ss',
    body: [FIREWALLD_NAME, 'version'],
    autoStart: false,
  });
  const [answer] = await ask.catch(() => []);
  return { running: true, version: variantText(answer) };
}

/** dbus-next gives a variant as an object with its value. */
function variantText(answer: unknown): string | undefined {
  const value = typeof answer === 'object' && answer !== null ? (answer as { value?: unknown }).value : answer;
  return typeof value === 'string' ? value : undefined;
}
