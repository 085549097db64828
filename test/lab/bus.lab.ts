// The bus adapter and the sources on it, against a real dbus-daemon, libvirtd and libvirt-dbus.

import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FIREWALLD_NAME, FIREWALLD_PATH, firewalldSource } from '../../src/events/firewalld.ts';
import { libvirtDbusSource, type LibvirtDbusSource } from '../../src/events/libvirt-dbus.ts';
import { systemdSource } from '../../src/events/systemd.ts';
import type { GuardEvent, Source, SourceHealth } from '../../src/events/types.ts';
import { connectionsOf } from '../../src/host/bus-names.ts';
import { systemBus } from '../../src/host/bus.ts';
import { realClock } from '../../src/host/clock.ts';
import type { Bus, BusSignal, BusState, Log } from '../../src/host/host.ts';
import { realProc } from '../../src/host/proc.ts';
import { upHypervisor, type Hypervisor } from './host.ts';
import { REPOSITORY } from './namespaces.ts';
import { privateBus, startPeer, type Peer, type PrivateBus } from './private-bus.ts';

const LIBVIRT_RULE = { name: 'org.libvirt', from: 'owner', interface: 'org.libvirt.Connect' } as const;
const NETWORK_PATH = '/org/libvirt/QEMU/network/_1';

let daemon: PrivateBus;
let logged: string[];
let toClose: { close(): unknown }[];

const log: Log = { write: (level, message) => void (level !== 'debug' && logged.push(message)) };

beforeEach(async () => {
  logged = [];
  toClose = [];
  daemon = privateBus();
  await daemon.start();
});

afterEach(async () => {
  for (const thing of toClose) await thing.close();
  await daemon.close();
});

async function connected(address = daemon.address): Promise<{ bus: Bus; states: BusState[] }> {
  const bus = systemBus({ clock: realClock, log, address });
  toClose.push(bus);
  const states: BusState[] = [];
  await bus.connect();
  bus.onState((state) => states.push(state));
  return { bus, states };
}

async function peer(): Promise<Peer> {
  const made = await startPeer(daemon.address);
  toClose.push(made);
  return made;
}

async function until(what: string, condition: () => boolean, timeoutMs = 5_000): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Everything sent before has been handled: the bus keeps one order for one connection. */
async function settled(bus: Bus, from: Peer): Promise<void> {
  const rule = { name: 'test.Mark', from: 'anybody', interface: 'test.Mark', member: 'Here' } as const;
  let here = false;
  const watch = await bus.subscribe(rule, () => (here = true));
  from.signal('/', 'test.Mark', 'Here');
  await until('the mark', () => here);
  watch.close();
}

describe('the bus adapter', () => {
  it('ends a call that nobody answers after its timeout, and goes on', async () => {
    const { bus } = await connected();
    const silent = await peer();
    silent.answer(() => undefined);
    const call = { destination: silent.uniqueName, path: '/', interface: 'a.b', member: 'Wait', timeoutMs: 200 };
    const startedMs = performance.now();
    await expect(bus.call(call)).rejects.toMatchObject({ code: 'bus-timeout' });
    expect(performance.now() - startedMs).toBeLessThan(1_000);
    expect(await bus.owner('org.libvirt')).toBeUndefined();
  });

  it('says what the service answered when it refuses', async () => {
    const { bus } = await connected();
    const call = { destination: 'no.such.Name', path: '/', interface: 'a.b', member: 'Do' };
    await expect(bus.call(call)).rejects.toMatchObject({
      code: 'bus-refused',
      message: expect.stringContaining('org.freedesktop.DBus.Error.ServiceUnknown') as string,
    });
  });

  it('tells down when the bus is killed, rejects what waits, and hears signals again after it is back', async () => {
    const { bus, states } = await connected();
    const heard: BusSignal[] = [];
    await bus.subscribe(LIBVIRT_RULE, (signal) => heard.push(signal));
    const silent = await peer();
    silent.answer(() => undefined);
    const waiting = bus.call({ destination: silent.uniqueName, path: '/', interface: 'a.b', member: 'Wait' });
    const outcome = expect(waiting).rejects.toMatchObject({ code: 'bus-lost' });
    await daemon.kill();
    await outcome;
    await until('down', () => states.at(-1)?.kind === 'down', 1_000);
    await expect(bus.call({ destination: 'a.b', path: '/', interface: 'a.b', member: 'X' })).rejects.toMatchObject({
      code: 'bus-down',
    });
    await daemon.start();
    await until('up', () => states.at(-1)?.kind === 'up', 6_000);
    const libvirt = await peer();
    await libvirt.own('org.libvirt');
    libvirt.signal('/org/libvirt/QEMU', 'org.libvirt.Connect', 'NetworkEvent', 'oi', [NETWORK_PATH, 2]);
    await until('the signal', () => heard.length === 1);
    expect(heard[0]).toMatchObject({ body: [NETWORK_PATH, 2], fromOwner: true, sender: libvirt.uniqueName });
  });

  it('comes up when the bus appears only later', async () => {
    await daemon.kill();
    const { states } = await connected();
    expect(states).toMatchObject([{ kind: 'down' }]);
    await daemon.start();
    await until('up', () => states.at(-1)?.kind === 'up', 6_000);
  });

  it('ignores a signal of org.libvirt from anybody but the owner of that name, broadcast or addressed', async () => {
    const { bus } = await connected();
    const heard: BusSignal[] = [];
    await bus.subscribe(LIBVIRT_RULE, (signal) => heard.push(signal));
    const [first, second, liar] = [await peer(), await peer(), await peer()];
    const speak = (from: Peer): void =>
      from.signal('/org/libvirt/QEMU', 'org.libvirt.Connect', 'NetworkEvent', 'oi', [NETWORK_PATH, 2]);
    speak(liar);
    await first.own('org.libvirt');
    speak(first);
    speak(liar);
    first.close();
    await second.own('org.libvirt');
    speak(second);
    await settled(bus, liar);
    await settled(bus, second);
    expect(heard.map(({ sender }) => sender)).toEqual([first.uniqueName, second.uniqueName]);
  });

  it('hears a name change hands, and believes it only from the bus itself', async () => {
    const { bus } = await connected();
    const owners: unknown[] = [];
    const dbus = 'org.freedesktop.DBus';
    const rule = {
      name: dbus,
      from: 'owner',
      interface: dbus,
      member: 'NameOwnerChanged',
      arg0: 'org.libvirt',
    } as const;
    await bus.subscribe(rule, ({ body }) => owners.push(body[2]));
    const [libvirt, liar] = [await peer(), await peer()];
    liar.signal('/org/freedesktop/DBus', dbus, 'NameOwnerChanged', 'sss', ['org.libvirt', '', ':1.99']);
    await libvirt.own('org.libvirt');
    await until('the name', () => owners.length > 0);
    await settled(bus, liar);
    expect(owners).toEqual([libvirt.uniqueName]);
    expect(await bus.owner('org.libvirt')).toBe(libvirt.uniqueName);
  });

  it('sends a signal to one connection only, even when all listen', async () => {
    const { bus } = await connected();
    const [chosen, other] = [await peer(), await peer()];
    for (const each of [chosen, other]) await each.hears("type='signal',interface='org.fedoraproject.FirewallD1'");
    const reloaded = {
      path: '/org/fedoraproject/FirewallD1',
      interface: 'org.fedoraproject.FirewallD1',
      member: 'Reloaded',
    };
    bus.emitTo(chosen.uniqueName, reloaded);
    const got = (each: Peer): number => each.heard.filter(({ member }) => member === 'Reloaded').length;
    await until('the signal', () => got(chosen) === 1);
    await settled(bus, other);
    expect(got(other)).toBe(0);
  });

  it('survives a handler that throws and a message it cannot read', async () => {
    const { bus, states } = await connected();
    const heard: BusSignal[] = [];
    await bus.subscribe(LIBVIRT_RULE, () => {
      throw new Error('a broken handler');
    });
    await bus.subscribe(LIBVIRT_RULE, (signal) => heard.push(signal));
    const libvirt = await peer();
    await libvirt.own('org.libvirt');
    libvirt.signal('/org/libvirt/QEMU', 'org.libvirt.Connect', 'NetworkEvent', 'oi', [NETWORK_PATH, 2]);
    await until('the signal', () => heard.length === 1);
    expect(logged).toEqual([expect.stringContaining('a broken handler')]);
    const state = bus.state();
    for (let n = 0; n < 3; n += 1) libvirt.unreadable(state.kind === 'up' ? state.uniqueName : '');
    libvirt.signal('/org/libvirt/QEMU', 'org.libvirt.Connect', 'NetworkEvent', 'oi', [NETWORK_PATH, 3]);
    await until('the next signal', () => heard.length === 2);
    expect(logged.filter((message) => message.includes('No FDs available'))).toHaveLength(1);
    expect(states).toHaveLength(1);
  });

  it('notices a bus that holds the connection and answers no more', { timeout: 60_000 }, async () => {
    const { states } = await connected();
    daemon.freeze();
    await until('down', () => states.at(-1)?.kind === 'down', 22_000);
    daemon.thaw();
    await until('up', () => states.at(-1)?.kind === 'up', 12_000);
  });

  it('loads no native module', async () => {
    await connected();
    const loaded = Object.keys(createRequire(import.meta.url).cache);
    expect(loaded.filter((path) => path.includes('/dbus-next/lib/bus.js'))).toHaveLength(1);
    expect(loaded.filter((path) => path.includes('/usocket/') || path.endsWith('.node'))).toEqual([]);
  });

  it('lets the process end after close', async () => {
    const script = `const { systemBus } = await import('./src/host/bus.ts');
      const { realClock } = await import('./src/host/clock.ts');
      const bus = systemBus({ clock: realClock, log: { write: () => undefined } });
      await bus.connect();
      console.log(bus.state().kind);
      await bus.close();`;
    const args = ['--import', 'tsx', '--input-type=module', '-e', script];
    const env = { ...process.env, DBUS_SYSTEM_BUS_ADDRESS: daemon.address };
    const run = await promisify(execFile)(process.execPath, args, { cwd: REPOSITORY, env, timeout: 10_000 });
    expect(run.stdout).toBe('up\n');
  });

  it('finds the connections of a program', async () => {
    const { bus } = await connected();
    await peer();
    const names = await connectionsOf(bus, realProc, [ownComm()]);
    expect(names).toHaveLength(2);
    expect(await connectionsOf(bus, realProc, ['libvirtd'])).toEqual([]);
  });
});

function ownComm(): string {
  return (realProc.read('/proc/self/comm') ?? '').trim();
}

interface Told {
  readonly events: GuardEvent[];
  readonly health: SourceHealth[];
}

async function started(source: Source): Promise<Told> {
  const told: Told = { events: [], health: [] };
  toClose.push(source);
  await source.start({ event: (event) => told.events.push(event), health: (health) => told.health.push(health) });
  return told;
}

describe('firewalld on the bus', () => {
  it('is heard from anybody, and it is said whether the sender is firewalld', async () => {
    const { bus } = await connected();
    const { events } = await started(firewalldSource(bus));
    const [firewalld, other] = [await peer(), await peer()];
    other.signal('/x', 'org.fedoraproject.FirewallD1', 'Reloaded');
    await settled(bus, other);
    await firewalld.own('org.fedoraproject.FirewallD1');
    firewalld.signal('/org/fedoraproject/FirewallD1', 'org.fedoraproject.FirewallD1', 'Reloaded');
    await settled(bus, firewalld);
    firewalld.close();
    await until('vanished', () => events.length === 4);
    expect(events).toEqual([
      { kind: 'firewalld', change: 'reloaded', fromOwner: false },
      { kind: 'firewalld', change: 'appeared' },
      { kind: 'firewalld', change: 'reloaded', fromOwner: true },
      { kind: 'firewalld', change: 'vanished' },
    ]);
  });
});

describe('systemd on the bus', () => {
  it('is off where there is none, and subscribed to when it comes', async () => {
    const { bus } = await connected();
    const { events, health } = await started(systemdSource(bus));
    await until('off', () => health.at(-1)?.state === 'off');
    const systemd = await peer();
    const calls: string[] = [];
    systemd.answer((call) => {
      calls.push(call.member);
      return [];
    });
    await systemd.own('org.freedesktop.systemd1');
    await until('ok', () => health.at(-1)?.state === 'ok');
    expect(calls).toEqual(['Subscribe']);
    const manager = ['/org/freedesktop/systemd1', 'org.freedesktop.systemd1.Manager'] as const;
    systemd.signal(...manager, 'JobRemoved', 'uoss', [
      7,
      '/org/freedesktop/systemd1/job/7',
      'libvirtd.service',
      'done',
    ]);
    systemd.signal(...manager, 'JobRemoved', 'uoss', [8, '/org/freedesktop/systemd1/job/8', 'cron.service', 'done']);
    await settled(bus, systemd);
    expect(events).toEqual([{ kind: 'unit', unit: 'libvirtd.service', change: 'job done' }]);
  });
});

describe('libvirt over D-Bus', () => {
  const networkEvent = (change: string): unknown =>
    expect.objectContaining({ kind: 'network', name: 'default', change });

  async function hypervisor(): Promise<Hypervisor> {
    const host = await upHypervisor({ name: 'mwb' });
    toClose.push({ close: () => host.down() });
    return host;
  }

  async function listening(
    host: Hypervisor,
  ): Promise<Told & { bus: Bus; source: LibvirtDbusSource; heard: () => GuardEvent[] }> {
    // host.down() must come last: what is in toClose is closed in its order
    toClose.reverse();
    const { bus } = await connected(`unix:path=/proc/${host.pid}/root/run/dbus/system_bus_socket`);
    const source = libvirtDbusSource(bus, { clock: realClock, log });
    const told = await started(source);
    toClose.reverse();
    await until('libvirt-dbus answers', () => told.health.at(-1)?.state === 'ok', 10_000);
    return { ...told, bus, source, heard: () => told.events.filter(({ kind }) => kind === 'network') };
  }

  it('is heard within 10 s, also after libvirtd restarted, and rebuilds for a signal to it alone', async () => {
    const host = await hypervisor();
    const { bus, source, heard } = await listening(host);
    await host.destroyNetwork('default');
    await until('net-destroy is heard', () => heard().length === 1, 10_000);
    expect(heard()).toEqual([networkEvent('stopped')]);

    await host.libvirtd.restart();
    source.poke();
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    await host.startNetwork('default');
    await until('net-start is heard', () => heard().length >= 2, 10_000);
    expect(heard().slice(1)).toEqual([networkEvent('started')]);

    const daemons = await connectionsOf(bus, realProc, undefined, `/proc/${host.pid}/root/proc`);
    expect(daemons).toHaveLength(1);
    await host.sh('iptables -F; iptables -X');
    for (const name of daemons) {
      bus.emitTo(name, { path: FIREWALLD_PATH, interface: FIREWALLD_NAME, member: 'Reloaded' });
    }
    await host.libvirtd.quiet(500);
    expect((await host.save()).ip).toContain('-A FORWARD -j LIBVIRT_FWI');
  });

  it('is heard again within 10 s after libvirt-dbus and then the bus itself had died', async () => {
    const host = await hypervisor();
    const { health, events, heard } = await listening(host);
    await host.sh('kill -9 $(cat /run/lab/libvirt-dbus.pid)');
    await until('degraded', () => health.at(-1)?.state === 'degraded');
    // libvirtd ends by itself when its bus dies (GDBus exit-on-close)
    await host.sh('kill -9 $(pgrep -x dbus-daemon); while pgrep -x libvirtd >/dev/null; do sleep 0.02; done');
    await until('no bus', () => health.at(-1)?.detail.startsWith('no D-Bus system bus') === true);
    await host.sh('dbus-daemon --system --fork --nopidfile --nosyslog </dev/null >/dev/null 2>&1');
    await host.libvirtd.start();
    await host.startLibvirtDbus();
    await until('libvirt-dbus answers', () => health.at(-1)?.state === 'ok', 10_000);
    await host.destroyNetwork('default');
    await until('net-destroy is heard', () => heard().length > 0, 10_000);
    expect(heard()).toEqual([networkEvent('stopped')]);
    expect(events).toContainEqual({ kind: 'look', reason: 'D-Bus was away' });
  });

  it('does not block libvirt or itself while a network hook hangs', async () => {
    const host = await hypervisor();
    await host.sh(
      'mkdir -p /etc/libvirt/hooks; printf "#!/bin/sh\\n[ \\$2 != started ] || sleep 7\\n" > /etc/libvirt/hooks/network',
    );
    await host.sh('chmod +x /etc/libvirt/hooks/network; virsh -q net-destroy default');
    await host.libvirtd.restart();
    const { source, health, heard } = await listening(host);
    const netStart = host.virsh('net-start', 'default');
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    source.poke();
    const slowestMs = await slowest(5, () => host.virsh('list'));
    expect(slowestMs).toBeLessThan(1_000);
    await netStart;
    await until('net-start is heard', () => heard().length > 0, 10_000);
    expect(heard()).toEqual([networkEvent('started')]);
    await until('ok again', () => health.at(-1)?.state === 'ok', 10_000);
  });
});

/** Longest of `count` runs, half a second apart, in ms. */
async function slowest(count: number, run: () => Promise<unknown>): Promise<number> {
  let longestMs = 0;
  for (let n = 0; n < count; n += 1) {
    const startedMs = performance.now();
    await run();
    longestMs = Math.max(longestMs, performance.now() - startedMs);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  return longestMs;
}
