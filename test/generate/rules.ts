// Random rules in saved form, as iptables 1.8 prints them: test/lab/canonical.lab.ts loads samples into the real one and
// gets them back unchanged.

import fc from 'fast-check';
import { quoted } from '../fake/spec.ts';
import type { Family } from '../../src/ruleset/types.ts';

export type RuleText = fc.Arbitrary<string>;

const optional = (part: RuleText): RuleText =>
  fc.oneof({ weight: 2, arbitrary: fc.constant('') }, { weight: 1, arbitrary: part });
const negated = (part: RuleText): RuleText =>
  fc.tuple(fc.constantFrom('', '', '', '! '), part).map((words) => words.join(''));
const join = (...parts: readonly RuleText[]): RuleText =>
  fc.tuple(...parts).map((words) => words.filter((word) => word !== '').join(' '));

const byte = fc.integer({ min: 0, max: 255 });

/** A subnet with its host bits zero, as iptables prints it. */
export const subnet = (family: Family): RuleText =>
  family === 'ip'
    ? fc.oneof(
        fc.tuple(byte, byte, byte).map(([a, b, c]) => `10.${a}.${b}.${c}/32`),
        fc.tuple(byte, byte).map(([a, b]) => `192.${a}.${b}.0/24`),
        fc.constantFrom('10.0.0.0/8', '224.0.0.0/4', '192.168.122.0/24', '255.255.255.255/32'),
      )
    : fc.oneof(
        fc.integer({ min: 1, max: 0xffff }).map((last) => `fd00::${last.toString(16)}/128`),
        fc.constantFrom('fd00:123::/64', 'fe80::/10', 'ff02::/16', '2001:db8:1::/48'),
      );

/** Interfaces of a virtualization host, wildcards among them. */
export const networkInterface: RuleText = fc.constantFrom(
  'lo',
  'eth0',
  'ens3',
  'virbr0',
  'virbr1',
  'br0.100',
  'vnet7',
  'tap+',
  'docker0',
  'wg-home',
);

const port = fc.integer({ min: 1, max: 65535 });
const portRange = fc.oneof(
  port.map(String),
  fc
    .tuple(port, port)
    .filter(([a, b]) => a < b)
    .map(([a, b]) => `${a}:${b}`),
);

/** `-p tcp -m tcp --dport 22` and its like. Some protocol matches print nothing of themselves. */
const protocol = (family: Family): RuleText => {
  const withPorts = (name: string): RuleText =>
    fc.oneof(
      portRange.map((ports) => `-p ${name} -m ${name} --dport ${ports}`),
      portRange.map((ports) => `-p ${name} -m ${name} --sport ${ports}`),
      fc
        .uniqueArray(port, { minLength: 2, maxLength: 5 })
        .map((ports) => `-p ${name} -m multiport --dports ${ports.join(',')}`),
    );
  const icmp =
    family === 'ip'
      ? fc.constantFrom('-p icmp', '-p icmp -m icmp --icmp-type 8')
      : fc.constantFrom('-p ipv6-icmp', '-p ipv6-icmp -m icmp6 --icmpv6-type 135');
  const flags = fc.constant('-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN');
  return fc.oneof(withPorts('tcp'), withPorts('udp'), icmp, flags, fc.constantFrom('-p esp', '-p gre', '! -p tcp'));
};

/** Comments of all kinds: bare words, quotes, backslashes, things that look like options or like other owners' rules. */
export const comment: RuleText = fc
  .oneof(
    fc.constantFrom(
      'ssh',
      'a "quoted" word',
      "it's mine",
      'back\\slash',
      '-j DROP',
      '! -i virbr0 -j LIBVIRT_INP',
      'COMMIT',
      '# not a comment',
      '[1:2]',
      ':INPUT',
    ),
    fc.string({
      unit: fc.constantFrom(...'abcXYZ019 _-.,:;/()[]{}"\'\\!#$%&*+=<>?@^`|~'),
      minLength: 1,
      maxLength: 40,
    }),
  )
  .filter((text) => text.trim() === text && text !== '')
  .map((text) => `-m comment --comment ${quoted(text)}`);

const conntrack = fc.constantFrom(
  '-m conntrack --ctstate RELATED,ESTABLISHED',
  '-m conntrack --ctstate INVALID',
  '-m conntrack --ctstate NEW',
  '-m state --state RELATED,ESTABLISHED',
);
const otherMatch = fc.constantFrom(
  '-m limit --limit 5/min',
  '-m mac --mac-source 52:54:00:12:34:56',
  '-m mark --mark 0x64',
  '-m physdev --physdev-in vnet7',
  '-m pkttype --pkt-type broadcast',
  '-m recent --set --name SSH --mask 255.255.255.255 --rsource',
  '-m addrtype --dst-type LOCAL',
  '-m length --length 40:1500',
);
/** `recent` is printed with the IPv4 mask; what a packet of our own cannot have is refused in OUTPUT. */
const suits = (match: string, chain: string, family: Family): boolean =>
  (family === 'ip' || !match.startsWith('-m recent')) && (chain !== 'OUTPUT' || !/^-m (mac|physdev)/.test(match)); // -m mac --mac-source

const target = (family: Family): RuleText =>
  fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom('-j ACCEPT', '-j DROP', '-j RETURN') },
    {
      weight: 2,
      arbitrary: fc.constant(
        family === 'ip'
          ? '-j REJECT --reject-with icmp-port-unreachable'
          : '-j REJECT --reject-with icmp6-port-unreachable',
      ),
    },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        '-j LOG --log-prefix "dropped: "',
        '-j LOG --log-prefix in-drop --log-level 7',
        '-j NFLOG --nflog-group 5',
        '',
      ),
    },
  );

export interface RuleOptions {
  readonly family?: Family;
  /** Chains of its own that the rule may jump to. */
  readonly jumps?: readonly string[];
}

/** What follows `-A CHAIN ` of one rule of the filter table. The chain decides which interfaces are allowed. */
export function filterSpec(chain: string, { family = 'ip', jumps = [] }: RuleOptions = {}): RuleText {
  const side = (option: string, refusedIn: string): RuleText =>
    chain === refusedIn ? fc.constant('') : optional(negated(networkInterface.map((name) => `${option} ${name}`)));
  const address = (option: string): RuleText => optional(negated(subnet(family).map((text) => `${option} ${text}`)));
  const matches = fc
    .tuple(optional(conntrack), optional(otherMatch), optional(comment))
    .map((parts) => parts.filter((part) => part !== '' && suits(part, chain, family)).join(' '));
  const jump =
    jumps.length === 0
      ? target(family)
      : fc.oneof(
          target(family),
          fc.constantFrom(...jumps).map((name) => `-j ${name}`),
        );
  const head = [address('-s'), address('-d'), side('-i', 'OUTPUT'), side('-o', 'INPUT')];
  return join(...head, optional(protocol(family)), matches, jump).filter((text) => text !== '');
}

/** `-A CHAIN ...` of the filter table. */
export const filterRule = (chain: string, options?: RuleOptions): RuleText =>
  filterSpec(chain, options).map((spec) => `-A ${chain} ${spec}`);

/** A port forward, in nat PREROUTING. */
export const portForward: RuleText = fc
  .tuple(fc.constantFrom('tcp', 'udp'), port, byte, port)
  .map(
    ([name, from, host, to]) =>
      `-A PREROUTING -i eth0 -p ${name} -m ${name} --dport ${from} -j DNAT --to-destination 192.168.122.${host}:${to}`,
  );

/** Own NAT of the admin, in nat POSTROUTING. */
export const sourceNat: RuleText = fc.oneof(
  subnet('ip').map((source) => `-A POSTROUTING -s ${source} -o eth0 -j MASQUERADE`),
  fc
    .tuple(subnet('ip'), byte)
    .map(([source, host]) => `-A POSTROUTING -s ${source} -o eth0 -j SNAT --to-source 203.0.113.${host}`),
);

/** The same kinds of rule as iptables 1.3.5 and 1.4.7 printed them: dotted masks, `!` behind the option, a blank at the end. */
export const oldDialectRule = (chain: string): RuleText =>
  fc
    .tuple(
      fc.constantFrom('-s 192.168.122.0/255.255.255.0', '-s 10.0.0.1', '-d ! 192.168.122.0/255.255.255.0', ''),
      fc.constantFrom('-i ! lo', '-i virbr0', '-p tcp -m tcp --dport 22', '-m state --state NEW', ''),
      fc.constantFrom(
        '-j ACCEPT ',
        '-j DROP ',
        '-j REJECT --reject-with icmp-port-unreachable ',
        "-j LOG --log-prefix `in: ' ",
      ),
    )
    .map((parts) => `-A ${chain} ${parts.filter((part) => part !== '').join(' ')}`);
