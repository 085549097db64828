// A Bus without a bus: tests set its state, send its signals and answer its calls.

import { fitsRule } from '../../src/host/bus-rule.ts';
import { HostError } from '../../src/host/host.ts';
import type { Bus, BusCall, BusSignal, BusState, SignalRule } from '../../src/host/host.ts';

export interface FakeBus extends Bus {
  readonly calls: BusCall[];
  readonly owners: Map<string, string>;
  /** What a call gives; the default refuses everything. */
  answer: (call: BusCall) => Promise<readonly unknown[]>;
  up(): void;
  down(reason?: string): void;
  /** A signal from the owner of the name it is asked for, unless said otherwise. */
  send(signal: Omit<BusSignal, 'sender' | 'fromOwner'> & { readonly fromOwner?: boolean }): void;
  readonly listeners: () => number;
}

export function fakeBus(): FakeBus {
  const subscriptions = new Set<{ rule: SignalRule; handler: (signal: BusSignal) => void }>();
  const stateHandlers = new Set<(state: BusState) => void>();
  let state: BusState = { kind: 'down', reason: 'not connected yet' };
  const set = (next: BusState): void => {
    state = next;
    for (const handler of stateHandlers) handler(state);
  };
  const bus: FakeBus = {
    calls: [],
    owners: new Map(),
    answer: (call) => Promise.reject(new HostError('bus-refused', `${call.destination}: ServiceUnknown`)),
    up: () => set({ kind: 'up', uniqueName: ':1.1' }),
    down: (reason = 'gone') => set({ kind: 'down', reason }),
    send: ({ fromOwner = true, ...signal }) => {
      for (const { rule, handler } of [...subscriptions]) {
        const wanted = fromOwner || rule.from === 'anybody';
        const whole = { ...signal, fromOwner, sender: fromOwner ? ':1.5' : ':1.66' };
        if (wanted && fitsRule(rule, whole)) handler(whole);
      }
    },
    listeners: () => subscriptions.size + stateHandlers.size,
    connect: async () => bus.up(),
    close: async () => bus.down('closed'),
    state: () => state,
    onState: (handler) => {
      stateHandlers.add(handler);
      handler(state);
      return { close: () => void stateHandlers.delete(handler) };
    },
    call: async (call) => {
      bus.calls.push(call);
      if (state.kind === 'down') throw new HostError('bus-down', state.reason);
      return bus.answer(call);
    },
    subscribe: async (rule, handler) => {
      const subscription = { rule, handler };
      subscriptions.add(subscription);
      return { close: () => void subscriptions.delete(subscription) };
    },
    owner: async (name) => bus.owners.get(name),
    emitTo: () => undefined,
  };
  return bus;
}

/** NameOwnerChanged as the bus sends it; '' for nobody. */
export function nameOwnerChanged(name: string, before: string, after: string): Parameters<FakeBus['send']>[0] {
  const dbus = 'org.freedesktop.DBus';
  return { path: '/org/freedesktop/DBus', interface: dbus, member: 'NameOwnerChanged', body: [name, before, after] };
}
