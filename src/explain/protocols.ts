// Names that rules use for numbers: protocols, ICMP types, TCP flags, conntrack states, a few services. Pure.
// Sources: iptables 1.8.9 (libxtables xtables_chain_protos, extensions/libxt_icmp.h), nft 1.0.6 (`nft describe`).

import { numberOf } from './values.ts';

export const TCP = 6;
export const UDP = 17;
export const ICMP = 1;
export const ICMPV6 = 58;

const PROTOCOLS: Readonly<Record<string, number>> = {
  ip: 0,
  icmp: ICMP,
  igmp: 2,
  ipencap: 4,
  tcp: TCP,
  udp: UDP,
  dccp: 33,
  gre: 47,
  esp: 50,
  ah: 51,
  icmpv6: ICMPV6,
  'ipv6-icmp': ICMPV6,
  icmp6: ICMPV6,
  'ipv6-mh': 135,
  mh: 135,
  ospf: 89,
  pim: 103,
  comp: 108,
  ipcomp: 108,
  vrrp: 112,
  sctp: 132,
  udplite: 136,
};

/** `tcp` or `6`; undefined when the name is not known here. */
export function protocolNumber(text: string): number | undefined {
  const number = numberOf(text) ?? PROTOCOLS[text.toLowerCase()];
  return number !== undefined && number <= 255 ? number : undefined;
}

export function protocolName(number: number): string {
  return Object.entries(PROTOCOLS).find(([, value]) => value === number)?.[0] ?? String(number);
}

/** The protocols whose header starts with a source and a destination port. */
export function hasPorts(protocol: number): boolean {
  return [TCP, UDP, 33, 132, 136].includes(protocol);
}

export const TCP_FLAGS: Readonly<Record<string, number>> = {
  fin: 0x01,
  syn: 0x02,
  rst: 0x04,
  psh: 0x08,
  ack: 0x10,
  urg: 0x20,
  ecn: 0x40,
  cwr: 0x80,
};

/** The kernel's bits of the conntrack state as matches see it (include/net/netfilter/nf_conntrack.h). */
export const CT_STATES: Readonly<Record<string, number>> = {
  invalid: 1,
  established: 2,
  related: 4,
  new: 8,
  untracked: 64,
};

/** The bits of the conntrack status (nf_conntrack_common.h). */
export const CT_STATUS: Readonly<Record<string, number>> = {
  expected: 0x01,
  'seen-reply': 0x02,
  assured: 0x04,
  confirmed: 0x08,
  snat: 0x10,
  dnat: 0x20,
  dying: 0x200,
};

const SERVICES: Readonly<Record<string, number>> = {
  'ftp-data': 20,
  ftp: 21,
  ssh: 22,
  telnet: 23,
  smtp: 25,
  domain: 53,
  bootps: 67,
  bootpc: 68,
  tftp: 69,
  http: 80,
  kerberos: 88,
  pop3: 110,
  sunrpc: 111,
  ntp: 123,
  imap2: 143,
  snmp: 161,
  ldap: 389,
  https: 443,
  'microsoft-ds': 445,
  submission: 587,
  'dhcpv6-client': 546,
  'dhcpv6-server': 547,
  imaps: 993,
  pop3s: 995,
  nfs: 2049,
  mdns: 5353,
};

/** `53` or `domain`; undefined for a service not known here. */
export function portNumber(text: string): number | undefined {
  const number = numberOf(text) ?? SERVICES[text];
  return number !== undefined && number <= 65535 ? number : undefined;
}

/** An ICMP type, and its code when the name says one. */
export interface IcmpType {
  readonly type: number;
  readonly code?: number;
}

const UNREACHABLE_V4 = [
  'network-unreachable',
  'host-unreachable',
  'protocol-unreachable',
  'port-unreachable',
  'fragmentation-needed',
  'source-route-failed',
  'network-unknown',
  'host-unknown',
  'host-isolated',
  'network-prohibited',
  'host-prohibited',
  'TOS-network-unreachable',
  'TOS-host-unreachable',
  'communication-prohibited',
  'host-precedence-violation',
  'precedence-cutoff',
];

function codes(type: number, names: readonly (string | undefined)[]): [string, IcmpType][] {
  return names.flatMap((name, code) => (name === undefined ? [] : [[name, { type, code }] as [string, IcmpType]]));
}

const types = (list: Readonly<Record<string, number>>): [string, IcmpType][] =>
  Object.entries(list).map(([name, type]) => [name, { type }]);

export const ICMP_TYPES: ReadonlyMap<string, IcmpType> = new Map([
  ...types({
    'echo-reply': 0,
    pong: 0,
    'destination-unreachable': 3,
    'source-quench': 4,
    redirect: 5,
    'echo-request': 8,
    ping: 8,
    'router-advertisement': 9,
    'router-solicitation': 10,
    'time-exceeded': 11,
    'ttl-exceeded': 11,
    'parameter-problem': 12,
    'timestamp-request': 13,
    'timestamp-reply': 14,
    'info-request': 15,
    'info-reply': 16,
    'address-mask-request': 17,
    'address-mask-reply': 18,
  }),
  ...codes(3, UNREACHABLE_V4),
  ...codes(5, ['network-redirect', 'host-redirect', 'TOS-network-redirect', 'TOS-host-redirect']),
  ...codes(11, ['ttl-zero-during-transit', 'ttl-zero-during-reassembly']),
  ...codes(12, ['ip-header-bad', 'required-option-missing']),
]);

export const ICMPV6_TYPES: ReadonlyMap<string, IcmpType> = new Map([
  ...types({
    'destination-unreachable': 1,
    'packet-too-big': 2,
    'time-exceeded': 3,
    'ttl-exceeded': 3,
    'parameter-problem': 4,
    'echo-request': 128,
    ping: 128,
    'echo-reply': 129,
    pong: 129,
    'mld-listener-query': 130,
    'mld-listener-report': 131,
    'mld-listener-done': 132,
    'mld-listener-reduction': 132,
    'router-solicitation': 133,
    'nd-router-solicit': 133,
    'router-advertisement': 134,
    'nd-router-advert': 134,
    'neighbour-solicitation': 135,
    'neighbor-solicitation': 135,
    'nd-neighbor-solicit': 135,
    'neighbour-advertisement': 136,
    'neighbor-advertisement': 136,
    'nd-neighbor-advert': 136,
    redirect: 137,
    'nd-redirect': 137,
    'router-renumbering': 138,
    'ind-neighbor-solicit': 141,
    'ind-neighbor-advert': 142,
    'mld2-listener-report': 143,
  }),
  ...codes(1, [
    'no-route',
    'communication-prohibited',
    'beyond-scope',
    'address-unreachable',
    'port-unreachable',
    'failed-policy',
    'reject-route',
  ]),
  ...codes(3, ['ttl-zero-during-transit', 'ttl-zero-during-reassembly']),
  ...codes(4, ['bad-header', 'unknown-header-type', 'unknown-option']),
]);
