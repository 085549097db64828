import { describe, expect, it } from 'vitest';
import { firewalldSource } from '../../src/events/firewalld.ts';
import type { GuardEvent, SourceHealth } from '../../src/events/types.ts';
import { fakeBus, nameOwnerChanged } from '../fake/bus.ts';

const NAME = 'org.fedoraproject.FirewallD1';
const RELOADED = { path: '/x', interface: NAME, member: 'Reloaded', body: [] };

async function started() {
  const bus = fakeBus();
  const events: GuardEvent[] = [];
  const health: SourceHealth[] = [];
  const source = firewalldSource(bus);
  await source.start({ event: (event) => events.push(event), health: (value) => health.push(value) });
  return { bus, source, events, health };
}

describe('firewalld', () => {
  it('is heard, and so is a Reloaded from anybody else, marked as such', async () => {
    const { bus, events } = await started();
    bus.send(RELOADED);
    bus.send({ ...RELOADED, fromOwner: false });
    expect(events).toEqual([
      { kind: 'firewalld', change: 'reloaded', fromOwner: true },
      { kind: 'firewalld', change: 'reloaded', fromOwner: false },
    ]);
  });

  it('is told when it comes and goes', async () => {
    const { bus, events, health } = await started();
    bus.send(nameOwnerChanged(NAME, '', ':1.7'));
    expect(health.at(-1)?.detail).toBe('firewalld runs as :1.7');
    bus.send(nameOwnerChanged(NAME, ':1.7', ''));
    bus.send({ ...nameOwnerChanged(NAME, '', ':1.66'), fromOwner: false });
    expect(events).toEqual([
      { kind: 'firewalld', change: 'appeared' },
      { kind: 'firewalld', change: 'vanished' },
    ]);
  });

  it('is degraded without a bus and fine without firewalld', async () => {
    const { bus, health } = await started();
    expect(health.at(-1)).toMatchObject({ state: 'degraded' });
    bus.up();
    await Promise.resolve();
    expect(health.at(-1)).toEqual({
      source: 'firewalld',
      state: 'ok',
      detail: 'firewalld is not running; listening for Reloaded',
    });
  });

  it('is silent after close', async () => {
    const { bus, source, events, health } = await started();
    await source.close();
    const before = health.length;
    bus.send(RELOADED);
    bus.up();
    expect([events.length, health.length, bus.listeners()]).toEqual([0, before, 0]);
  });
});
