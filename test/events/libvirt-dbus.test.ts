import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { libvirtDbusSource } from '../../src/events/libvirt-dbus.ts';
import type { GuardEvent, SourceHealth } from '../../src/events/types.ts';
import { realClock } from '../../src/host/clock.ts';
import { HostError, type BusCall } from '../../src/host/host.ts';
import { fakeBus, nameOwnerChanged } from '../fake/bus.ts';

const PATH = '/org/libvirt/QEMU/network/_1';
const CONNECT = 'org.libvirt.Connect';
const log = { write: () => undefined };

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

async function answers(call: BusCall): Promise<readonly unknown[]> {
  if (call.member === 'ListNetworks' && call.path === '/org/libvirt/QEMU') return [[PATH]];
  if (call.member === 'Get' && call.path === PATH) return [{ signature: 's', value: 'default' }];
  throw new HostError('bus-refused', `${call.path}: no such driver`);
}

async function started(answer = answers) {
  const bus = fakeBus();
  bus.owners.set('org.libvirt', ':1.5');
  bus.answer = answer;
  const events: GuardEvent[] = [];
  const health: SourceHealth[] = [];
  const source = libvirtDbusSource(bus, { clock: realClock, log });
  await source.start({ event: (event) => events.push(event), health: (value) => health.push(value) });
  const looks = (): number =>
    bus.calls.filter(({ member, path }) => member === 'ListNetworks' && path.endsWith('QEMU')).length;
  return { bus, source, events, health, looks };
}

async function up(answer = answers) {
  const all = await started(answer);
  all.bus.up();
  await vi.advanceTimersByTimeAsync(0);
  return all;
}

function networkEvent(type: number, path = PATH, driver = 'QEMU') {
  return { path: `/org/libvirt/${driver}`, interface: CONNECT, member: 'NetworkEvent', body: [path, type] };
}

describe('libvirt over D-Bus', () => {
  it('is called at the start, since libvirt-dbus is mute until then', async () => {
    const { looks, health, events } = await up();
    expect(looks()).toBe(1);
    expect(health.at(-1)).toEqual({ source: 'libvirt-dbus', state: 'ok', detail: 'libvirt-dbus' });
    expect(events).toEqual([]);
  });

  it('is called again every 60 s and at each poke', async () => {
    const { looks, source } = await up();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(looks()).toBe(2);
    source.poke();
    await vi.advanceTimersByTimeAsync(0);
    expect(looks()).toBe(3);
    await vi.advanceTimersByTimeAsync(59_999);
    expect(looks()).toBe(3);
  });

  it('does not ask again for a driver that is not there, until libvirt-dbus is another one', async () => {
    const { bus, source } = await up();
    const asked = (): number => bus.calls.filter(({ path }) => path === '/org/libvirt/Xen').length;
    source.poke();
    await vi.advanceTimersByTimeAsync(120_000);
    expect(asked()).toBe(1);
    bus.send(nameOwnerChanged('org.libvirt', ':1.5', ''));
    bus.send(nameOwnerChanged('org.libvirt', '', ':1.9'));
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked()).toBe(2);
  });

  it('gives network events with the name of the network', async () => {
    const { bus, events } = await up();
    for (const type of [0, 2, 3, 1, 7]) bus.send(networkEvent(type));
    await vi.advanceTimersByTimeAsync(0);
    const changes = ['defined', 'started', 'stopped', 'undefined'];
    expect(events).toEqual(changes.map((change) => ({ kind: 'network', name: 'default', change })));
  });

  it('gives a network event without a name when the name cannot be had', async () => {
    const { bus, events } = await up();
    bus.send(networkEvent(3, '/org/libvirt/QEMU/network/_2'));
    await vi.advanceTimersByTimeAsync(0);
    expect(events).toEqual([{ kind: 'network', name: undefined, change: 'stopped' }]);
  });

  it('gives guest and device events, and none of the test driver', async () => {
    const { bus, events } = await up();
    const domain = '/org/libvirt/QEMU/domain/_1';
    bus.send({ path: '/org/libvirt/Xen', interface: CONNECT, member: 'DomainEvent', body: [domain, 2, 0] });
    bus.send({ path: domain, interface: 'org.libvirt.Domain', member: 'DeviceAdded', body: ['net1'] });
    bus.send({ path: '/org/libvirt/Test', interface: CONNECT, member: 'DomainEvent', body: [domain, 2, 0] });
    bus.send(networkEvent(2, PATH, 'Test'));
    await vi.advanceTimersByTimeAsync(0);
    expect(events).toEqual([
      { kind: 'domain', change: 'started' },
      { kind: 'domain', change: 'device-added' },
    ]);
  });

  it('says look and calls again when the bus comes back', async () => {
    const { bus, events, health, looks } = await up();
    bus.down('the bus closed the connection');
    expect(health.at(-1)).toMatchObject({ state: 'degraded', detail: expect.stringContaining('closed') as string });
    bus.up();
    await vi.advanceTimersByTimeAsync(0);
    expect(looks()).toBe(2);
    expect(events[0]).toEqual({ kind: 'look', reason: 'D-Bus was away' });
    expect(health.at(-1)?.state).toBe('ok');
  });

  it('says look when libvirt-dbus was replaced', async () => {
    const { bus, events, looks } = await up();
    bus.send(nameOwnerChanged('org.libvirt', ':1.5', ''));
    bus.send(nameOwnerChanged('org.libvirt', '', ':1.9'));
    await vi.advanceTimersByTimeAsync(0);
    expect(looks()).toBe(2);
    expect(events).toEqual([{ kind: 'look', reason: 'libvirt-dbus answers again' }]);
  });

  it('answers again within 2 s where the bus comes back before libvirt-dbus, and that before libvirtd', async () => {
    const { bus, health } = await up();
    const restartedMs = Date.now();
    const since = (): number => Date.now() - restartedMs;
    bus.answer = (call) => {
      if (since() < 1_400)
        return Promise.reject(new HostError('bus-refused', since() < 900 ? 'ServiceUnknown' : 'no libvirtd'));
      return answers(call);
    };
    bus.down('the bus closed the connection');
    await vi.advanceTimersByTimeAsync(500);
    bus.up();
    await vi.advanceTimersByTimeAsync(400);
    bus.send(nameOwnerChanged('org.libvirt', '', ':1.9'));
    await vi.advanceTimersByTimeAsync(1_100);
    expect([since(), health.at(-1)?.state]).toEqual([2_000, 'ok']);
  });

  it('answers soon where libvirt-dbus comes while a call to it is under way', async () => {
    let ready = false;
    const { bus, health } = await up((call) => {
      if (ready) return answers(call);
      return new Promise((_, reject) => setTimeout(() => reject(new HostError('bus-refused', 'not yet')), 300));
    });
    await vi.advanceTimersByTimeAsync(100);
    bus.send(nameOwnerChanged('org.libvirt', '', ':1.9'));
    ready = true;
    await vi.advanceTimersByTimeAsync(600);
    expect(health.at(-1)?.state).toBe('ok');
  });

  it('is not called in a tight loop where libvirt-dbus ends at each call', async () => {
    const all = await up();
    all.bus.answer = () => {
      all.bus.send(nameOwnerChanged('org.libvirt', '', ':1.9'));
      all.bus.send(nameOwnerChanged('org.libvirt', ':1.9', ''));
      return Promise.reject(new HostError('bus-refused', 'NoReply'));
    };
    all.source.poke();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(all.looks()).toBeLessThan(30);
  });

  it('is degraded and tried after 2, 4, 8 ... 60 s where libvirt-dbus is not there, never in a tight loop', async () => {
    const { health, looks } = await up(() => Promise.reject(new HostError('bus-refused', 'ServiceUnknown')));
    expect(health.at(-1)).toEqual({ source: 'libvirt-dbus', state: 'degraded', detail: 'QEMU: ServiceUnknown' });
    await vi.advanceTimersByTimeAsync(2_000 + 4_000 + 8_000 + 16_000 + 32_000 + 60_000);
    expect(looks()).toBe(7);
    await vi.advanceTimersByTimeAsync(600_000);
    expect(looks()).toBe(17);
  });

  it('makes one call at a time while libvirt hangs in a hook, however often it is poked', async () => {
    const { source, bus, health } = await up((call) => {
      return new Promise((_, reject) => setTimeout(() => reject(new HostError('bus-timeout', call.path)), 5_000));
    });
    for (let n = 0; n < 20; n += 1) source.poke();
    await vi.advanceTimersByTimeAsync(4_999);
    expect(bus.calls).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(10_001);
    expect(bus.calls).toHaveLength(3);
    expect(health.at(-1)?.state).toBe('degraded');
    await vi.advanceTimersByTimeAsync(1_999);
    expect(bus.calls).toHaveLength(3);
  });

  it('says when its call started libvirt-dbus', async () => {
    const all = await started();
    all.bus.owners.clear();
    all.bus.up();
    await vi.advanceTimersByTimeAsync(0);
    expect(all.health.at(-1)?.detail).toBe('libvirt-dbus (started over D-Bus by mendwall)');
  });

  it('is silent and without timers after close', async () => {
    const { bus, source, events } = await up();
    await source.close();
    bus.send(networkEvent(2));
    expect(events).toEqual([]);
    expect(bus.listeners()).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });
});
