import { describe, expect, it } from 'vitest';
import { systemdSource } from '../../src/events/systemd.ts';
import type { GuardEvent, SourceHealth } from '../../src/events/types.ts';
import { HostError } from '../../src/host/host.ts';
import { fakeBus, nameOwnerChanged } from '../fake/bus.ts';

const NAME = 'org.freedesktop.systemd1';
const MANAGER = { path: '/org/freedesktop/systemd1', interface: 'org.freedesktop.systemd1.Manager' };

async function started(withSystemd = true) {
  const bus = fakeBus();
  bus.answer = async () => [];
  if (withSystemd) bus.owners.set(NAME, ':1.0');
  const events: GuardEvent[] = [];
  const health: SourceHealth[] = [];
  const source = systemdSource(bus);
  await source.start({ event: (event) => events.push(event), health: (value) => health.push(value) });
  return { bus, source, events, health };
}

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

describe('systemd', () => {
  it('is subscribed to, and tells the jobs of the services that write rules', async () => {
    const { bus, events, health } = await started();
    bus.up();
    await pause();
    expect(bus.calls.map(({ member, autoStart }) => [member, autoStart])).toEqual([['Subscribe', false]]);
    expect(health.at(-1)?.state).toBe('ok');
    bus.send({ ...MANAGER, member: 'JobRemoved', body: [1, '/job/1', 'libvirtd.service', 'done'] });
    bus.send({ ...MANAGER, member: 'JobRemoved', body: [2, '/job/2', 'nftables.service', 'failed'] });
    bus.send({ ...MANAGER, member: 'JobRemoved', body: [3, '/job/3', 'cron.service', 'done'] });
    bus.send({ ...MANAGER, member: 'UnitNew', body: ['docker.service', '/unit/docker'] });
    bus.send({ ...MANAGER, member: 'UnitNew', body: ['session-3.scope', '/unit/session'] });
    expect(events).toEqual([
      { kind: 'unit', unit: 'libvirtd.service', change: 'job done' },
      { kind: 'unit', unit: 'nftables.service', change: 'job failed' },
      { kind: 'unit', unit: 'docker.service', change: 'loaded' },
    ]);
  });

  it('believes its own signals only', async () => {
    const { bus, events } = await started();
    bus.up();
    bus.send({ ...MANAGER, member: 'JobRemoved', body: [1, '/job/1', 'libvirtd.service', 'done'], fromOwner: false });
    expect(events).toEqual([]);
  });

  it('is off, with the reason, where the bus has no systemd', async () => {
    const { bus, health } = await started(false);
    bus.up();
    await pause();
    expect(health.at(-1)).toEqual({ source: 'systemd', state: 'off', detail: 'no systemd on the bus' });
    expect(bus.calls).toEqual([]);
  });

  it('is subscribed to again when a new one takes the name', async () => {
    const { bus, health } = await started(false);
    bus.up();
    await pause();
    bus.owners.set(NAME, ':1.9');
    bus.send(nameOwnerChanged(NAME, '', ':1.9'));
    await pause();
    expect(bus.calls).toHaveLength(1);
    expect(health.at(-1)?.state).toBe('ok');
  });

  it.each([
    ['org.freedesktop.systemd1.AlreadySubscribed: Client is already subscribed.', 'ok'],
    ['org.freedesktop.DBus.Error.AccessDenied: no', 'degraded'],
  ])('answering Subscribe with %j is %s', async (message, state) => {
    const { bus, health } = await started();
    bus.answer = () => Promise.reject(new HostError('bus-refused', message));
    bus.up();
    await pause();
    expect(health.at(-1)?.state).toBe(state);
  });

  it('says nothing after close, not even what was under way', async () => {
    const { bus, source, health } = await started();
    bus.up();
    const before = health.length;
    await source.close();
    await pause();
    expect(health).toHaveLength(before);
  });
});
