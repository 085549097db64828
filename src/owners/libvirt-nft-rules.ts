// The rules libvirt's nftables backend writes for one network into `libvirt_network`, computed from the definition. Pure.
//
// Goal: say which rules of that table are libvirt's, and which are missing, without asking libvirt.
// Guarantee: for libvirt 10.4 to 11.3 the texts are, in order within a chain and without counters and handles, what
// nft 1.1.3 lists after net-start; checked against captures of libvirt 11.3.
// Does not: describe rules that open the host to guests (compiled out: VIR_NFTABLES_INCLUDE_HOST_RULES), or the tc filter.
// Source: libvirt's src/network/network_nftables.c, and the order of calls in bridge_driver_linux.c.

import type { Network, NetworkAddress } from '../ruleset/network.ts';
import { statementsOf } from '../ruleset/nft/statements.ts';
import type { Family } from '../ruleset/types.ts';

/** The name of libvirt's table, in the families ip and ip6. */
export const LIBVIRT_TABLE = 'libvirt_network';

export type LibvirtChain = 'guest_output' | 'guest_input' | 'guest_cross' | 'guest_nat';

export interface ExpectedNftRule {
  readonly family: Family;
  readonly chain: LibvirtChain;
  /** As nft lists it: `iif "virbr0" counter reject`. */
  readonly text: string;
}

/** The chains libvirt makes once in its life, in both families; a base chain with its head. */
export const LIBVIRT_CHAINS: Readonly<Record<LibvirtChain | 'forward', string | undefined>> = {
  forward: 'type filter hook forward priority filter; policy accept;',
  guest_output: undefined,
  guest_input: undefined,
  guest_cross: undefined,
  guest_nat: 'type nat hook postrouting priority srcnat; policy accept;',
};

/** Where the jumps of `forward` lead, in its order. */
export const LIBVIRT_JUMPS = ['guest_cross', 'guest_input', 'guest_output'] as const;

/**
 * The rules libvirt writes for this network, whatever backend it has. Empty for networks it writes none for: `open`, `bridge`
 * and the other modes without a bridge of libvirt's own.
 */
export function expectedNftRules(network: Network): readonly ExpectedNftRule[] {
  const { bridge } = network;
  if (bridge === undefined || !['nat', 'route', 'isolated'].includes(network.forwardMode)) return [];
  const hasV6 = network.guestIpv6 || network.addresses.some(({ family }) => family === 'ip6');
  const written = [
    ...wall('ip', bridge),
    ...(hasV6 ? wall('ip6', bridge) : []),
    ...(network.forwardMode === 'isolated'
      ? []
      : network.addresses.flatMap((address) => perAddress(network, bridge, address))),
  ];
  return written.reverse(); // each is inserted at the head of its chain
}

function wall(family: Family, bridge: string): ExpectedNftRule[] {
  return [
    { family, chain: 'guest_output', text: `iif "${bridge}" counter reject` },
    { family, chain: 'guest_input', text: `oif "${bridge}" counter reject` },
    { family, chain: 'guest_cross', text: `iif "${bridge}" oif "${bridge}" counter accept` },
  ];
}

/** Whether libvirt translates this subnet; IPv6 of a NAT network is routed without `<nat ipv6='yes'/>`. */
export const isTranslated = (network: Network, family: Family): boolean =>
  network.forwardMode === 'nat' && (family === 'ip' || network.natIpv6);

// nftablesAddForwardAllowOut, ...AllowIn, ...AllowRelatedIn; the words stand in the order libvirt gives them.
function perAddress(network: Network, bridge: string, address: NetworkAddress): ExpectedNftRule[] {
  const { family } = address;
  const subnet = asListed(address);
  const [dev] = network.forwardDevs;
  const [from, to] = dev === undefined ? ['', ''] : [`iifname "${dev}" `, `oifname "${dev}" `];
  const translated = isTranslated(network, family);
  const established = `${from}oif "${bridge}" ${family} daddr ${subnet} ct state established,related counter accept`;
  const anything = `${family} daddr ${subnet} ${from}oif "${bridge}" counter accept`;
  return [
    { family, chain: 'guest_output', text: `${family} saddr ${subnet} iif "${bridge}" ${to}counter accept` },
    { family, chain: 'guest_input', text: translated ? established : anything },
    ...(translated ? masquerade(network, family, subnet, to) : []),
  ];
}

// nftablesAddForwardMasquerade, ...DontMasquerade
function masquerade(network: Network, family: Family, subnet: string, to: string): ExpectedNftRule[] {
  const inside = `${family} saddr ${subnet}`;
  const local = family === 'ip' ? ['255.255.255.255', '224.0.0.0/24'] : ['ff02::/16'];
  const translate = ['', 'meta l4proto udp ', 'meta l4proto tcp '].map(
    (protocol) =>
      `${protocol}${inside} ${family} daddr != ${subnet} ${to}counter ${natStatement(network, family, protocol !== '')}`,
  );
  const keep = local.map((address) => `${to}${inside} ${family} daddr ${address} counter return`);
  return [...translate, ...keep].map((text) => ({ family, chain: 'guest_nat', text }));
}

function natStatement({ natAddress, natPorts }: Network, family: Family, withPorts: boolean): string {
  const ports = `${natPorts?.start ?? 1024}-${natPorts?.end ?? 65535}`;
  if (natAddress === undefined || family === 'ip6') return withPorts ? `masquerade to :${ports}` : 'masquerade';
  const { start, end } = natAddress;
  return `snat to ${start === end ? start : `${start}-${end}`}${withPorts ? `:${ports}` : ''}`;
}

/** nft leaves the length of a whole address away: `10.0.0.1`, not `10.0.0.1/32`. */
const asListed = ({ family, cidr }: NetworkAddress): string => cidr.replace(family === 'ip' ? /\/32$/ : /\/128$/, '');

/** The same for two listings of one rule: no counter values, matches in any order, the reject in its shortest form. */
export function nftRuleKey(text: string): string {
  const matches: string[] = [];
  const rest: string[] = [];
  for (const statement of statementsOf(text)) {
    if (statement.kind === 'match') matches.push(statement.text.replace(/^ct state related,established$/, ESTABLISHED));
    else rest.push(plain(statement.kind, statement.text));
  }
  return [...matches.sort(), ...rest].join(' ');
}

const ESTABLISHED = 'ct state established,related';

function plain(kind: string, text: string): string {
  if (kind === 'counter') return 'counter';
  // `reject with icmp port-unreachable`, `reject with icmpv6 type port-unreachable`: the default, which 1.1.3 leaves away
  return kind === 'reject' && /^reject with icmp(?:v6|x)? (?:type )?port-unreachable$/.test(text) ? 'reject' : text;
}
