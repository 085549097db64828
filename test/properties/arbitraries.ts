// Rulesets for the laws: a user's rules, libvirt's networks with their jumps anywhere among them, nwfilter, duplicates,
// counters. Small pools on purpose: collisions and duplicates are where merging goes wrong.

import fc from 'fast-check';
import { expectedLibvirtRules } from '../../src/owners/libvirt-rules.ts';
import { parseDocument } from '../../src/ruleset/iptables/parse.ts';
import type { Network } from '../../src/ruleset/network.ts';
import type { Ruleset } from '../../src/ruleset/types.ts';

export const NETWORKS: readonly Network[] = [
  network('default', 'virbr0', '192.168.122', 'nat'),
  network('second', 'virbr1', '192.168.123', 'nat'),
  network('routed', 'virbr2', '10.7.7', 'route'),
  network('quiet', 'virbr3', '10.8.8', 'isolated'),
];

function network(name: string, bridge: string, net: string, forwardMode: string): Network {
  return {
    name,
    uuid: name,
    bridge,
    forwardMode,
    forwardDevs: [],
    natIpv6: false,
    guestIpv6: false,
    addresses: [{ family: 'ip', cidr: `${net}.0/24`, host: `${net}.1`, dhcp: true, tftp: false }],
    active: true,
  };
}

/** What a user may write; `%` is the chain. Some name a chain of the user's, some are libvirt-shaped. */
const USER_RULES = [
  '-A % -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
  '-A % -p tcp -m tcp --dport 22 -j ACCEPT',
  '-A % -d 192.168.122.10/32 -p tcp -m tcp --dport 80 -j ACCEPT',
  '-A % -s 10.99.0.0/16 -m comment --comment "a \\"quoted\\" -j DROP" -j DROP',
  '-A % -j web',
  '-A % -g audit',
  '-A %',
  '-A % -i virbr0 -p udp -m udp --dport 53 -j ACCEPT',
  '-A % -o virbr0 -j REJECT --reject-with icmp-port-unreachable',
  '-A % -m comment --comment decorated -j LIBVIRT_FWX',
  '-A % -j LOG --log-prefix "end: "',
  '-A % -j REJECT --reject-with icmp-host-prohibited',
  '-A % -i eth0 -j DROP',
];

/** A rule of the user's in `chain`; a decorated jump only where libvirt's chain is sure to be there. */
const userRule = (chain: string): fc.Arbitrary<string> =>
  fc
    .constantFrom(...USER_RULES.filter((rule) => chain === 'FORWARD' || !rule.includes('LIBVIRT')))
    .map((rule) => rule.replace('%', chain));

export const userRules = (chain: string): fc.Arbitrary<string[]> => fc.array(userRule(chain), { maxLength: 8 });

export interface UserTables {
  readonly INPUT: readonly string[];
  readonly FORWARD: readonly string[];
  readonly web: readonly string[];
  readonly FWI: readonly string[];
  readonly nat: readonly string[];
  readonly policy: string;
}

const NAT_RULES = [
  '-A POSTROUTING -o eth0 -j MASQUERADE',
  '-A POSTROUTING -s 10.0.0.0/8 -o eth0 -j SNAT --to-source 198.51.100.7',
  '-A POSTROUTING -s 192.168.122.0/24 ! -d 192.168.122.0/24 -j MASQUERADE',
];

export const userTables: fc.Arbitrary<UserTables> = fc.record({
  INPUT: userRules('INPUT'),
  FORWARD: userRules('FORWARD'),
  web: fc.array(fc.constantFrom('-A web -p tcp -m tcp --dport 443 -j ACCEPT', '-A web -j RETURN'), { maxLength: 3 }),
  FWI: fc.array(
    fc.constantFrom(
      '-A LIBVIRT_FWI -d 192.168.122.10/32 -j ACCEPT',
      '-A LIBVIRT_FWI -o virbr0 -p tcp -m tcp --dport 25 -j DROP',
    ),
    { maxLength: 2 },
  ),
  nat: fc.array(fc.constantFrom(...NAT_RULES), { maxLength: 3 }),
  policy: fc.constantFrom('ACCEPT', 'DROP'),
});

/** How the neighbours stand: which networks, nwfilter, and for each foreign rule a key that says where it goes. */
export interface Foreign {
  readonly networks: readonly Network[];
  readonly nwfilter: boolean;
  readonly places: readonly number[];
}

export const foreign: fc.Arbitrary<Foreign> = fc.record({
  networks: fc.shuffledSubarray([...NETWORKS]),
  nwfilter: fc.boolean(),
  places: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 24, maxLength: 24 }),
});

const NWFILTER_JUMPS = ['-A FORWARD -j libvirt-in', '-A FORWARD -j libvirt-out', '-A FORWARD -j libvirt-in-post'];

/** Puts `extra` into `rules` at the places that the keys say (0 top, 1 bottom); their order stays. */
function spread(rules: readonly string[], extra: readonly string[], keys: readonly number[]): string[] {
  const places = extra
    .map((_, index) => Math.round((keys[index % keys.length] as number) * rules.length))
    .sort((a, b) => a - b);
  const result: string[] = [];
  let next = 0;
  for (let at = 0; at <= rules.length; at++) {
    while (next < extra.length && (places[next] as number) <= at) result.push(extra[next++] as string);
    if (at < rules.length) result.push(rules[at] as string);
  }
  return result;
}

/** The live text of these users and neighbours. */
export function render(users: UserTables, { networks, nwfilter, places }: Foreign): string {
  const own = (table: string, chain: string): string[] =>
    networks.flatMap((net) =>
      (expectedLibvirtRules(net).get('ip')?.get(table) ?? [])
        .filter((rule) => rule.chain === chain)
        .map((rule) => rule.text),
    );
  const key = (from: number): readonly number[] => [...places.slice(from), ...places.slice(0, from)];
  const filter = [
    ...spread(users.INPUT, [...(nwfilter ? ['-A INPUT -j libvirt-host-in'] : []), '-A INPUT -j LIBVIRT_INP'], key(0)),
    ...spread(
      users.FORWARD,
      [...(nwfilter ? NWFILTER_JUMPS : []), ...['X', 'I', 'O'].map((end) => `-A FORWARD -j LIBVIRT_FW${end}`)],
      key(3),
    ),
    '-A OUTPUT -j LIBVIRT_OUT',
    ...(nwfilter ? ['-A FI-vnet0 -j DROP'] : []),
    ...spread(users.FWI, own('filter', 'LIBVIRT_FWI'), key(9)),
    ...['FWO', 'FWX', 'INP', 'OUT'].flatMap((end) => own('filter', `LIBVIRT_${end}`)),
    ...(nwfilter ? ['-A libvirt-in -m physdev --physdev-in vnet0 -g FI-vnet0'] : []),
    ...users.web,
  ];
  const nwChains = ['FI-vnet0', 'libvirt-host-in', 'libvirt-in', 'libvirt-in-post', 'libvirt-out'];
  const chains = [
    'audit',
    'web',
    ...['FWI', 'FWO', 'FWX', 'INP', 'OUT'].map((end) => `LIBVIRT_${end}`),
    ...(nwfilter ? nwChains : []),
  ];
  const nat = [...spread(users.nat, ['-A POSTROUTING -j LIBVIRT_PRT'], key(15)), ...own('nat', 'LIBVIRT_PRT')];
  return [
    '*filter',
    ':INPUT ACCEPT [0:0]',
    `:FORWARD ${users.policy} [0:0]`,
    ':OUTPUT ACCEPT [0:0]',
    ...chains.map((chain) => `:${chain} - [0:0]`),
    ...counted(filter, places),
    'COMMIT',
    '*nat',
    ...['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'].map((chain) => `:${chain} ACCEPT [0:0]`),
    ':LIBVIRT_PRT - [0:0]',
    ...counted(nat, places),
    'COMMIT',
    '',
  ].join('\n');
}

function counted(rules: readonly string[], places: readonly number[]): string[] {
  return rules.map((rule, index) => `[${Math.floor((places[index % places.length] as number) * 4)}:${index}] ${rule}`);
}

export function rulesetFrom(users: UserTables, neighbours: Foreign): Ruleset {
  const { ruleset, problems } = parseDocument(render(users, neighbours), 'ip');
  if (problems.length > 0) throw new Error(JSON.stringify(problems));
  return ruleset;
}

/** The same rules for the user, edited: some gone, some added, some moved. */
export const editedUserTables = (users: UserTables): fc.Arbitrary<UserTables> =>
  fc
    .record({
      drop: fc.array(fc.nat(7), { maxLength: 4 }),
      other: userTables,
      keepOther: fc.boolean(),
      shuffle: fc.boolean(),
      same: fc.boolean(),
    })
    .map(({ drop, other, keepOther, shuffle, same }) => {
      if (same) return users;
      const edit = (mine: readonly string[], theirs: readonly string[]): string[] => {
        const kept = mine.filter((_, index) => !drop.includes(index));
        const all = keepOther ? [...kept.slice(0, 2), ...theirs.slice(0, 2), ...kept.slice(2)] : kept;
        return shuffle ? all.reverse() : all;
      };
      return {
        INPUT: edit(users.INPUT, other.INPUT),
        FORWARD: edit(users.FORWARD, other.FORWARD),
        web: edit(users.web, other.web),
        FWI: edit(users.FWI, other.FWI),
        nat: edit(users.nat, other.nat),
        policy: other.policy,
      };
    });
