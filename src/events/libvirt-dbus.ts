// libvirt's voice on D-Bus, through libvirt-dbus (libvirtd itself is not on the bus).
// Goal: hear of networks and guests that start, stop and change, 17-60 ms after libvirt's last rule change.
// libvirt-dbus 1.4.1 is mute until somebody calls it, and goes mute again, without any sign, when libvirtd restarts
// (measured; it registers for events in virtDBusConnectOpen, which only calls reach). So a cheap call is made at the start,
// at each `poke`, and every 60 s. It may start libvirt-dbus by bus activation, which the health detail then says.
// Guarantees: one call at a time, each ended after 5 s (libvirt blocks while a hook hangs); after a failure the next try
// comes after 2, 4, ... 60 s, but sooner at first where libvirt-dbus has just come (back): it is on the bus before libvirtd
// answers it; a connection that was lost is told as `look`. Never reads what a hook is about to change.
// Does not: see rule rewrites (SIGHUP, Reloaded, net-update, restart give no signal at all); the kernel source does.

import type { Bus, BusSignal, BusState, Host, Timer, Watch } from '../host/host.ts';
import { networkNames, type NetworkNames } from './network-names.ts';
import type { Source, SourceHandlers, SourceHealth } from './types.ts';

const NAME = 'org.libvirt';
const CONNECT = 'org.libvirt.Connect';
/** Object paths below /org/libvirt. `Test` is libvirt's fake driver; other hypervisors do not share this host's firewall. */
const DRIVERS = ['QEMU', 'Xen', 'LXC'] as const;

const LOOK_EVERY_MS = 60_000;
const FIRST_RETRY_MS = 2_000;
/** Before those, once libvirt-dbus or the bus has come back; not again within EAGER_EVERY_MS: it may end at each call of ours. */
const EAGER_RETRIES_MS = [100, 250, 500, 1_000] as const;
const EAGER_EVERY_MS = 30_000;

// virNetworkEventLifecycleType
const NETWORK_CHANGES = ['defined', 'undefined', 'started', 'stopped'] as const;
// virDomainEventType
const DOMAIN_CHANGES = [
  'defined',
  'undefined',
  'started',
  'suspended',
  'resumed',
  'stopped',
  'shutdown',
  'pmsuspended',
  'crashed',
] as const;
const DEVICE_CHANGES: ReadonlyMap<string, string> = new Map([
  ['DeviceAdded', 'device-added'],
  ['DeviceRemoved', 'device-removed'],
]);

export interface LibvirtDbusSource extends Source {
  /** libvirtd or virtnetworkd was seen to start: calls libvirt-dbus, which then registers with the new one. */
  poke(): void;
}

/** A source on this bus; the caller connects and closes the bus. */
export function libvirtDbusSource(bus: Bus, host: Pick<Host, 'clock' | 'log'>): LibvirtDbusSource {
  return new LibvirtDbus(bus, host);
}

class LibvirtDbus implements LibvirtDbusSource {
  readonly name = 'libvirt-dbus';
  readonly #bus: Bus;
  readonly #host: Pick<Host, 'clock' | 'log'>;
  readonly #watches: Watch[] = [];
  readonly #names: NetworkNames;
  #handlers: SourceHandlers | undefined;
  #timer: Timer | undefined;
  #looking = false;
  #lookAgain = false;
  #failures = 0;
  /**
   * Drivers that did not answer while another one did: not asked again of this libvirt-dbus, since libvirtd writes an error into
   * its log each time (`no connection driver available for xen:///`, measured).
   */
  readonly #absent = new Set<string>();
  #eager: readonly number[] = [];
  #eagerSinceMs = Number.NEGATIVE_INFINITY;
  #startedByUs = false;
  #wasUp = false;
  #answered = false;
  #interrupted = false;

  constructor(bus: Bus, host: Pick<Host, 'clock' | 'log'>) {
    this.#bus = bus;
    this.#host = host;
    this.#names = networkNames(bus, host.log);
  }

  async start(handlers: SourceHandlers): Promise<void> {
    this.#handlers = handlers;
    this.#health('starting', 'not called yet');
    const below = { name: NAME, from: 'owner', pathNamespace: '/org/libvirt' } as const;
    const hear = (signal: BusSignal): void => this.#hear(signal);
    const dbus = 'org.freedesktop.DBus';
    const named = { name: dbus, from: 'owner', interface: dbus, member: 'NameOwnerChanged', arg0: NAME } as const;
    this.#watches.push(
      ...(await Promise.all([
        this.#bus.subscribe({ ...below, interface: CONNECT }, hear),
        this.#bus.subscribe({ ...below, interface: 'org.libvirt.Domain' }, hear),
        this.#bus.subscribe(named, ({ body }) => this.#ownerChanged(String(body[2] ?? ''))),
      ])),
    );
    // last: `up` must find everything subscribed
    this.#watches.push(this.#bus.onState((state) => this.#busChanged(state)));
  }

  async close(): Promise<void> {
    this.#handlers = undefined;
    this.#timer?.cancel();
    for (const watch of this.#watches.splice(0)) watch.close();
  }

  poke(): void {
    if (this.#looking) this.#lookAgain = true;
    else void this.#look();
  }

  #busChanged(state: BusState): void {
    if (state.kind === 'down') {
      this.#timer?.cancel();
      return this.#lost(`no D-Bus system bus: ${state.reason}`);
    }
    if (this.#wasUp) this.#handlers?.event({ kind: 'look', reason: 'D-Bus was away' });
    this.#wasUp = true;
    this.#failures = 0;
    if (this.#answered) this.#beEager();
    this.poke();
  }

  #ownerChanged(owner: string): void {
    if (owner === '') this.#lost('libvirt-dbus left the bus');
    else this.#beEager();
    this.#names.forgetAll();
    this.#absent.clear();
    this.#later(owner === '' ? FIRST_RETRY_MS : 0);
  }

  async #look(): Promise<void> {
    this.#looking = true;
    this.#timer?.cancel();
    const failure = await this.#callAll();
    this.#looking = false;
    if (this.#handlers === undefined || this.#bus.state().kind === 'down') return;
    if (failure === undefined) this.#heard();
    else this.#failed(failure);
    const again = this.#lookAgain && failure === undefined;
    this.#lookAgain = false;
    if (again) this.poke();
    else this.#later(failure === undefined ? LOOK_EVERY_MS : this.#retryMs());
  }

  #failed(reason: string): void {
    this.#failures += 1;
    this.#lost(reason);
  }

  #beEager(): void {
    const nowMs = this.#host.clock.monoMs();
    if (nowMs - this.#eagerSinceMs < EAGER_EVERY_MS) return;
    this.#eagerSinceMs = nowMs;
    this.#eager = EAGER_RETRIES_MS;
  }

  #retryMs(): number {
    const [soon, ...rest] = this.#eager;
    this.#eager = rest;
    if (soon !== undefined) {
      this.#failures = 0;
      return soon;
    }
    return Math.min(LOOK_EVERY_MS, FIRST_RETRY_MS * 2 ** Math.min(10, this.#failures - 1));
  }

  /** Calls each driver; undefined when one answered (a host has one or two of them), else why none did. */
  async #callAll(): Promise<string | undefined> {
    const reasons: string[] = [];
    try {
      const before = await this.#bus.owner(NAME);
      const asked = DRIVERS.filter((driver) => !this.#absent.has(driver));
      const silent: string[] = [];
      for (const driver of asked) {
        const reason = await this.#callDriver(driver);
        if (reason === undefined) continue;
        reasons.push(`${driver}: ${reason}`);
        silent.push(driver);
      }
      if (silent.length === asked.length) return reasons[0];
      for (const driver of silent) this.#absent.add(driver);
      if (before === undefined) this.#startedByUs = true;
      return undefined;
    } catch (error) {
      return describeError(error);
    }
  }

  async #callDriver(driver: string): Promise<string | undefined> {
    try {
      const path = `/org/libvirt/${driver}`;
      const call = { destination: NAME, path, interface: CONNECT, member: 'ListNetworks', signature: 'u', body: [0] };
      const [networks] = await this.#bus.call(call);
      // now, since a name can be asked only while the network is defined
      if (Array.isArray(networks)) await Promise.all(networks.map((network) => this.#names.of(String(network))));
      return undefined;
    } catch (error) {
      return describeError(error);
    }
  }

  #later(ms: number): void {
    this.#timer?.cancel();
    if (this.#handlers !== undefined) this.#timer = this.#host.clock.after(ms, () => this.poke());
  }

  #heard(): void {
    const again = this.#answered && this.#interrupted;
    if (again) this.#handlers?.event({ kind: 'look', reason: 'libvirt-dbus answers again' });
    this.#answered = true;
    this.#interrupted = false;
    this.#failures = 0;
    this.#eager = [];
    this.#health('ok', this.#startedByUs ? 'libvirt-dbus (started over D-Bus by mendwall)' : 'libvirt-dbus');
  }

  #lost(reason: string): void {
    this.#interrupted = true;
    this.#health('degraded', reason);
  }

  #health(state: SourceHealth['state'], detail: string): void {
    this.#handlers?.health({ source: this.name, state, detail });
  }

  #hear({ path, interface: iface, member, body }: BusSignal): void {
    if (!DRIVERS.some((driver) => `${path}/`.startsWith(`/org/libvirt/${driver}/`))) return;
    if (iface === CONNECT && member === 'NetworkEvent') return this.#networkEvent(String(body[0]), Number(body[1]));
    const change = member === 'DomainEvent' ? DOMAIN_CHANGES[Number(body[1])] : DEVICE_CHANGES.get(member);
    if (change !== undefined) this.#handlers?.event({ kind: 'domain', change });
  }

  #networkEvent(path: string, type: number): void {
    const change = NETWORK_CHANGES[type];
    if (change === undefined) return;
    void this.#names.of(path).then((name) => this.#handlers?.event({ kind: 'network', name, change }));
    if (change === 'undefined') this.#names.forget(path);
  }
}

function describeError(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
