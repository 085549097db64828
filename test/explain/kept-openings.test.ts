// What mendwall opens by itself for libvirt's guests, and what it leaves closed.

import { describe, expect, it } from 'vitest';
import { classify } from '../../src/classify/classify.ts';
import { findBlocked } from '../../src/explain/blocked.ts';
import { compileIptables } from '../../src/explain/iptables-rule.ts';
import { keptOpenings, type KeptOpening } from '../../src/explain/kept-openings.ts';
import { compileNft } from '../../src/explain/nft-ruleset.ts';
import { joinPrograms } from '../../src/explain/program.ts';
import { parseRuleset } from '../../src/ruleset/iptables/parse.ts';
import type { Network } from '../../src/ruleset/network.ts';

const DEFAULT: Network = {
  name: 'default',
  uuid: '13e792b1-f457-4c15-91f9-d3683ddef2a8',
  bridge: 'virbr0',
  forwardMode: 'nat',
  forwardDevs: [],
  natIpv6: true,
  guestIpv6: false,
  addresses: [{ family: 'ip', cidr: '192.168.122.0/24', host: '192.168.122.1', dhcp: true, tftp: false }],
  active: true,
};
const V6 = { family: 'ip6', cidr: 'fd00:122::/64', host: 'fd00:122::1', dhcp: false, tftp: false } as const;

interface Rules {
  readonly rules?: readonly string[];
  readonly policies?: Readonly<Record<string, string>>;
  readonly family?: 'ip' | 'ip6';
  readonly native?: string;
  readonly foreign?: string;
  readonly networks?: readonly Network[];
}

function openings({
  rules = [],
  policies = {},
  family = 'ip',
  native = '',
  foreign = '',
  ...more
}: Rules): readonly KeptOpening[] {
  const own = new Set(
    rules.map((rule) => rule.split(' ')[1] ?? '').filter((name) => !/^(INPUT|FORWARD|OUTPUT)$/.test(name)),
  );
  const heads = ['INPUT', 'FORWARD', 'OUTPUT'].map((name) => `:${name} ${policies[name] ?? 'ACCEPT'} [0:0]`);
  const text = ['*filter', ...heads, ...[...own].map((name) => `:${name} - [0:0]`), ...rules, 'COMMIT', ''].join('\n');
  const networks = more.networks ?? [DEFAULT];
  const classified = [classify(parseRuleset(text, family), networks)];
  const program = joinPrograms([compileIptables(classified[0]!.ruleset), compileNft(native + foreign)]);
  const usersTables = new Set([...native.matchAll(/^table (\S+ \S+)/gm)].map(([, key]) => key ?? ''));
  const question = { program, networks, classified, uplink: 'eth0', bridgeNetfilter: false };
  return keptOpenings({ ...question, usersTables }, findBlocked(question));
}

const MARK = '-m comment --comment "mendwall:open-guests default"';
const inBrief = (list: readonly KeptOpening[]): string[] =>
  list.map(({ chain, at, text }) => `${chain} ${at}: ${text}`);

const FORWARDED = (at: number): string[] => [
  `FORWARD ${at}: -A FORWARD -s 192.168.122.0/24 -i virbr0 ${MARK} -j ACCEPT`,
  `FORWARD ${at}: -A FORWARD -d 192.168.122.0/24 -o virbr0 -m conntrack --ctstate RELATED,ESTABLISHED ${MARK} -j ACCEPT`,
];
const SERVED = (at: number): string[] => [
  `INPUT ${at}: -A INPUT -i virbr0 -p udp -m udp --dport 67 ${MARK} -j ACCEPT`,
  `INPUT ${at}: -A INPUT -i virbr0 -p udp -m udp --dport 53 ${MARK} -j ACCEPT`,
  `INPUT ${at}: -A INPUT -i virbr0 -p tcp -m tcp --dport 53 ${MARK} -j ACCEPT`,
];

describe('with iptables', () => {
  it('a policy is opened at the end, above the LOG rules that belong to it', () => {
    const rules = ['-A FORWARD -s 192.168.122.9/32 -j DROP', '-A FORWARD -j LOG'];
    expect(inBrief(openings({ rules, policies: { FORWARD: 'DROP', INPUT: 'DROP' } }))).toEqual([
      ...SERVED(0),
      ...FORWARDED(1),
    ]);
  });

  it('a REJECT at the end is opened directly above it', () => {
    const rules = [
      '-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT',
      '-A INPUT -j REJECT --reject-with icmp-host-prohibited',
    ];
    expect(inBrief(openings({ rules }))).toEqual(SERVED(1));
  });

  it('IPv6 is opened for its own addresses', () => {
    const networks = [{ ...DEFAULT, addresses: [V6] }];
    const opened = openings({ family: 'ip6', policies: { FORWARD: 'DROP' }, networks });
    expect(opened.map(({ family, text }) => [family, text])).toEqual([
      ['ip6', `-A FORWARD -s fd00:122::/64 -i virbr0 ${MARK} -j ACCEPT`],
      ['ip6', `-A FORWARD -d fd00:122::/64 -o virbr0 -m conntrack --ctstate RELATED,ESTABLISHED ${MARK} -j ACCEPT`],
    ]);
  });

  it('each of two catch-alls by device is opened for what it stops', () => {
    const rules = ['-A FORWARD -i eth0 -j DROP', '-A FORWARD -p tcp -j ACCEPT', '-A FORWARD -o eth0 -j DROP'];
    expect(inBrief(openings({ rules: [rules[2]!, rules[0]!] }))).toEqual([FORWARDED(0)[0], FORWARDED(1)[1]]);
  });

  it.each([
    [
      'for a guest, a network, a port',
      ['-A FORWARD -s 192.168.122.0/24 -j DROP', '-A INPUT -p udp -m udp --dport 67 -j DROP'],
    ],
    ["by the guests' device", ['-A FORWARD -i virbr0 -j DROP', '-A FORWARD -o virbr+ -j REJECT']],
    ['in a chain of its own', ['-A FORWARD -j guests', '-A guests -j DROP']],
    ['below a catch-all by device', ['-A FORWARD -o eth0 -j DROP', '-A FORWARD -s 192.168.122.9/32 -j DROP']],
    [
      "above libvirt's own rules in the chain",
      ['-A FORWARD -j DROP', '-A FORWARD -j LIBVIRT_FWO', '-A LIBVIRT_FWO -s 192.168.122.0/24 -i virbr0 -j ACCEPT'],
    ],
  ])('what the user closes %s stays closed', (_, rules) => {
    const { length } = openings({ rules: ['-A FORWARD -j DROP'] });
    expect(length).toBe(2);
    expect(openings({ rules }).filter(({ chain, text }) => chain === 'FORWARD' && text.includes('-s 192'))).toEqual([]);
  });

  it("Docker's policy is opened in FORWARD itself, not in a chain of Docker's", () => {
    const rules = [
      '-A FORWARD -j DOCKER-USER',
      '-A FORWARD -j DOCKER-FORWARD',
      '-A DOCKER-USER -j RETURN',
      '-A DOCKER-FORWARD -i docker0 -j ACCEPT',
    ];
    expect(inBrief(openings({ rules, policies: { FORWARD: 'DROP' } }))).toEqual(FORWARDED(2));
  });

  it("a drop in a neighbour's chain stays", () => {
    const rules = ['-A INPUT -j ufw-before-input', '-A ufw-before-input -j DROP'];
    expect(openings({ rules })).toEqual([]);
  });

  it('a network that does not run, or a name that would need quoting', () => {
    expect(openings({ policies: { FORWARD: 'DROP' }, networks: [{ ...DEFAULT, active: false }] })).toEqual([]);
    const [first] = openings({ policies: { FORWARD: 'DROP' }, networks: [{ ...DEFAULT, name: 'a "b"' }] });
    expect(first?.text).toContain(`"mendwall:open-guests ${DEFAULT.uuid}"`);
  });
});

const INET = `table inet filter {
	chain input {
		type filter hook input priority 0; policy drop;
		ct state established,related accept
		ip saddr 192.168.122.9 drop
		counter comment "dropped"
	}
	chain forward {
		type filter hook forward priority 0; policy accept;
		iifname "lo" accept
		log prefix "no: "
		counter drop
	}
}
`;

describe('with native tables', () => {
  it('both kinds of catch-all are opened, once for both families', () => {
    const networks = [{ ...DEFAULT, addresses: [...DEFAULT.addresses, { ...V6, dhcp: false }] }];
    const text = (rule: string): string => `${rule} comment "mendwall:open-guests default"`;
    expect(inBrief(openings({ native: INET, networks }))).toEqual([
      `input 2: ${text('iifname "virbr0" udp dport 67 accept')}`,
      `input 2: ${text('iifname "virbr0" udp dport 53 accept')}`,
      `input 2: ${text('iifname "virbr0" tcp dport 53 accept')}`,
      `forward 1: ${text('iifname "virbr0" ip saddr 192.168.122.0/24 accept')}`,
      `forward 1: ${text('oifname "virbr0" ip daddr 192.168.122.0/24 ct state established,related accept')}`,
      `forward 1: ${text('iifname "virbr0" ip6 saddr fd00:122::/64 accept')}`,
      `forward 1: ${text('oifname "virbr0" ip6 daddr fd00:122::/64 ct state established,related accept')}`,
    ]);
  });

  it("a neighbour's table stays closed; both engines at once are opened each in its own words", () => {
    expect(openings({ foreign: INET })).toEqual([]);
    const both = openings({ native: INET, policies: { FORWARD: 'DROP' } });
    expect(both.map(({ engine, chain }) => `${engine} ${chain}`)).toEqual(
      expect.arrayContaining(['iptables FORWARD', 'nft forward', 'nft input']),
    );
  });

  it('what depends on something unknown is left alone', () => {
    const native = INET.replace('counter drop', 'limit rate 5/second drop');
    expect(openings({ native }).filter(({ chain }) => chain === 'forward')).toEqual([]);
  });
});
