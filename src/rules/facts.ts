// What templates may know: lists of addresses, libvirt's networks, the guests' leases, as checked data. Pure.
// Guarantee: of what a guest can choose (its host name), and of names in general, only letters, digits, `.`, `_` and `-`
// come through; addresses are addresses. So no value can be more than one word of a rule.

import type { Network } from '../ruleset/network.ts';
import { formatAddress, parseAddress } from '../ruleset/subnet.ts';

export interface AddressProblem {
  /** 1-based. */
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

/** A file of addresses, one a line; `#` begins a comment, empty lines are nothing. */
export function readAddresses(text: string): {
  readonly values: readonly string[];
  readonly problems: readonly AddressProblem[];
} {
  const values: string[] = [];
  const problems: AddressProblem[] = [];
  text.split('\n').forEach((source, index) => {
    const word = source.replace(/#.*$/, '').trim();
    if (word === '') return;
    if (isAddress(word)) values.push(word);
    else {
      const message = `expected an address or a network, as in 192.0.2.7 or 2001:db8::/32, found ${JSON.stringify(word.slice(0, 60))}`;
      problems.push({ line: index + 1, column: source.indexOf(word) + 1, message });
    }
  });
  return { values, problems };
}

/** `10.0.0.1`, `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `fd00::/64`. */
export function isAddress(word: string): boolean {
  const [address = '', prefix, ...more] = word.split('/');
  const family = address.includes(':') ? 'ip6' : 'ip';
  if (more.length > 0 || parseAddress(family, address) === undefined) return false;
  if (prefix === undefined) return true;
  if (/^\d{1,3}$/.test(prefix)) return Number(prefix) <= (family === 'ip' ? 32 : 128);
  return family === 'ip' && parseAddress('ip', prefix) !== undefined;
}

export interface NetworkFact {
  readonly [key: string]: string | boolean | readonly string[];
  readonly name: string;
  readonly bridge: string;
  readonly mode: string;
  readonly active: boolean;
  /** The first IPv4 subnet; empty without one. */
  readonly cidr: string;
  readonly cidr6: string;
  readonly cidrs: readonly string[];
}

export interface GuestFact {
  readonly [key: string]: string;
  /** libvirt's name of the guest; empty where libvirt does not say. */
  readonly name: string;
  readonly ip: string;
  readonly mac: string;
  /** What the guest calls itself; empty where that is no plain name. It may call itself anything. */
  readonly hostname: string;
  readonly network: string;
  readonly bridge: string;
}

/** `web-1`, `win10_test`, `mail.example.org`; not at the beginning: `-`, `.` */
const PLAIN = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,252}$/;
const MAC = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/i;
const HOST = /^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$/;

export function networkFacts(networks: readonly Network[]): {
  readonly facts: readonly NetworkFact[];
  readonly omitted: readonly string[];
} {
  const isPlain = ({ name, bridge }: Network): boolean =>
    PLAIN.test(name) && (bridge === undefined || /^[\w.-]{1,15}$/.test(bridge));
  return {
    facts: networks.filter(isPlain).map(({ name, bridge = '', forwardMode, active, addresses }) => {
      const of = (family: string): string => addresses.find((each) => each.family === family)?.cidr ?? '';
      return {
        name,
        bridge,
        mode: forwardMode,
        active,
        cidr: of('ip'),
        cidr6: of('ip6'),
        cidrs: addresses.map(({ cidr }) => cidr),
      };
    }),
    omitted: networks
      .filter((network) => !isPlain(network))
      .map(({ name }) => `network ${JSON.stringify(name)}: its name`),
  };
}

/** dnsmasq's leases as libvirt keeps them (`BRIDGE.status`), with the guests' names by MAC address (`BRIDGE.macs`). */
export function guestFacts(
  { name: network, bridge }: NetworkFact,
  status: unknown,
  macs: unknown,
): { readonly facts: readonly GuestFact[]; readonly omitted: readonly string[] } {
  const names = guestNames(macs);
  const facts: GuestFact[] = [];
  const omitted: string[] = [];
  for (const lease of recordsOf(status)) {
    const [ip, mac, hostname] = [
      textOf(lease['ip-address']),
      textOf(lease['mac-address']).toLowerCase(),
      textOf(lease['hostname']),
    ];
    const bytes = parseAddress(ip.includes(':') ? 'ip6' : 'ip', ip);
    if (bytes === undefined || !MAC.test(mac)) {
      omitted.push(`lease ${JSON.stringify(ip.slice(0, 40))} of ${bridge}: no address, or no MAC address`);
      continue;
    }
    if (hostname !== '' && !HOST.test(hostname))
      omitted.push(`host name ${JSON.stringify(hostname.slice(0, 40))} of ${ip}: no plain name`);
    facts.push({
      name: names.get(mac) ?? '',
      ip: formatAddress(bytes),
      mac,
      hostname: HOST.test(hostname) ? hostname : '',
      network,
      bridge,
    });
  }
  return { facts, omitted };
}

function guestNames(macs: unknown): Map<string, string> {
  return new Map(
    recordsOf(macs).flatMap((entry): [string, string][] => {
      const name = textOf(entry['domain']);
      const list: readonly unknown[] = Array.isArray(entry['macs']) ? entry['macs'] : [];
      return PLAIN.test(name) ? list.map((mac) => [textOf(mac).toLowerCase(), name]) : [];
    }),
  );
}

const recordsOf = (value: unknown): Record<string, unknown>[] =>
  Array.isArray(value) ? value.filter((each) => typeof each === 'object' && each !== null) : [];
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');
