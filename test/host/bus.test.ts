import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { connectionsOf } from '../../src/host/bus-names.ts';
import { fitsRule, matchText, ownerRule, socketAddress, type RawSignal } from '../../src/host/bus-rule.ts';
import { reconnectingBus, type Link, type LinkHandlers } from '../../src/host/bus-reconnect.ts';
import { systemBus } from '../../src/host/bus.ts';
import { realClock } from '../../src/host/clock.ts';
import { HostError, type Bus, type BusCall, type BusSignal, type BusState } from '../../src/host/host.ts';
import { fakeBus } from '../fake/bus.ts';

const LIBVIRT = { name: 'org.libvirt', from: 'owner', interface: 'org.libvirt.Connect' } as const;
const EVENT: RawSignal = {
  sender: ':1.5',
  path: '/org/libvirt/QEMU',
  interface: 'org.libvirt.Connect',
  member: 'NetworkEvent',
  body: ['/x', 2],
};
const DBUS = 'org.freedesktop.DBus';

function ownerChanged(name: string, before: string, after: string, sender = DBUS): RawSignal {
  return {
    sender,
    path: '/org/freedesktop/DBus',
    interface: DBUS,
    member: 'NameOwnerChanged',
    body: [name, before, after],
  };
}

/** A bus daemon in a variable: `there` decides whether connecting works, `owners` what it answers. */
function fakeDaemon() {
  const daemon = {
    there: true,
    answersPing: true,
    owners: new Map<string, string>(),
    attempts: 0,
    matches: [] as string[],
    handlers: undefined as LinkHandlers | undefined,
    logged: [] as string[],
    /** Called on each call before it is answered. */
    before: (_: BusCall): void => undefined,
  };
  const answer = async (call: BusCall): Promise<readonly unknown[]> => {
    daemon.before(call);
    const name = String(call.body?.[0]);
    if (call.member === 'AddMatch') daemon.matches.push(name);
    if (call.member === 'RemoveMatch') daemon.matches.splice(daemon.matches.indexOf(name), 1);
    if (call.member === 'GetNameOwner') {
      const owner = daemon.owners.get(name);
      if (owner === undefined) throw new HostError('bus-refused', `${DBUS}.Error.NameHasNoOwner: ${name}`);
      return [owner];
    }
    if (call.member === 'GetId' && !daemon.answersPing) throw new HostError('bus-timeout', 'no answer in 5000 ms');
    return [];
  };
  const open = async (handlers: LinkHandlers): Promise<Link> => {
    daemon.attempts += 1;
    if (!daemon.there) throw new HostError('bus-down', 'connect ENOENT');
    daemon.matches = [];
    daemon.handlers = handlers;
    return { uniqueName: `:1.${daemon.attempts}`, call: answer, emit: () => undefined, close: () => undefined };
  };
  const log = { write: (level: string, message: string) => void daemon.logged.push(`${level}: ${message}`) };
  const bus = reconnectingBus({ clock: realClock, log, open, random: () => 0 });
  return { daemon, bus };
}

function statesOf(bus: Bus): BusState['kind'][] {
  const states: BusState['kind'][] = [];
  bus.onState(({ kind }) => states.push(kind));
  return states;
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('a reconnecting bus', () => {
  it('connects, subscribes and delivers what the owner of the name sends', async () => {
    const { bus, daemon } = fakeDaemon();
    daemon.owners.set('org.libvirt', ':1.5');
    const heard: BusSignal[] = [];
    await bus.subscribe(LIBVIRT, (signal) => heard.push(signal));
    await bus.connect();
    expect(bus.state()).toEqual({ kind: 'up', uniqueName: ':1.1' });
    daemon.handlers?.signal(EVENT);
    daemon.handlers?.signal({ ...EVENT, sender: ':1.66' });
    daemon.handlers?.signal({ ...EVENT, interface: 'org.libvirt.Domain' });
    expect(heard).toEqual([{ ...EVENT, fromOwner: true }]);
  });

  it('follows the name to its new owner, and is not fooled by others about it', async () => {
    const { bus, daemon } = fakeDaemon();
    daemon.owners.set('org.libvirt', ':1.5');
    const heard: string[] = [];
    await bus.connect();
    await bus.subscribe(LIBVIRT, ({ sender }) => heard.push(sender));
    daemon.handlers?.signal(ownerChanged('org.libvirt', ':1.5', ':1.66', ':1.66'));
    daemon.handlers?.signal({ ...EVENT, sender: ':1.66' });
    daemon.handlers?.signal(ownerChanged('org.libvirt', ':1.5', ''));
    daemon.handlers?.signal(EVENT);
    daemon.handlers?.signal(ownerChanged('org.libvirt', '', ':1.7'));
    daemon.handlers?.signal({ ...EVENT, sender: ':1.7' });
    expect(heard).toEqual([':1.7']);
    expect(await bus.owner('org.libvirt')).toBe(':1.7');
  });

  it('lets no old answer overwrite a newer change of owner', async () => {
    const { bus, daemon } = fakeDaemon();
    daemon.owners.set('org.libvirt', ':1.5');
    daemon.before = ({ member }) => {
      if (member === 'GetNameOwner') daemon.handlers?.signal(ownerChanged('org.libvirt', ':1.5', ':1.7'));
    };
    await bus.connect();
    await bus.subscribe(LIBVIRT, () => undefined);
    expect(await bus.owner('org.libvirt')).toBe(':1.7');
  });

  it('delivers from anybody where the rule says so, and says who is the owner', async () => {
    const { bus, daemon } = fakeDaemon();
    daemon.owners.set('org.libvirt', ':1.5');
    await bus.connect();
    const heard: boolean[] = [];
    await bus.subscribe({ ...LIBVIRT, from: 'anybody' }, ({ fromOwner }) => heard.push(fromOwner));
    daemon.handlers?.signal(EVENT);
    daemon.handlers?.signal({ ...EVENT, sender: ':1.66' });
    expect(heard).toEqual([true, false]);
  });

  it('puts every match back after the connection was lost, before it says up', async () => {
    const { bus, daemon } = fakeDaemon();
    const states = statesOf(bus);
    await bus.subscribe(LIBVIRT, () => undefined);
    await bus.connect();
    const before = daemon.matches.toSorted();
    expect(before).toEqual([matchText(LIBVIRT), matchText(ownerRule('org.libvirt'))].toSorted());
    daemon.handlers?.lost('the bus closed the connection');
    expect(bus.state()).toEqual({ kind: 'down', reason: 'the bus closed the connection' });
    await expect(bus.call({ destination: 'a.b', path: '/', interface: 'a.b', member: 'C' })).rejects.toMatchObject({
      code: 'bus-down',
    });
    await vi.advanceTimersByTimeAsync(500);
    expect(daemon.matches.toSorted()).toEqual(before);
    expect(states).toEqual(['down', 'up', 'down', 'up']);
  });

  it('tries an absent bus again after 0.5, 1, 2, 4 and then every 5 s', async () => {
    const { bus, daemon } = fakeDaemon();
    daemon.there = false;
    await bus.connect();
    const attemptsAfterMs: number[] = [];
    for (const ms of [500, 1_000, 2_000, 4_000, 5_000, 5_000]) {
      await vi.advanceTimersByTimeAsync(ms - 1);
      const tooEarly = daemon.attempts;
      await vi.advanceTimersByTimeAsync(1);
      attemptsAfterMs.push(daemon.attempts - tooEarly);
    }
    expect(attemptsAfterMs).toEqual([1, 1, 1, 1, 1, 1]);
    daemon.there = true;
    await vi.advanceTimersByTimeAsync(5_000);
    expect(bus.state().kind).toBe('up');
  });

  it('waits up to 30 s where the bus takes it in and lets it fall again', async () => {
    const { bus, daemon } = fakeDaemon();
    await bus.connect();
    for (let n = 0; n < 10; n += 1) {
      daemon.handlers?.lost('no');
      await vi.advanceTimersByTimeAsync(30_000);
    }
    const attempts = daemon.attempts;
    // one answered ping at 15 s starts the count anew
    daemon.handlers?.lost('no');
    await vi.advanceTimersByTimeAsync(500);
    expect(daemon.attempts).toBe(attempts + 1);
  });

  it('drops a connection whose ping is not answered', async () => {
    const { bus, daemon } = fakeDaemon();
    await bus.connect();
    await vi.advanceTimersByTimeAsync(15_000);
    expect(bus.state().kind).toBe('up');
    daemon.answersPing = false;
    await vi.advanceTimersByTimeAsync(15_000);
    expect(bus.state()).toEqual({ kind: 'down', reason: 'no answer in 5000 ms' });
  });

  it('goes on when a handler throws, and logs it', async () => {
    const { bus, daemon } = fakeDaemon();
    daemon.owners.set('org.libvirt', ':1.5');
    await bus.connect();
    const heard: string[] = [];
    await bus.subscribe(LIBVIRT, () => {
      throw new Error('broken');
    });
    await bus.subscribe(LIBVIRT, ({ member }) => heard.push(member));
    daemon.handlers?.signal(EVENT);
    expect(heard).toEqual(['NetworkEvent']);
    expect(daemon.logged).toEqual(['error: D-Bus: a listener failed: broken']);
  });

  it('takes its match back when a watch is closed', async () => {
    const { bus, daemon } = fakeDaemon();
    await bus.connect();
    const watch = await bus.subscribe(LIBVIRT, () => undefined);
    watch.close();
    await vi.advanceTimersByTimeAsync(0);
    expect(daemon.matches).toEqual([matchText(ownerRule('org.libvirt'))]);
  });

  it('calls nobody and leaves no timer after close', async () => {
    const { bus, daemon } = fakeDaemon();
    daemon.owners.set('org.libvirt', ':1.5');
    const heard: BusSignal[] = [];
    await bus.subscribe(LIBVIRT, (signal) => heard.push(signal));
    await bus.connect();
    const states = statesOf(bus);
    await bus.close();
    daemon.handlers?.signal(EVENT);
    daemon.handlers?.lost('late');
    expect(heard).toEqual([]);
    expect(states).toEqual(['up']);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('the system bus', () => {
  it('is down, with the reason, where no socket is', async () => {
    vi.useRealTimers();
    const log = { write: () => undefined };
    const bus = systemBus({ clock: realClock, log, address: 'unix:path=/nonexistent/mendwall-test' });
    await bus.connect();
    expect(bus.state()).toEqual({ kind: 'down', reason: expect.stringContaining('ENOENT') as string });
    await bus.close();
  });

  it('is down, with the reason, at an address it cannot speak to', async () => {
    const log = { write: () => undefined };
    const bus = systemBus({ clock: realClock, log, address: 'tcp:host=localhost,port=1' });
    await bus.connect();
    expect(bus.state()).toEqual({ kind: 'down', reason: expect.stringContaining('tcp:host=localhost') as string });
    await bus.close();
  });
});

describe('match rules', () => {
  it('name the sender only when it must be the owner', () => {
    expect(matchText({ ...LIBVIRT, pathNamespace: '/org/libvirt', member: 'NetworkEvent' })).toBe(
      "type='signal',sender='org.libvirt',interface='org.libvirt.Connect',member='NetworkEvent',path_namespace='/org/libvirt'",
    );
    expect(matchText({ name: 'a.b', from: 'anybody', interface: 'a.b', path: '/p', arg0: 'x' })).toBe(
      "type='signal',interface='a.b',path='/p',arg0='x'",
    );
  });

  it.each([
    [{}, true],
    [{ member: 'NetworkEvent' }, true],
    [{ member: 'DomainEvent' }, false],
    [{ path: '/org/libvirt/QEMU' }, true],
    [{ path: '/org/libvirt' }, false],
    [{ pathNamespace: '/org/libvirt' }, true],
    [{ pathNamespace: '/org/libvirt/QEMU' }, true],
    [{ pathNamespace: '/org/libvirt/QE' }, false],
    [{ arg0: '/x' }, true],
    [{ arg0: '/y' }, false],
    [{ interface: 'org.libvirt.Domain' }, false],
  ])('with %j fit a NetworkEvent: %s', (part, fits) => {
    expect(fitsRule({ ...LIBVIRT, ...part }, EVENT)).toBe(fits);
  });
});

describe('a bus address', () => {
  it.each([
    ['unix:path=/var/run/dbus/system_bus_socket', 'unix:socket=/var/run/dbus/system_bus_socket'],
    ['unix:path=/run/bus,guid=00ff', 'unix:socket=/run/bus'],
    ['unix:guid=00ff,path=/run/bus', 'unix:socket=/run/bus'],
    ['unix:abstract=/tmp/x;unix:path=/run/bus', 'unix:socket=/run/bus'],
    ['unix:path=/run/a%20b', 'unix:socket=/run/a b'],
    ['unix:path=/run/a%3bb', undefined],
    ['unix:abstract=/tmp/x', undefined],
    ['tcp:host=127.0.0.1,port=1', undefined],
    ['', undefined],
  ])('%j becomes %j', (address, expected) => {
    expect(socketAddress(address)).toBe(expected);
  });
});

describe('the connections of a program', () => {
  it('are found by the comm of the process behind each name', async () => {
    const pids: Record<string, number> = { ':1.1': 11, ':1.2': 22, ':1.3': 33 };
    const comms: Record<string, string> = {
      '/p/11/comm': 'libvirtd\n',
      '/p/22/comm': 'dockerd\n',
      '/p/33/comm': 'virtnetworkd\n',
    };
    const bus = fakeBus();
    bus.up();
    bus.answer = async ({ member, body }) => {
      if (member === 'ListNames') return [[DBUS, 'org.libvirt', ':1.1', ':1.2', ':1.3', ':1.4']];
      const pid = pids[String(body?.[0])];
      // :1.4 ended meanwhile
      if (pid === undefined) throw new HostError('bus-refused', 'NameHasNoOwner');
      return [pid];
    };
    expect(await connectionsOf(bus, { read: (path) => comms[path] }, undefined, '/p')).toEqual([':1.1', ':1.3']);
  });
});
