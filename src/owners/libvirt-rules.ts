// The rules libvirt's iptables backend writes for one network, computed from the network's definition. Pure.
//
// Goal: say which rules inside LIBVIRT_* chains are libvirt's, and which are missing, without asking libvirt.
// Guarantee: for libvirt 5.1 to 11.x (private chains) the texts equal, byte for byte and in order within a chain, what
// iptables-save prints after net-start; checked against captures of libvirt 9.0 and 11.3 on both engines.
// Does not: describe the jumps and chains (one set per host, not per network), nwfilter, or the nftables backend.
// Source: libvirt's src/network/bridge_driver_linux.c (networkAddFirewallRules) and network_iptables.c.

import type { Network, NetworkAddress } from '../ruleset/network.ts';
import type { Family, TableName } from '../ruleset/types.ts';

/** One rule as iptables-save prints it, `-A CHAIN ...`. */
export interface ExpectedRule {
  readonly chain: string;
  readonly text: string;
}

/** Family, then table, then rules. Order has meaning within a chain only. Families and tables without rules are absent. */
export type ExpectedRules = ReadonlyMap<Family, ReadonlyMap<TableName, readonly ExpectedRule[]>>;

interface Placed extends ExpectedRule {
  readonly family: Family;
  readonly table: TableName;
}

/**
 * The rules libvirt writes for this network. Empty for networks it writes none for: `open`, `bridge` and the other modes
 * without a bridge of libvirt's own, and definitions without a bridge name.
 */
export function expectedLibvirtRules(network: Network): ExpectedRules {
  const { bridge } = network;
  if (bridge === undefined || !['nat', 'route', 'isolated'].includes(network.forwardMode)) return new Map();
  return asPrinted([
    ...generalV4(network, bridge),
    ...generalV6(network, bridge),
    ...network.addresses.flatMap((address) => perAddress(network, bridge, address)),
    ...checksumFix(network, bridge),
  ]);
}

/** libvirt inserts each rule at the head of its chain, so the last written stands first. */
function asPrinted(written: readonly Placed[]): ExpectedRules {
  const families = new Map<Family, Map<TableName, ExpectedRule[]>>();
  for (const { family, table, chain, text } of written) {
    const tables = families.get(family) ?? new Map<TableName, ExpectedRule[]>();
    families.set(family, tables.set(table, [{ chain, text }, ...(tables.get(table) ?? [])]));
  }
  return families;
}

function rule(family: Family, table: TableName, chain: string, match: string): Placed {
  return { family, table, chain, text: `-A ${chain} ${match}` };
}

function openPort(family: Family, bridge: string, protocol: 'tcp' | 'udp', inPort: number, outPort: number): Placed[] {
  const port = (number: number): string => `-p ${protocol} -m ${protocol} --dport ${number} -j ACCEPT`;
  return [
    rule(family, 'filter', 'LIBVIRT_INP', `-i ${bridge} ${port(inPort)}`),
    rule(family, 'filter', 'LIBVIRT_OUT', `-o ${bridge} ${port(outPort)}`),
  ];
}

function wall(family: Family, bridge: string): Placed[] {
  const reject = `-j REJECT --reject-with ${family === 'ip' ? 'icmp' : 'icmp6'}-port-unreachable`;
  return [
    rule(family, 'filter', 'LIBVIRT_FWO', `-i ${bridge} ${reject}`),
    rule(family, 'filter', 'LIBVIRT_FWI', `-o ${bridge} ${reject}`),
    rule(family, 'filter', 'LIBVIRT_FWX', `-i ${bridge} -o ${bridge} -j ACCEPT`),
  ];
}

// networkAddGeneralIPv4FirewallRules: written for every network, also one without an IPv4 address.
function generalV4(network: Network, bridge: string): Placed[] {
  // dnsmasq serves the first address with DHCP or TFTP; only that one's <tftp> opens the port
  const served = network.addresses.find(({ family, dhcp, tftp }) => family === 'ip' && (dhcp || tftp));
  return [
    ...openPort('ip', bridge, 'tcp', 67, 68),
    ...openPort('ip', bridge, 'udp', 67, 68),
    ...openPort('ip', bridge, 'tcp', 53, 53),
    ...openPort('ip', bridge, 'udp', 53, 53),
    ...(served?.tftp ? openPort('ip', bridge, 'udp', 69, 69) : []),
    ...wall('ip', bridge),
  ];
}

// networkAddGeneralIPv6FirewallRules
function generalV6(network: Network, bridge: string): Placed[] {
  const hasAddress = network.addresses.some(({ family }) => family === 'ip6');
  if (!hasAddress && !network.guestIpv6) return [];
  if (!hasAddress) return wall('ip6', bridge);
  return [
    ...wall('ip6', bridge),
    ...openPort('ip6', bridge, 'tcp', 53, 53),
    ...openPort('ip6', bridge, 'udp', 53, 53),
    ...openPort('ip6', bridge, 'udp', 547, 546),
  ];
}

// networkAddIPSpecificFirewallRules
function perAddress(network: Network, bridge: string, address: NetworkAddress): Placed[] {
  if (network.forwardMode === 'isolated') return [];
  const masqueraded = network.forwardMode === 'nat' && (address.family === 'ip' || network.natIpv6);
  const dev = network.forwardDevs[0];
  const out = `-s ${address.cidr} -i ${bridge}${dev === undefined ? '' : ` -o ${dev}`} -j ACCEPT`;
  const into = `-d ${address.cidr}${dev === undefined ? '' : ` -i ${dev}`} -o ${bridge}`;
  const established = masqueraded ? ' -m conntrack --ctstate RELATED,ESTABLISHED' : '';
  return [
    rule(address.family, 'filter', 'LIBVIRT_FWO', out),
    rule(address.family, 'filter', 'LIBVIRT_FWI', `${into}${established} -j ACCEPT`),
    ...(masqueraded ? masquerade(network, address) : []),
  ];
}

// networkAddMasqueradingFirewallRules
function masquerade(network: Network, { family, cidr }: NetworkAddress): Placed[] {
  const dev = network.forwardDevs[0] === undefined ? '' : ` -o ${network.forwardDevs[0]}`;
  const local = family === 'ip' ? ['255.255.255.255/32', '224.0.0.0/24'] : ['ff02::/16'];
  return [
    ...['', ' -p udp', ' -p tcp'].map((protocol) =>
      rule(
        family,
        'nat',
        'LIBVIRT_PRT',
        `-s ${cidr} ! -d ${cidr}${dev}${protocol} ${natTarget(network, family, protocol !== '')}`,
      ),
    ),
    ...local.map((destination) => rule(family, 'nat', 'LIBVIRT_PRT', `-s ${cidr} -d ${destination}${dev} -j RETURN`)),
  ];
}

// iptablesForwardMasquerade: the port range for tcp and udp only; the address range, which libvirt takes for IPv4 only,
// is not used for IPv6.
function natTarget({ natAddress, natPorts }: Network, family: Family, withPorts: boolean): string {
  const ports = `${natPorts?.start ?? 1024}-${natPorts?.end ?? 65535}`;
  if (natAddress === undefined || family === 'ip6') return `-j MASQUERADE${withPorts ? ` --to-ports ${ports}` : ''}`;
  const { start, end } = natAddress;
  return `-j SNAT --to-source ${start === end ? start : `${start}-${end}`}${withPorts ? `:${ports}` : ''}`;
}

// networkAddChecksumFirewallRules: once, where some IPv4 address has DHCP.
function checksumFix(network: Network, bridge: string): Placed[] {
  if (!network.addresses.some(({ family, dhcp }) => family === 'ip' && dhcp)) return [];
  const match = `-o ${bridge} -p udp -m udp --dport 68 -j CHECKSUM --checksum-fill`;
  return [rule('ip', 'mangle', 'LIBVIRT_PRT', match)];
}
