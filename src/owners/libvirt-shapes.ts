// The shapes of the rules libvirt's network driver writes for one network, in all its ages: in its own chains
// (LIBVIRT_*, since 5.1) or straight into the built-in chains (before). Text in, shape out. Pure.

import type { Network } from '../ruleset/network.ts';
import type { Rule } from '../ruleset/types.ts';

/** libvirt's own chains, since 5.1. */
const OWN_CHAIN = /^LIBVIRT_(INP|OUT|FWI|FWO|FWX|PRT)$/;
/** The exact form libvirt looks for (textually, in `--list-rules`); a decorated jump is not libvirt's. */
const JUMP =
  /^-A (?:INPUT -j LIBVIRT_INP|FORWARD -j LIBVIRT_FW[XIO]|OUTPUT -j LIBVIRT_OUT|POSTROUTING -j LIBVIRT_PRT)$/;

/** True for a chain that libvirt's network driver keeps for itself. */
export function isLibvirtChain(name: string): boolean {
  return OWN_CHAIN.test(name);
}

/** True for one of the plain jumps into these chains. */
export function isLibvirtJump(text: string): boolean {
  return text.length < 40 && JUMP.test(text);
}

/** One libvirt-shaped rule: which line of the set it is, for which bridge, for which subnet. */
export interface Shape {
  readonly line: LineName;
  readonly bridge: string;
  readonly subnet: string | undefined;
}

export type LineName =
  | 'udp53'
  | 'tcp53'
  | 'udp67'
  | 'tcp67'
  | 'udp68'
  | 'tcp68'
  | 'udp69'
  | 'udp547'
  | 'udp546'
  | 'established'
  | 'inbound'
  | 'outbound'
  | 'cross'
  | 'reject-out'
  | 'reject-in'
  | 'return-multicast'
  | 'return-broadcast'
  | 'nat-tcp'
  | 'nat-udp'
  | 'nat-any'
  | 'checksum';

interface Pattern {
  readonly line: LineName;
  readonly form: RegExp;
}

const NET = '(?<subnet>[0-9a-f.:]+/\\d+)';
const IN = '-i (?<bridge>\\S+)';
const OUT = '-o (?<bridge>\\S+)';
const REJECT = '-j REJECT --reject-with icmp6?-port-unreachable';
const NAT = '-j (?:MASQUERADE|SNAT)(?: --to-(?:source|ports) \\S+)?';

function pattern(line: LineName, form: string): Pattern {
  return { line, form: new RegExp(`^${form}$`) };
}

const service = (line: LineName, side: string, protocol: string, port: number): Pattern =>
  pattern(line, `${side} -p ${protocol} -m ${protocol} --dport ${port} -j ACCEPT`);

// The forward device (`<forward dev='eth0'>`) stands beside the bridge where the network has one.
const FORWARD: readonly Pattern[] = [
  pattern('cross', '-i (?<bridge>\\S+) -o \\k<bridge> -j ACCEPT'),
  pattern('established', `-d ${NET} (?:-i \\S+ )?${OUT} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`),
  pattern('inbound', `-d ${NET} (?:-i \\S+ )?${OUT} -j ACCEPT`),
  pattern('outbound', `-s ${NET} ${IN}(?: -o \\S+)? -j ACCEPT`),
  pattern('reject-out', `${OUT} ${REJECT}`),
  pattern('reject-in', `${IN} ${REJECT}`),
];

const INPUT: readonly Pattern[] = [
  service('udp53', IN, 'udp', 53),
  service('tcp53', IN, 'tcp', 53),
  service('udp67', IN, 'udp', 67),
  service('tcp67', IN, 'tcp', 67),
  service('udp69', IN, 'udp', 69),
  service('udp547', IN, 'udp', 547),
];

const OUTPUT: readonly Pattern[] = [
  service('udp53', OUT, 'udp', 53),
  service('tcp53', OUT, 'tcp', 53),
  service('udp68', OUT, 'udp', 68),
  service('tcp68', OUT, 'tcp', 68),
  service('udp69', OUT, 'udp', 69),
  service('udp546', OUT, 'udp', 546),
];

const POSTROUTING: readonly Pattern[] = [
  pattern('return-multicast', `-s ${NET} -d (?:224\\.0\\.0\\.0/24|ff02::/16)(?: -o \\S+)? -j RETURN`),
  pattern('return-broadcast', `-s ${NET} -d 255\\.255\\.255\\.255/32(?: -o \\S+)? -j RETURN`),
  pattern('nat-tcp', `-s ${NET} ! -d \\k<subnet>(?: -o \\S+)? -p tcp ${NAT}`),
  pattern('nat-udp', `-s ${NET} ! -d \\k<subnet>(?: -o \\S+)? -p udp ${NAT}`),
  pattern('nat-any', `-s ${NET} ! -d \\k<subnet>(?: -o \\S+)? ${NAT}`),
  pattern('checksum', `${OUT} -p udp -m udp --dport 68 -j CHECKSUM --checksum-fill`),
];

const PLACES: Readonly<Record<string, readonly Pattern[]>> = {
  'filter/INPUT': INPUT,
  'filter/LIBVIRT_INP': INPUT,
  'filter/OUTPUT': OUTPUT,
  'filter/LIBVIRT_OUT': OUTPUT,
  'filter/FORWARD': FORWARD,
  'filter/LIBVIRT_FWX': FORWARD,
  'filter/LIBVIRT_FWI': FORWARD,
  'filter/LIBVIRT_FWO': FORWARD,
  'nat/POSTROUTING': POSTROUTING,
  'nat/LIBVIRT_PRT': POSTROUTING,
  'mangle/POSTROUTING': POSTROUTING,
  'mangle/LIBVIRT_PRT': POSTROUTING,
};

/** A rule of a chain with its shape. */
export interface Shaped {
  readonly index: number;
  readonly rule: Rule;
  readonly shape: Shape;
}

/** The libvirt-shaped rules of a chain. */
export function shapedRules(table: string, chain: string, rules: readonly Rule[]): Shaped[] {
  const found: Shaped[] = [];
  rules.forEach((rule, index) => {
    const shape = shapeOf(table, chain, rule.text);
    if (shape !== undefined) found.push({ index, rule, shape });
  });
  return found;
}

/** What a shape names, for people: its bridge, else its subnet. */
export function describe(shape: Shape): string {
  return shape.bridge === '' ? (shape.subnet ?? '?') : shape.bridge;
}

/** True when the shape names the network's bridge, or, without a bridge, one of its subnets. */
export function belongs(network: Network, shape: Shape): boolean {
  return shape.bridge === '' ? hasSubnet(network, shape.subnet) : network.bridge === shape.bridge;
}

export function hasSubnet(network: Network, subnet: string | undefined): boolean {
  return network.addresses.some((address) => address.cidr === subnet);
}

/** The shape of a rule that stands in `chain` of `table`, when it is one libvirt writes there for some network. */
export function shapeOf(table: string, chain: string, text: string): Shape | undefined {
  const patterns = PLACES[`${table}/${chain}`];
  if (patterns === undefined || text.length > 180 || text.includes('"')) return undefined;
  const body = modernSpelling(text.slice(text.indexOf(' ', 3) + 1));
  for (const { line, form } of patterns) {
    const groups = form.exec(body)?.groups;
    if (groups !== undefined) return { line, bridge: groups['bridge'] ?? '', subnet: groups['subnet'] };
  }
  return undefined;
}

/**
 * One spelling for what iptables printed over the years: 1.3.5 put `!` behind the option and dotted masks
 * (`-d ! 192.168.122.0/255.255.255.0`), and `-m state` came before `-m conntrack`. For recognising only.
 */
export function modernSpelling(body: string): string {
  return body
    .trim()
    .replace(/\s+/g, ' ')
    .replace(/(-{1,2}[a-z-]+) ! (\S+)/g, '! $1 $2')
    .replace(/\/(255\.[0-9.]+)/g, (_, mask: string) => `/${prefixLength(mask)}`)
    .replace(/-m state --state (\S+)/, '-m conntrack --ctstate $1');
}

function prefixLength(mask: string): number {
  return mask.split('.').reduce((bits, octet) => bits + (Number(octet).toString(2).match(/1/g)?.length ?? 0), 0);
}
