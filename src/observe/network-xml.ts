// libvirt's network XML, read into what the firewall rules depend on. A problem is a value, never an exception.

import type { ForwardMode, Network, NetworkAddress } from '../ruleset/network.ts';
import { formatAddress, netmaskToPrefix, parseAddress, subnetOf } from '../ruleset/subnet.ts';
import { attribute, child, children, readXml, textOf, unescapeXml } from './xml.ts';

export const NETWORK_PROBLEM_CODES = [
  'xml-missing',
  'xml-unreadable',
  'xml-too-big',
  'xml-doctype',
  'xml-malformed',
  'xml-no-network',
  'xml-bad-value',
] as const;
export type NetworkProblemCode = (typeof NETWORK_PROBLEM_CODES)[number];

/** A network file that could not be used, and why. */
export interface NetworkProblem {
  readonly code: NetworkProblemCode;
  readonly file: string;
  readonly message: string;
}

/** A network, or why the text is none. */
export type ParsedNetwork = { readonly network: Network } | { readonly problem: NetworkProblem };

/**
 * One network from XML text; `active` is true when the root element is `<networkstatus>`. A document type is refused
 * (entity expansion), as are more than 1 MiB; `file` only names the source in a problem.
 */
export async function parseNetworkXml(text: string, file: string): Promise<ParsedNetwork> {
  const parsed = await readXml(text);
  if ('problem' in parsed) return { problem: { ...parsed.problem, file } };
  const { root } = parsed;
  const outer = child(root, 'networkstatus') ?? child(root, 'hookData') ?? root;
  const element = child(outer, 'network');
  if (element === undefined)
    return { problem: { code: 'xml-no-network', file, message: 'no <network> element found' } };
  const network = toNetwork(element, outer, child(root, 'networkstatus') !== undefined);
  return typeof network === 'string' ? { problem: { code: 'xml-bad-value', file, message: network } } : { network };
}

/** `virbr0`; as the kernel takes it (dev_valid_name), and printable: rules are built with it. */
const INTERFACE = /^(?!\.{1,2}$)[!-.0-9;-~]{1,15}$/;

/** The network, or what is wrong with it. */
function toNetwork(element: unknown, outer: unknown, active: boolean): Network | string {
  const name = textOf(child(element, 'name'));
  if (name === '') return 'a network without a name';
  const addresses = children(element, 'ip').map(toAddress);
  const broken = addresses.find((address) => typeof address === 'string');
  if (broken !== undefined) return `network ${name}: ${broken}`;
  const bridge = attribute(child(element, 'bridge'), 'name');
  if (bridge !== undefined && !INTERFACE.test(bridge))
    return `network ${name}: ${JSON.stringify(bridge)} is no interface name`;
  const forward = child(element, 'forward');
  const firewall = children(outer, 'firewall').find((item) => attribute(item, 'name') === 'fwRemoval');
  const backend = attribute(firewall, 'backend');
  return {
    name: unescapeXml(name),
    uuid: textOf(child(element, 'uuid')),
    bridge,
    forwardMode: forwardMode(forward),
    forwardDevs: forwardDevs(forward),
    ...natOf(child(forward, 'nat')),
    guestIpv6: attribute(element, 'ipv6') === 'yes',
    addresses: addresses.filter((address) => typeof address !== 'string'),
    active,
    ...(backend === 'iptables' || backend === 'nftables' ? { backend } : {}),
  };
}

// `<forward/>` and `<forward dev='eth0'/>` mean NAT (virNetworkForwardDefParseXML).
function forwardMode(forward: unknown): ForwardMode {
  return forward === undefined ? 'isolated' : (attribute(forward, 'mode') ?? 'nat');
}

function forwardDevs(forward: unknown): string[] {
  const devs = [forward, ...children(forward, 'interface')].map((item) => attribute(item, 'dev'));
  return [...new Set(devs.filter((dev) => dev !== undefined))];
}

function natOf(nat: unknown): Pick<Network, 'natIpv6' | 'natAddress' | 'natPorts'> {
  const address = child(nat, 'address');
  const port = child(nat, 'port');
  // libvirt demands both ends, and IPv4 (virNetworkForwardNatDefParseXML)
  const [start, end] = [attribute(address, 'start'), attribute(address, 'end')];
  const ports = { start: Number(attribute(port, 'start')), end: Number(attribute(port, 'end')) };
  return {
    natIpv6: attribute(nat, 'ipv6') === 'yes',
    ...(start !== undefined && end !== undefined ? { natAddress: { start, end } } : {}),
    // libvirt takes 0-0 as "not given"
    ...(ports.start > 0 && ports.end > 0 ? { natPorts: ports } : {}),
  };
}

/** One `<ip>`, or what is wrong with it. */
function toAddress(element: unknown): NetworkAddress | string {
  const family = attribute(element, 'family') === 'ipv6' ? 'ip6' : 'ip';
  const text = attribute(element, 'address') ?? '';
  const bytes = parseAddress(family, text);
  const prefix = prefixOf(element, family, bytes?.[0] ?? 0);
  const cidr = prefix === undefined ? undefined : subnetOf(family, text, prefix);
  // iptables prints no `-s 0.0.0.0/0`: a rule built from it would never be found again, and be added at every look.
  if (bytes === undefined || cidr === undefined || prefix === 0)
    return `<ip> with address '${text}' is no ${family} subnet`;
  const dhcp = child(element, 'dhcp');
  return {
    family,
    cidr,
    host: formatAddress(bytes),
    dhcp: children(dhcp, 'range').length + children(dhcp, 'host').length > 0,
    tftp: child(element, 'tftp') !== undefined,
  };
}

// Without prefix and netmask libvirt goes by the address's old class, and takes 64 for IPv6 (virSocketAddrGetIPPrefix).
function prefixOf(element: unknown, family: 'ip' | 'ip6', firstByte: number): number | undefined {
  const [prefix, netmask] = [attribute(element, 'prefix'), attribute(element, 'netmask')];
  if (prefix !== undefined) return /^\d{1,3}$/.test(prefix) ? Number(prefix) : undefined;
  if (netmask !== undefined) return netmaskToPrefix(family, netmask);
  if (family === 'ip6') return 64;
  if (firstByte < 128) return 8;
  return firstByte < 192 ? 16 : 24;
}
