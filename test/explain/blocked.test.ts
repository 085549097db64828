// What libvirt lets through and other base chains stop, against what a real guest got through.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { classify } from '../../src/classify/classify.ts';
import { findBlocked, type Blocked, type BlockedQuestion } from '../../src/explain/blocked.ts';
import { compileIptables } from '../../src/explain/iptables-rule.ts';
import { compileNft } from '../../src/explain/nft-ruleset.ts';
import { joinPrograms, type Program } from '../../src/explain/program.ts';
import type { Network } from '../../src/ruleset/network.ts';
import type { Ruleset } from '../../src/ruleset/types.ts';
import { capture, rulesetOf } from '../captures/captures.ts';
import { parseRuleset } from '../../src/ruleset/iptables/parse.ts';
import { iptables } from './sketch.ts';

const DEFAULT: Network = {
  name: 'default',
  uuid: '13e792b1-f457-4c15-91f9-d3683ddef2a8',
  bridge: 'virbr0',
  forwardMode: 'nat',
  forwardDevs: [],
  natIpv6: false,
  guestIpv6: false,
  addresses: [{ family: 'ip', cidr: '192.168.122.0/24', host: '192.168.122.1', dhcp: true, tftp: false }],
  active: true,
};

const read = (name: string): string => readFileSync(new URL(`../captures/traffic/${name}`, import.meta.url), 'utf8');

const blocked = (program: Program, more: Partial<BlockedQuestion> = {}): readonly Blocked[] =>
  findBlocked({ program, networks: [DEFAULT], uplink: 'eth0', bridgeNetfilter: false, ...more });

// ---- rulesets of the measurement

const inetDrop = (priority: number, input = '', forward = ''): string => `table inet filter {
  chain input {
    type filter hook input priority ${priority}; policy drop;
    ct state established,related accept
    iif "lo" accept
    tcp dport 22 accept
    ${input}
    counter packets 6 bytes 1454 comment "admin drops (input)"
  }
  chain forward {
    type filter hook forward priority ${priority}; policy drop;
    ct state established,related accept
    ${forward}
    counter packets 2 bytes 168 comment "admin drops (forward)"
  }
}
`;

const NATIVE: Readonly<Record<string, string>> = {
  'inet-drop.nft': inetDrop(0),
  'inet-drop-m10.nft': inetDrop(-10),
  'inet-drop-p10.nft': inetDrop(10),
  'inet-drop-allow.nft': inetDrop(
    0,
    'udp dport { 53, 67 } accept\ntcp dport 53 accept',
    'iifname "virbr*" accept\noifname "virbr*" accept',
  ),
};

const ADMIN = rulesetOf(capture('admin-first/libvirt-9.0-iptables-nft.iptables-save.txt'));

const isLibvirts = (text: string): boolean => text.includes('LIBVIRT_');

/** The admin's rules of the measurement; with or without libvirt's part around them. */
function adminRules(name: string, withLibvirt: boolean): Ruleset {
  const lines = [...ADMIN.tables.values()].flatMap((table) => [
    `*${table.name}`,
    ...[...table.chains.values()].map((chain) => {
      const drops = name === 'drop.rules' && ['INPUT', 'FORWARD'].includes(chain.name) && table.name === 'filter';
      return `:${chain.name} ${drops ? 'DROP' : chain.policy} [0:0]`;
    }),
    ...[...table.chains.values()]
      .flatMap(({ rules }) => rules.map(({ text }) => text))
      .filter((text) => (name === 'admin.rules' || isLibvirts(text)) && (withLibvirt || !isLibvirts(text))),
    'COMMIT',
  ]);
  return parseRuleset(lines.join('\n') + '\n', 'ip');
}

const LIBVIRT_NFT = compileNft(read('libvirt-11-nftables/nat.nft-ruleset.txt'));
const LIBVIRT_IPTABLES = compileIptables(rulesetOf(capture('libvirt/libvirt-9.0-iptables-nft/nat.iptables-save.txt')));

function programOf(backend: string, rules: string, order: string): Program {
  const native = NATIVE[rules];
  const nftBackend = backend === 'libvirt-11-nftables';
  const libvirts = nftBackend ? LIBVIRT_NFT : LIBVIRT_IPTABLES;
  if (rules === 'none') return libvirts;
  if (native !== undefined) return joinPrograms([libvirts, compileNft(native)]);
  const wiped = order.includes('restore flush');
  const admin = compileIptables(adminRules(rules, !nftBackend && !wiped));
  return nftBackend ? joinPrograms([admin, LIBVIRT_NFT]) : admin;
}

/** `admin.rules | rules first, then net-start           : dhcp=ok dns=ok host-ping=ok outside(NAT)=ok inbound-new=FAIL` */
const LINE =
  /^(?<rules>\S+?)(?: \| (?<order>.*?)\s*|, libvirt only): dhcp=(?<dhcp>\w+) dns=(?<dns>\w+) \S+ outside\(NAT\)=(?<out>\w+) /;

interface Measured {
  readonly backend: string;
  readonly rules: string;
  readonly order: string;
  readonly dhcp: string;
  readonly dns: string;
  readonly out: string;
}

const MEASURED: readonly Measured[] = [
  'libvirt-9.0-iptables-nft',
  'libvirt-9.0-iptables-legacy',
  'libvirt-11-iptables',
  'libvirt-11-nftables',
].flatMap((backend) =>
  read(`${backend}/traffic-matrix.txt`)
    .split('\n')
    .map((line) => LINE.exec(line)?.groups)
    .filter((groups) => groups !== undefined)
    .map((groups) => ({ backend, order: '', ...groups }) as unknown as Measured),
);

describe('what a real guest got through', () => {
  it('was measured for every set of rules', () => {
    expect(MEASURED.length).toBe(17 + 9 + 17 + 17);
  });

  it.each(MEASURED)('with $backend, $rules, $order: dhcp $dhcp, dns $dns, outside $out', (measured) => {
    const found = blocked(programOf(measured.backend, measured.rules, measured.order));
    const fate = (...kinds: readonly string[]): string =>
      found.some(({ kind }) => kinds.includes(kind)) ? 'FAIL' : 'ok';
    expect({
      dhcp: fate('dhcp', 'dhcp-reply'),
      dns: fate('dns', 'dns-reply'),
      out: fate('out', 'back'),
    }).toEqual({ dhcp: measured.dhcp, dns: measured.dns, out: measured.out });
    expect(found.every(({ certain }) => certain)).toBe(true);
  });

  it.each(['libvirt-9.0-iptables-nft', 'libvirt-11-iptables', 'libvirt-11-nftables'])(
    'was stopped by the chains that counted, with %s',
    (backend) => {
      const counters = read(`${backend}/traffic-inet-drop.nft.counters.txt`);
      expect(counters).toContain('admin drops (input)');
      expect(counters).toContain('admin drops (forward)');
      const chains = blocked(programOf(backend, 'inet-drop.nft', '')).map(
        ({ baseChain }) => `${baseChain.table} ${baseChain.chain}`,
      );
      expect(new Set(chains)).toEqual(new Set(['filter input', 'filter forward']));
    },
  );
});

describe('a finding', () => {
  const inTheWay = blocked(programOf('libvirt-9.0-iptables-nft', 'inet-drop.nft', ''));

  it('names base chain, policy and the rule that opens it', () => {
    expect(inTheWay.find(({ kind }) => kind === 'dhcp')).toMatchObject({
      network: 'default',
      stop: 'drop',
      certain: true,
      owner: undefined,
      baseChain: {
        engine: 'nft',
        family: 'inet',
        table: 'filter',
        chain: 'input',
        hook: 'input',
        priority: 0,
        policy: 'drop',
      },
      decidedBy: { table: 'filter', chain: 'input' },
      opening: { command: 'nft insert rule inet filter input iifname "virbr0" udp dport 67 accept' },
    });
    expect(inTheWay.map(({ kind, opening }) => [kind, opening.rule])).toContainEqual([
      'out',
      'iifname "virbr0" ip saddr 192.168.122.0/24 accept',
    ]);
  });

  it('names the rule and whose it is', () => {
    const ruleset = adminRules('admin.rules', false);
    const found = blocked(compileIptables(ruleset), { classified: [classify(ruleset, [DEFAULT])] });
    expect(found.find(({ kind }) => kind === 'out')).toMatchObject({
      stop: 'reject',
      owner: 'user',
      decidedBy: {
        chain: 'FORWARD',
        index: 0,
        text: '-A FORWARD -m comment --comment "admin fwd" -j REJECT --reject-with icmp-host-prohibited',
      },
      opening: { command: 'iptables -I FORWARD -s 192.168.122.0/24 -i virbr0 -j ACCEPT' },
    });
  });

  it('stands for every base chain in the way, not for the first only', () => {
    const program = joinPrograms([compileNft(inetDrop(-10)), iptables([], { policies: { FORWARD: 'DROP' } })]);
    const chains = blocked(program)
      .filter(({ kind }) => kind === 'out')
      .map(({ baseChain }) => `${baseChain.family} ${baseChain.chain}`);
    expect(chains).toEqual(['inet forward', 'ip FORWARD']);
  });

  it('is not certain where something unknown decides', () => {
    const program = iptables(['-A FORWARD -m recent --rcheck --name x -j DROP']);
    expect(blocked(program).filter(({ kind }) => kind === 'out')).toMatchObject([{ certain: false, stop: 'drop' }]);
  });

  it("goes to DOCKER-USER where Docker's policy drops", () => {
    const program = iptables(
      ['-A FORWARD -j DOCKER-USER', '-A FORWARD -o docker0 -j ACCEPT', '-A DOCKER-USER -j RETURN'],
      {
        policies: { FORWARD: 'DROP' },
      },
    );
    expect(blocked(program).find(({ kind }) => kind === 'out')?.opening.command).toBe(
      'iptables -I DOCKER-USER -s 192.168.122.0/24 -i virbr0 -j ACCEPT',
    );
  });

  it('on guest to guest says that it matters only with br_netfilter, and is not there without', () => {
    const program = iptables([], { policies: { FORWARD: 'DROP' } });
    expect(blocked(program, { bridgeNetfilter: true }).find(({ kind }) => kind === 'guests')).toMatchObject({
      onlyIf: 'br_netfilter',
    });
    expect(blocked(program).some(({ kind }) => kind === 'guests')).toBe(false);
  });

  it.each(Object.keys(NATIVE).filter((name) => !name.includes('allow')))(
    'with its openings typed in leaves nothing blocked (%s)',
    (name) => {
      const openings = blocked(programOf('libvirt-11-nftables', name, ''), { bridgeNetfilter: true }).map(
        ({ opening }) => opening,
      );
      const opened = openings.reduce(
        (text, { chain, rule }) => text.replace(new RegExp(`(chain ${chain} \\{\\n.*\\n)`), `$1    ${rule}\n`), // chain input {
        NATIVE[name] ?? '',
      );
      expect(openings.length).toBeGreaterThan(3);
      expect(blocked(joinPrograms([LIBVIRT_NFT, compileNft(opened)]), { bridgeNetfilter: true })).toEqual([]);
    },
  );

  it('with its iptables openings leaves nothing blocked', () => {
    const closed = { policies: { INPUT: 'DROP', FORWARD: 'DROP', OUTPUT: 'DROP' } };
    const openings = blocked(iptables([], closed), { bridgeNetfilter: true }).map(({ opening }) => opening.rule);
    expect(openings).toContain(
      '-A FORWARD -d 192.168.122.0/24 -o virbr0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
    );
    expect(blocked(iptables(openings, closed), { bridgeNetfilter: true })).toEqual([]);
  });
});

describe('which traffic is asked about', () => {
  const closed = joinPrograms(
    (['ip', 'ip6'] as const).map((family) => iptables([], { family, policies: { INPUT: 'DROP', FORWARD: 'DROP' } })),
  );
  const kinds = (network: Partial<Network>): string[] => [
    ...new Set(blocked(closed, { networks: [{ ...DEFAULT, ...network }] }).map(({ kind }) => kind)),
  ];

  it.each([
    ['a NAT network', {}, ['dhcp', 'dns', 'out', 'back']],
    ['a routed network', { forwardMode: 'route' }, ['dhcp', 'dns', 'out', 'back', 'in']],
    ['an isolated network', { forwardMode: 'isolated' }, ['dhcp', 'dns']],
    ['a network libvirt writes no rules for', { forwardMode: 'open' }, []],
    ['a network that does not run', { active: false }, []],
    ['a network without bridge', { bridge: undefined }, []],
    [
      'IPv6, which is routed where nothing else is said',
      { addresses: [{ family: 'ip6', cidr: 'fd00:123::/64', host: 'fd00:123::1', dhcp: true, tftp: false }] },
      ['dhcp', 'dns', 'out', 'back', 'in'],
    ],
  ] as const)('%s', (_, network, expected) => {
    expect(kinds(network as Partial<Network>)).toEqual(expected);
  });
});
