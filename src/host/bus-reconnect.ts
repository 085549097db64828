// The system bus over time: connects, notices the end, reconnects, and puts back what was subscribed.
// Guarantees: `up` is told after every match and every name owner is in place again; signals asked for with
// `from: 'owner'` come from the present owner of the name, as the bus itself says; a handler that throws is logged and
// hurts nobody; after `close` nothing is called any more and no timer is left.
// Does not: keep signals that came while the bus was down. `up` means: look for yourself.

import { DBUS, DBUS_PATH, fitsRule, matchText, ownerRule, type RawSignal } from './bus-rule.ts';
import { HostError, type Bus, type BusCall, type BusSignal, type BusState } from './host.ts';
import type { Clock, Log, SignalRule, Timer, Watch } from './host.ts';

/** One connection to the bus, from its opening to its end. */
export interface Link {
  readonly uniqueName: string;
  call(call: BusCall): Promise<readonly unknown[]>;
  emit(signal: Omit<BusCall, 'timeoutMs' | 'autoStart'>): void;
  close(): void;
}

export interface LinkHandlers {
  signal(signal: RawSignal): void;
  /** Once, when a link that was open ends, for whatever reason. */
  lost(reason: string): void;
}

export interface ReconnectOptions {
  readonly clock: Clock;
  readonly log: Log;
  open(handlers: LinkHandlers): Promise<Link>;
  /** In [0, 1), for the jitter. Default Math.random. */
  readonly random?: () => number;
}

const PING_EVERY_MS = 15_000;
const FIRST_PAUSE_MS = 500;
/** Where a bus takes us in and then fails us, calling again costs it something. */
const LONGEST_PAUSE_MS = 30_000;
/** Where no bus is, trying costs one connect(2): its return is noticed within this time. */
const LONGEST_PAUSE_ABSENT_MS = 5_000;

/** A Bus on links that `open` makes. Nothing happens before `connect`. */
export function reconnectingBus(options: ReconnectOptions): Bus {
  return new ReconnectingBus(options);
}

interface Subscription {
  readonly rule: SignalRule;
  readonly handler: (signal: BusSignal) => void;
}

interface Owner {
  name: string | undefined;
  /** Counts the changes heard, so that an older answer cannot overwrite a newer signal. */
  changes: number;
}

class ReconnectingBus implements Bus {
  readonly #options: ReconnectOptions;
  readonly #subscriptions = new Set<Subscription>();
  readonly #stateHandlers = new Set<(state: BusState) => void>();
  readonly #owners = new Map<string, Owner>();
  #state: BusState = { kind: 'down', reason: 'not connected yet' };
  #link: Link | undefined;
  #first: Promise<void> | undefined;
  #timer: Timer | undefined;
  #failures = 0;
  #closed = false;

  constructor(options: ReconnectOptions) {
    this.#options = options;
  }

  connect(): Promise<void> {
    this.#first ??= this.#attempt();
    return this.#first;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    this.#link?.close();
    this.#link = undefined;
    this.#state = { kind: 'down', reason: 'closed' };
    this.#subscriptions.clear();
    this.#stateHandlers.clear();
  }

  state(): BusState {
    return this.#state;
  }

  onState(handler: (state: BusState) => void): Watch {
    this.#stateHandlers.add(handler);
    handler(this.#state);
    return { close: () => void this.#stateHandlers.delete(handler) };
  }

  async call(call: BusCall): Promise<readonly unknown[]> {
    return this.#present().call(call);
  }

  async subscribe(rule: SignalRule, handler: (signal: BusSignal) => void): Promise<Watch> {
    const subscription = { rule, handler };
    this.#subscriptions.add(subscription);
    const link = this.#link;
    if (link !== undefined) await this.#orLose(link, this.#install(link, rule));
    return { close: () => this.#unsubscribe(subscription) };
  }

  async owner(name: string): Promise<string | undefined> {
    const known = this.#owners.get(name);
    return known !== undefined && this.#state.kind === 'up' ? known.name : askOwner(this.#present(), name);
  }

  emitTo(destination: string, signal: Omit<BusCall, 'destination' | 'timeoutMs' | 'autoStart'>): void {
    this.#present().emit({ ...signal, destination });
  }

  #present(): Link {
    if (this.#link === undefined) {
      throw new HostError('bus-down', this.#state.kind === 'down' ? this.#state.reason : 'reconnecting');
    }
    return this.#link;
  }

  async #attempt(): Promise<void> {
    let link: Link | undefined;
    try {
      link = await this.#options.open({
        signal: (signal) => this.#deliver(signal),
        lost: (reason) => this.#lost(link, reason, LONGEST_PAUSE_MS),
      });
    } catch (error) {
      const absent = error instanceof HostError && error.code === 'bus-down';
      return this.#lost(undefined, describeError(error), absent ? LONGEST_PAUSE_ABSENT_MS : LONGEST_PAUSE_MS);
    }
    if (this.#closed) return link.close();
    this.#link = link;
    await this.#orLose(link, this.#restore(link));
    if (this.#link !== link) return;
    this.#setState({ kind: 'up', uniqueName: link.uniqueName });
    this.#pingLater(link);
  }

  /** What was said on the old link, said again on the new one. */
  async #restore(link: Link): Promise<void> {
    this.#owners.clear();
    await Promise.all([...this.#subscriptions].map(({ rule }) => this.#install(link, rule)));
  }

  async #install(link: Link, rule: SignalRule): Promise<void> {
    await Promise.all([this.#track(link, rule.name), addMatch(link, rule)]);
  }

  /** Hears of changes first, then asks: no change can fall between. */
  async #track(link: Link, name: string): Promise<void> {
    if (name === DBUS || this.#owners.has(name)) return;
    const owner: Owner = { name: undefined, changes: 0 };
    this.#owners.set(name, owner);
    const [, present] = await Promise.all([addMatch(link, ownerRule(name)), askOwner(link, name)]);
    if (owner.changes === 0) owner.name = present;
  }

  async #orLose(link: Link, work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.#lost(link, describeError(error), LONGEST_PAUSE_MS);
    }
  }

  #unsubscribe(subscription: Subscription): void {
    const link = this.#link;
    if (!this.#subscriptions.delete(subscription) || link === undefined) return;
    void this.#orLose(link, removeMatch(link, subscription.rule));
  }

  #deliver(signal: RawSignal): void {
    this.#noteOwner(signal);
    for (const { rule, handler } of [...this.#subscriptions]) {
      if (!fitsRule(rule, signal)) continue;
      const owner = rule.name === DBUS ? DBUS : this.#owners.get(rule.name)?.name;
      const fromOwner = owner !== undefined && owner === signal.sender;
      if (fromOwner || rule.from === 'anybody') this.#tell(() => handler(toBusSignal(signal, fromOwner)));
    }
  }

  #noteOwner(signal: RawSignal): void {
    const [name, , next] = signal.body;
    if (signal.sender !== DBUS || typeof name !== 'string' || !fitsRule(ownerRule(name), signal)) return;
    const owner = this.#owners.get(name);
    if (owner === undefined) return;
    owner.name = typeof next === 'string' && next !== '' ? next : undefined;
    owner.changes += 1;
  }

  #pingLater(link: Link): void {
    this.#timer = this.#options.clock.after(PING_EVERY_MS, () => {
      void this.#orLose(link, this.#ping(link));
    });
  }

  async #ping(link: Link): Promise<void> {
    await link.call(toBus('GetId'));
    if (this.#link !== link) return;
    this.#failures = 0;
    this.#pingLater(link);
  }

  /** Only the present link, or an attempt without one, can be lost: what an older one still says counts for nothing. */
  #lost(link: Link | undefined, reason: string, longestMs: number): void {
    if (this.#closed || this.#link !== link) return;
    this.#link = undefined;
    link?.close();
    this.#timer?.cancel();
    this.#setState({ kind: 'down', reason });
    // a handler of `down` may have closed us
    if (this.#closed) return;
    this.#timer = this.#options.clock.after(this.#pauseMs(longestMs), () => void this.#attempt());
    this.#failures += 1;
  }

  #pauseMs(longestMs: number): number {
    const { random = Math.random } = this.#options;
    const pauseMs = Math.min(longestMs, FIRST_PAUSE_MS * 2 ** Math.min(this.#failures, 10));
    return pauseMs * (1 - random() / 4);
  }

  #setState(state: BusState): void {
    const before = this.#state;
    this.#state = state;
    if (state.kind === 'down' && before.kind === 'down' && state.reason === before.reason) return;
    for (const handler of [...this.#stateHandlers]) this.#tell(() => handler(state));
  }

  #tell(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#options.log.write('error', `D-Bus: a listener failed: ${describeError(error)}`);
    }
  }
}

function toBusSignal(signal: RawSignal, fromOwner: boolean): BusSignal {
  const { sender, path, interface: iface, member, body } = signal;
  return { sender, path, interface: iface, member, body, fromOwner };
}

function toBus(member: string, argument?: string): BusCall {
  const call = { destination: DBUS, path: DBUS_PATH, interface: DBUS, member };
  return argument === undefined ? call : { ...call, signature: 's', body: [argument] };
}

async function addMatch(link: Link, rule: SignalRule): Promise<void> {
  await link.call(toBus('AddMatch', matchText(rule)));
}

async function removeMatch(link: Link, rule: SignalRule): Promise<void> {
  await link.call(toBus('RemoveMatch', matchText(rule)));
}

async function askOwner(link: Link, name: string): Promise<string | undefined> {
  try {
    return String((await link.call(toBus('GetNameOwner', name)))[0]);
  } catch (error) {
    if (error instanceof HostError && error.message.includes(`${DBUS}.Error.NameHasNoOwner`)) return undefined;
    throw error;
  }
}

function describeError(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
