// The ruleset every measurement runs on: `count` rules of the user's in FORWARD, in six common shapes, and libvirt's part of
// one NAT network around them, all in the words iptables-save prints.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { REPOSITORY } from '../lab/namespaces.ts';

/** The guest whose DNS queries the user drops, before libvirt accepts them: what packets tell the order by. */
export const PROBE_RULE = '-A INPUT -s 192.168.122.66/32 -i virbr0 -p udp -m udp --dport 53 -j DROP';

const CAPTURE = join(REPOSITORY, 'test/captures/libvirt/libvirt-9.0-iptables-nft/nat');
const LIBVIRT = readFileSync(`${CAPTURE}.iptables-save.txt`, 'utf8').split('\n');
/** What libvirt writes about its running network, where mendwall looks it up. */
export const NETWORK_STATUS = readFileSync(`${CAPTURE}.run-status.xml`, 'utf8');

/** libvirt's IPv6 part of the same network. */
export const IP6_RULESET = readFileSync(`${CAPTURE}.ip6tables-save.txt`, 'utf8');

const JUMPS = ['-A FORWARD -j LIBVIRT_FWX', '-A FORWARD -j LIBVIRT_FWI', '-A FORWARD -j LIBVIRT_FWO'];

const SHAPES: readonly ((at: number) => string)[] = [
  (at) => `-A FORWARD -p tcp -m tcp --dport ${1024 + (at % 60_000)} -j ACCEPT`,
  (at) => `-A FORWARD -i eth${at % 8} -m comment --comment "web ${at}" -j ACCEPT`,
  (at) => `-A FORWARD -s ${address(at)}/32 -m conntrack --ctstate NEW -j ACCEPT`,
  (at) => `-A FORWARD -d ${address(at)}/32 -p tcp -m multiport --dports 80,443,${1024 + (at % 60_000)} -j ACCEPT`,
  (at) => `-A FORWARD -s ${address(at)}/32 -i eth${at % 8} -o virbr0 -j ACCEPT`,
  (at) =>
    `-A FORWARD -s ${address(at)}/32 -p udp -m udp --dport ${at % 65_536} -j REJECT --reject-with icmp-port-unreachable`,
];

const address = (at: number): string => `10.${at >> 16}.${(at >> 8) & 255}.${at & 255}`;

/** The user's rules in FORWARD: `count` of them, the last one drops the rest. */
export function userRules(count: number): string[] {
  const rules = Array.from({ length: count - 1 }, (_, at) => SHAPES[at % SHAPES.length]?.(at) ?? '');
  return [...rules, '-A FORWARD -j DROP'];
}

/** The whole ruleset for `iptables-restore`; `displaced`: libvirt's jumps stand above the user's rules, as it leaves them. */
export function rulesetOf(count: number, displaced = false): string {
  const rules = userRules(count);
  const forward = displaced ? [...JUMPS, ...rules] : [...rules.slice(0, -1), ...JUMPS, ...rules.slice(-1)];
  return LIBVIRT.flatMap((line) => {
    if (line.startsWith('#') || line === JUMPS[1] || line === JUMPS[2]) return [];
    if (line === '-A INPUT -j LIBVIRT_INP') return displaced ? [line, PROBE_RULE] : [PROBE_RULE, line];
    return line === JUMPS[0] ? forward : [line];
  }).join('\n');
}
