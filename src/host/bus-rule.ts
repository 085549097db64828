// Match rules and addresses of the D-Bus specification, as texts. Pure.

import type { SignalRule } from './host.ts';

export const DBUS = 'org.freedesktop.DBus';
export const DBUS_PATH = '/org/freedesktop/DBus';

/** A signal as it came off the bus, before anybody asked for its sender's name. */
export interface RawSignal {
  readonly sender: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly body: readonly unknown[];
}

/** The rule that hears when a well-known name changes hands. Only the bus itself sends it. */
export function ownerRule(name: string): SignalRule {
  return { name: DBUS, from: 'owner', path: DBUS_PATH, interface: DBUS, member: 'NameOwnerChanged', arg0: name };
}

/** The text AddMatch takes: `type='signal',sender='org.libvirt',interface='org.libvirt.Connect'`. */
export function matchText(rule: SignalRule): string {
  const keys: readonly (readonly [string, string | undefined])[] = [
    ['type', 'signal'],
    ['sender', rule.from === 'owner' ? rule.name : undefined],
    ['interface', rule.interface],
    ['member', rule.member],
    ['path', rule.path],
    ['path_namespace', rule.pathNamespace],
    ['arg0', rule.arg0],
  ];
  return keys.flatMap(([key, value]) => (value === undefined ? [] : [`${key}='${value}'`])).join(',');
}

/**
 * Whether a signal is one the rule asks for, its sender apart. Needed although the bus filters: a connection has one
 * stream for all its rules, and a signal addressed to it arrives without any rule.
 */
export function fitsRule(rule: SignalRule, signal: RawSignal): boolean {
  return (
    rule.interface === signal.interface &&
    (rule.member === undefined || rule.member === signal.member) &&
    (rule.path === undefined || rule.path === signal.path) &&
    (rule.pathNamespace === undefined || `${signal.path}/`.startsWith(`${rule.pathNamespace}/`)) &&
    (rule.arg0 === undefined || rule.arg0 === signal.body[0])
  );
}

/**
 * A bus address in the only form that is safe with dbus-next 0.10.2, `unix:socket=PATH` (its own; `unix:path=` loads the
 * native module `usocket` where that is installed). Takes the first `unix:path=` or `unix:socket=` of the list.
 * Undefined when there is none, or when the path has a character that dbus-next would split at.
 */
export function socketAddress(address: string): string | undefined {
  for (const entry of address.split(';')) {
    // `unix:path=/run/dbus/system_bus_socket,guid=3f...`
    const escaped = /^unix:(?:.*,)?(?:path|socket)=([^,]*)/.exec(entry.trim())?.[1];
    const path = escaped?.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
    if (path?.startsWith('/')) return /[,;:=]/.test(path) ? undefined : `unix:socket=${path}`;
  }
  return undefined;
}
