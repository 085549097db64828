// firewalld's voice: `Reloaded`, and its coming and going.
// Goal: know when libvirt is about to rewrite its rules by itself. libvirt reacts to exactly these signals, and to
// `Reloaded` from any sender (firewalld_dbus_signal_callback has no sender filter; measured with 9.0 and 11.3).
// Guarantees: `Reloaded` from anybody is told, with whether the sender owns firewalld's name; names cannot be spoofed.
// Does not: speak to firewalld. Without a bus it is degraded; without firewalld it is fine and silent.

import type { Bus, BusState, Watch } from '../host/host.ts';
import { busSource } from './bus-source.ts';
import type { GuardEvent, Source, SourceHandlers } from './types.ts';

export const FIREWALLD_NAME = 'org.fedoraproject.FirewallD1';
export const FIREWALLD_PATH = '/org/fedoraproject/FirewallD1';

/** A source on this bus; the caller connects and closes the bus. */
export function firewalldSource(bus: Bus): Source {
  return busSource('firewalld', (handlers) => startListening(bus, handlers));
}

async function startListening(bus: Bus, handlers: SourceHandlers): Promise<Watch[]> {
  const dbus = 'org.freedesktop.DBus';
  return [
    ...(await Promise.all([
      bus.subscribe(
        { name: FIREWALLD_NAME, from: 'anybody', interface: FIREWALLD_NAME, member: 'Reloaded' },
        ({ fromOwner }) => handlers.event({ kind: 'firewalld', change: 'reloaded', fromOwner }),
      ),
      bus.subscribe(
        { name: dbus, from: 'owner', interface: dbus, member: 'NameOwnerChanged', arg0: FIREWALLD_NAME },
        ({ body }) => tellOwner(handlers, String(body[2] ?? '')),
      ),
    ])),
    bus.onState((state) => tellHealth(bus, handlers, state)),
  ];
}

function tellOwner(handlers: SourceHandlers, owner: string): void {
  const event: GuardEvent = { kind: 'firewalld', change: owner === '' ? 'vanished' : 'appeared' };
  handlers.event(event);
  handlers.health({ source: 'firewalld', state: 'ok', detail: describe(owner) });
}

function tellHealth(bus: Bus, handlers: SourceHandlers, state: BusState): void {
  if (state.kind === 'down') {
    handlers.health({ source: 'firewalld', state: 'degraded', detail: `no D-Bus system bus: ${state.reason}` });
    return;
  }
  handlers.health({ source: 'firewalld', state: 'ok', detail: 'listening for Reloaded' });
  // the answer comes on the same ordered connection: a bus that ends before it is told by the next state
  void bus.owner(FIREWALLD_NAME).then(
    (owner) => handlers.health({ source: 'firewalld', state: 'ok', detail: describe(owner ?? '') }),
    (error: unknown) => handlers.health({ source: 'firewalld', state: 'degraded', detail: String(error) }),
  );
}

function describe(owner: string): string {
  return owner === '' ? 'firewalld is not running; listening for Reloaded' : `firewalld runs as ${owner}`;
}
