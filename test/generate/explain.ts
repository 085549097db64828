// Random rulesets and packets for the packet evaluator: only what a router between 10.1.0.0/24 (in0) and 10.2.0.0/24
// (out0) may see, so that most rules match some packet.

import fc from 'fast-check';
import type { PacketSpec } from '../../src/explain/packet.ts';
import type { Family } from '../../src/ruleset/types.ts';

export interface ExplainWorld {
  /** iptables-restore texts. */
  readonly iptables: Readonly<Record<Family, string>>;
  readonly engine: 'nft' | 'legacy';
  /** A file for `nft -f`. */
  readonly native: string;
  readonly packets: readonly SentPacket[];
}

export interface SentPacket {
  readonly journey: 'forward' | 'input' | 'output';
  readonly packet: PacketSpec;
}

const HOSTS = [2, 5, 6, 9, 33];
const net = (family: Family, n: 1 | 2, host: number): string =>
  family === 'ip' ? `10.${n}.0.${host}` : `fd0${n}::${host.toString(16)}`;
const pick = fc.constantFrom;
const port = pick(22, 53, 80, 443, 1024, 1500, 2000);
/** Weighted choice: `[weight, value]`. */
const choose = <T>(...options: readonly [number, fc.Arbitrary<T>][]): fc.Arbitrary<T> =>
  fc.oneof(...options.map(([weight, arbitrary]) => ({ weight, arbitrary })));

const subnets = (family: Family): fc.Arbitrary<string> =>
  family === 'ip'
    ? pick(
        '10.1.0.0/24',
        '10.2.0.0/24',
        '10.2.0.4/30',
        '10.1.0.0/29',
        '10.2.0.5/32',
        '10.1.0.1/32',
        '10.0.0.5/255.0.0.255',
      )
    : pick('fd01::/64', 'fd02::/64', 'fd02::4/126', 'fd01::/125', 'fd02::5/128', 'fd01::1/128');

const negation = choose<string>([4, fc.constant('')], [1, fc.constant('! ')]);
const phrase = (text: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc.tuple(negation, text).map(([no, said]) => no + said);

// ---- iptables

const iptablesPorts = (protocol: string): fc.Arbitrary<string> =>
  choose(
    [3, phrase(port.map((number) => `--dport ${number}`)).map((said) => `-p ${protocol} -m ${protocol} ${said}`)],
    [
      1,
      phrase(pick('--dport 1000:2000', '--sport 30000:39999', '--dport :80', '--sport 35000:')).map(
        (said) => `-p ${protocol} -m ${protocol} ${said}`,
      ),
    ],
    [
      1,
      phrase(pick('--dports 22,80', '--dports 53,1000:1600', '--ports 443,80', '--sports 30000:34999')).map(
        (said) => `-p ${protocol} -m multiport ${said}`,
      ),
    ],
  );

const icmpName = (family: Family): string => (family === 'ip' ? 'icmp' : 'ipv6-icmp');

const iptablesProtocol = (family: Family): fc.Arbitrary<string> =>
  choose<string>(
    [3, iptablesPorts('tcp')],
    [3, iptablesPorts('udp')],
    [1, pick('-p tcp', '-p udp', '! -p tcp', `-p ${icmpName(family)}`)],
    [1, phrase(pick('--syn', '--tcp-flags SYN,ACK ACK', '--tcp-flags RST RST')).map((said) => `-p tcp -m tcp ${said}`)],
    [
      1,
      phrase(
        family === 'ip'
          ? pick('--icmp-type echo-request', '--icmp-type 8/0', '--icmp-type 13', '--icmp-type any')
          : pick('--icmpv6-type echo-request', '--icmpv6-type 129', '--icmpv6-type 128/0'),
      ).map((said) => `-p ${icmpName(family)} -m ${family === 'ip' ? 'icmp' : 'icmp6'} ${said}`),
    ],
  );

const iptablesExtra = (family: Family): fc.Arbitrary<string> =>
  choose<string>(
    [
      3,
      phrase(
        pick(
          '--ctstate NEW',
          '--ctstate RELATED,ESTABLISHED',
          '--ctstate INVALID',
          '--ctstate NEW,DNAT',
          '--ctstate DNAT',
          '--ctstate UNTRACKED',
        ),
      ).map((said) => `-m conntrack ${said}`),
    ],
    [1, pick('-m state --state NEW', '-m state --state INVALID,UNTRACKED')],
    [2, phrase(pick('--mark 0x1', '--mark 0x1/0x3', '--mark 0x0/0x2', '--mark 0x5')).map((said) => `-m mark ${said}`)],
    [1, phrase(pick('--mark 0x2', '--mark 0x0')).map((said) => `-m connmark ${said}`)],
    [
      1,
      phrase(
        pick(
          `--src-range ${net(family, 1, 2)}-${net(family, 1, 6)}`,
          `--dst-range ${net(family, 2, 5)}-${net(family, 2, 9)}`,
        ),
      ).map((said) => `-m iprange ${said}`),
    ],
    [1, phrase(pick('--dst-type LOCAL', '--src-type LOCAL')).map((said) => `-m addrtype ${said}`)],
    [1, phrase(pick('--length 0:45', '--length 48', '--length 52:200')).map((said) => `-m length ${said}`)],
    [1, pick('-m limit --limit 1/hour --limit-burst 1', '-m statistic --mode random --probability 0.5')],
    [1, fc.constant('-m comment --comment "a -j DROP in words"')],
    [
      1,
      phrase(pick(`--ctorigdst ${net(family, 2, 5)}`, `--ctorigdst ${net(family, 1, 1)}`)).map(
        (said) => `-m conntrack ${said}`,
      ),
    ],
  );

const INTERFACES: Readonly<Record<string, fc.Arbitrary<string>>> = {
  PREROUTING: pick('-i in0', '-i in+', '! -i in0', '-i out0'),
  INPUT: pick('-i in0', '-i i+', '! -i in0', '-i out0'),
  FORWARD: pick('-i in0', '-o out0', '-i in0 -o out0', '! -i in0', '! -o out0', '-o o+'),
  OUTPUT: pick('-o out0', '! -o out0', '-o out+', '-o in0'),
  POSTROUTING: pick('-o out0', '! -o out0', '-o in0'),
};

function iptablesMatches(family: Family, chain: string): fc.Arbitrary<string[]> {
  const maybe = (weight: number, arbitrary: fc.Arbitrary<string>): fc.Arbitrary<string> =>
    choose([weight, arbitrary], [10 - weight, fc.constant('')]);
  return fc
    .tuple(
      maybe(3, phrase(subnets(family).map((subnet) => `-s ${subnet}`))),
      maybe(3, phrase(subnets(family).map((subnet) => `-d ${subnet}`))),
      maybe(3, INTERFACES[chain] ?? fc.constant('')),
      maybe(4, iptablesProtocol(family)),
      maybe(4, iptablesExtra(family)),
    )
    .map((parts) => parts.filter((part) => part !== ''));
}

const own = (table: string): readonly string[] => [`${table}A`, `${table}B`];

function iptablesTarget(family: Family, table: string, chain: string): fc.Arbitrary<string> {
  const jumps = chain.endsWith('B') ? [] : chain.endsWith('A') ? [`${table}B`] : own(table);
  const jump: [number, fc.Arbitrary<string>][] =
    jumps.length === 0
      ? []
      : [
          [3, pick(...jumps).map((name) => `-j ${name}`)],
          [1, pick(...jumps).map((name) => `-g ${name}`)],
        ];
  const plain: [number, fc.Arbitrary<string>][] = [[2, fc.constant('-j RETURN')], [1, fc.constant('')], ...jump];
  if (table === 'nat') return choose(...natTargets(family, chain), ...plain);
  const marks = pick(
    '-j MARK --set-xmark 0x1/0xffffffff',
    '-j MARK --set-xmark 0x2/0x2',
    '-j CONNMARK --set-xmark 0x2/0xffffffff',
    '-j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff',
    '-j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff',
  );
  if (table === 'mangle')
    return choose([4, marks], [2, fc.constant('-j ACCEPT')], [1, fc.constant('-j DROP')], ...plain);
  if (table === 'raw')
    return choose(
      [2, fc.constant('-j CT --notrack')],
      [2, fc.constant('-j ACCEPT')],
      [1, fc.constant('-j DROP')],
      ...plain,
    );
  return choose(
    [5, fc.constant('-j ACCEPT')],
    [2, fc.constant('-j DROP')],
    [1, fc.constant('-j REJECT')],
    [1, fc.constant('-j MARK --set-xmark 0x1/0xffffffff')],
    ...plain,
  );
}

function natTargets(family: Family, chain: string): [number, fc.Arbitrary<string>][] {
  const boxed = (address: string, number: number): string =>
    family === 'ip' ? `${address}:${number}` : `[${address}]:${number}`;
  const dnat = pick(
    `-j DNAT --to-destination ${net(family, 2, 6)}`,
    `-p tcp -j DNAT --to-destination ${boxed(net(family, 2, 9), 80)}`,
    '-p udp -j REDIRECT --to-ports 53',
    '-j REDIRECT',
    `-j DNAT --to-destination ${net(family, 2, 5)}`,
  );
  const snat = pick(
    '-j MASQUERADE',
    `-j SNAT --to-source ${net(family, 2, 1)}`,
    '-p tcp -j MASQUERADE --to-ports 40000-50000',
  );
  if (chain === 'PREROUTING' || chain === 'OUTPUT') return [[4, dnat]];
  if (chain === 'POSTROUTING') return [[4, snat]];
  return [[1, fc.constant('-j ACCEPT')]];
}

const BUILTIN: Readonly<Record<string, readonly string[]>> = {
  raw: ['PREROUTING', 'OUTPUT'],
  mangle: ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'],
  nat: ['PREROUTING', 'OUTPUT', 'POSTROUTING'],
  filter: ['INPUT', 'FORWARD', 'OUTPUT'],
};

/** A target may bring a `-p` of its own, and a reset needs tcp: then the matches say no other. */
function joinRule(chain: string, matches: readonly string[], target: string): string {
  const kept = matches.filter((match) => !(target.startsWith('-p') && /^(?:! )?-p /.test(match))); // ! -p tcp
  return ['-A', chain, ...kept, target].filter((part) => part !== '').join(' ');
}

function iptablesTable(family: Family, table: string): fc.Arbitrary<string> {
  const builtin = BUILTIN[table] ?? [];
  const rules = (chain: string, most: number): fc.Arbitrary<string[]> =>
    fc.array(
      fc
        .tuple(iptablesMatches(family, chain), iptablesTarget(family, table, chain))
        .map(([matches, target]) => joinRule(chain, matches, target)),
      { maxLength: most },
    );
  const policies = fc.array(choose<string>([6, fc.constant('ACCEPT')], [1, fc.constant('DROP')]), {
    minLength: 5,
    maxLength: 5,
  });
  return fc
    .tuple(policies, ...builtin.map((chain) => rules(chain, 6)), ...own(table).map((chain) => rules(chain, 4)))
    .map(([chosen, ...lists]) => [
      `*${table}`,
      ...builtin.map((chain, at) => `:${chain} ${table === 'filter' ? chosen[at] : 'ACCEPT'} [0:0]`),
      ...own(table).map((chain) => `:${chain} - [0:0]`),
      ...lists.flat(),
      'COMMIT',
      '',
    ])
    .map((lines) => lines.join('\n'));
}

const emptyTable = (table: string): string =>
  [`*${table}`, ...(BUILTIN[table] ?? []).map((chain) => `:${chain} ACCEPT [0:0]`), 'COMMIT', ''].join('\n');

const iptablesText = (family: Family): fc.Arbitrary<string> =>
  fc
    .tuple(
      ...['raw', 'mangle', 'nat', 'filter'].map((table) =>
        choose([3, iptablesTable(family, table)], [1, fc.constant(emptyTable(table))]),
      ),
    )
    .map((tables) => tables.join(''));

// ---- native nft

const nftPort = (word: 'dport' | 'sport'): fc.Arbitrary<string> =>
  word === 'dport'
    ? pick('80', '!= 80', '1000-2000', '{ 22, 53, 80 }', '!= { 22, 443 }', '{ 1-100, 1500 }', '@ports', '< 100')
    : pick('30000-34999', '!= 30000-34999', '>= 35000');

const nftAddress = (family: Family): fc.Arbitrary<string> =>
  fc
    .tuple(
      pick('saddr', 'daddr'),
      family === 'ip'
        ? pick(
            '10.1.0.0/24',
            '!= 10.1.0.0/29',
            '10.2.0.5',
            '{ 10.2.0.5, 10.2.0.8/29 }',
            '10.2.0.2-10.2.0.6',
            '@hosts',
            '10.1.0.1',
          )
        : pick('fd01::/64', '!= fd01::/125', 'fd02::5', '{ fd02::5, fd02::8/125 }', 'fd02::2-fd02::6', 'fd01::1'),
    )
    .filter(([, said]) => said !== '@hosts' || family === 'ip')
    .map(([word, said]) => `${family} ${word} ${said}`);

const nftMatch = (hook: string): fc.Arbitrary<string> =>
  choose<string>(
    [
      4,
      fc
        .tuple(pick('tcp', 'udp'), pick('dport', 'dport', 'sport'))
        .chain(([protocol, word]) => nftPort(word as 'dport').map((said) => `${protocol} ${word} ${said}`)),
    ],
    [2, nftAddress('ip')],
    [2, nftAddress('ip6')],
    [
      1,
      pick(
        'iifname "in0"',
        'iifname != "in0"',
        'iifname "in*"',
        'oifname "out0"',
        'oifname != "out0"',
        'oifname { "out0", "lo" }',
        'iif "in0"',
        'oif "out0"',
        'iif != "out0"',
      ),
    ],
    [
      2,
      pick(
        'ct state new',
        'ct state established,related',
        'ct state { new, established }',
        'ct state != new',
        'ct state invalid',
        'ct status dnat',
        'ct state untracked',
        'ct mark 0x2',
      ),
    ],
    [
      1,
      pick(
        'meta l4proto tcp',
        'meta l4proto { icmp, ipv6-icmp }',
        'meta l4proto != udp',
        'ip protocol udp',
        'ip6 nexthdr tcp',
        'meta nfproto ipv4',
        'meta nfproto != ipv4',
      ),
    ],
    [1, pick('icmp type echo-request', 'icmpv6 type { echo-request, echo-reply }', 'icmp type != echo-request')],
    [
      1,
      pick(
        'tcp flags syn',
        'tcp flags & (syn | ack) == ack',
        'tcp flags != syn',
        'tcp flags & rst == rst',
        'tcp flags ! ack',
      ),
    ],
    [1, pick('meta mark 0x1', 'meta mark != 0x1', 'meta mark & 0x3 == 0x1', 'meta length < 45')],
    [1, pick('limit rate 1/hour burst 1 packets', 'numgen random mod 2 0')],
    [
      1,
      pick('ip daddr . tcp dport { 10.2.0.5 . 80, 10.2.0.6 . 22 }', 'meta l4proto . th dport { tcp . 22, udp . 53 }'),
    ],
    [1, pick('fib daddr type local', 'fib daddr type != local')],
  ).filter(
    (said) =>
      !(hook === 'prerouting' && said.startsWith('oif ')) &&
      !(hook === 'input' && said.startsWith('oif ')) &&
      !(hook === 'output' && said.startsWith('iif ')),
  );

/** nft refuses a rule that asks for two protocols or families at once. */
function agree(matches: readonly string[]): boolean {
  const said = matches.join(' ');
  const families = new Set([/\bip |\bicmp |ipv4/.test(said) && 'ip', /\bip6 |icmpv6 |ipv6\b/.test(said) && 'ip6']); // ip saddr ...
  const protocols = new Set((said.match(/\b(?:tcp|udp|icmp|icmpv6)\b|l4proto/g) ?? []) as string[]); // tcp dport 22
  families.delete(false);
  return families.size < 2 && (matches.length < 2 || protocols.size < 2);
}

const nftVerdict = (jumps: readonly string[]): fc.Arbitrary<string> =>
  choose<string>(
    [5, fc.constant('accept')],
    [2, fc.constant('drop')],
    [2, pick('return', 'continue', '', 'meta mark set 0x1', 'ct mark set 0x2', 'meta mark set ct mark', 'log')],
    ...(jumps.length === 0
      ? []
      : [
          [3, pick(...jumps.flatMap((name) => [`jump ${name}`, `jump ${name}`, `goto ${name}`]))] as [
            number,
            fc.Arbitrary<string>,
          ],
        ]),
  );

const vmap = (jumps: readonly string[]): fc.Arbitrary<string> => {
  const verdict = pick('accept', 'drop', 'return', 'continue', ...jumps.map((name) => `jump ${name}`));
  return fc
    .tuple(verdict, verdict)
    .chain(([a, b]) =>
      pick(
        `tcp dport vmap { 22 : ${a}, 80 : ${b}, 1000-2000 : accept }`,
        `ct state vmap { new : ${a}, established : ${b} }`,
        `iifname vmap { "in0" : ${a}, "out0" : ${b} }`,
        `meta l4proto vmap { tcp : ${a}, udp : ${b} }`,
      ),
    );
};

/** Ends the rule where there is nothing to read: what was counted before would not tell. */
const READS = new Set(['meta mark set ct mark']);

const nftRule = (hook: string, jumps: readonly string[], rejects: boolean): fc.Arbitrary<string> =>
  choose(
    [
      9,
      fc
        .tuple(fc.array(nftMatch(hook), { maxLength: 2 }).filter(agree), nftVerdict(jumps))
        .map(([matches, verdict]) =>
          [...matches, ...(READS.has(verdict) ? [verdict, 'counter'] : ['counter', verdict])].join(' ').trim(),
        ),
    ],
    [1, vmap(jumps)],
    [rejects ? 1 : 0, nftMatch(hook).map((match) => `${match} counter reject`)],
  );

const HOOKS = ['prerouting', 'input', 'forward', 'output', 'postrouting'] as const;

const filterBase = (table: string, number: number): fc.Arbitrary<string> =>
  pick(...HOOKS, 'forward', 'input', 'output').chain((hook) => {
    const rejects = hook === 'input' || hook === 'forward' || hook === 'output';
    return fc
      .tuple(
        pick(-310, -290, -250, -160, -150, -90, -50, 0, 0, 10, 60, 110),
        choose<string>([6, fc.constant('accept')], [1, fc.constant('drop')]),
        fc.array(nftRule(hook, [`${table}sub`], rejects), { maxLength: 5 }),
      )
      .map(([priority, policy, rules]) =>
        chainText(`c${number}`, [`type filter hook ${hook} priority ${priority}; policy ${policy};`, ...rules]),
      );
  });

const natBase = (number: number): fc.Arbitrary<string> =>
  pick('prerouting', 'output', 'postrouting').chain((hook) => {
    const targets =
      hook === 'postrouting'
        ? ['masquerade', 'ip saddr 10.1.0.0/24 counter snat ip to 10.2.0.1']
        : [
            'counter redirect',
            'tcp dport 22 counter redirect to :80',
            'ip daddr 10.2.0.5 counter dnat ip to 10.2.0.6',
            'ip6 daddr fd02::5 counter dnat ip6 to fd02::6',
          ];
    const rule = fc
      .tuple(nftMatch(hook), pick(...targets))
      .map(([match, target]) => (target.includes('counter') ? target : `${match} counter ${target}`));
    return fc
      .tuple(pick(-110, -100, -90, 0, 90, 110), fc.array(rule, { maxLength: 2 }))
      .map(([priority, rules]) =>
        chainText(`n${number}`, [`type nat hook ${hook} priority ${priority}; policy accept;`, ...rules]),
      );
  });

const chainText = (name: string, lines: readonly string[]): string =>
  [`  chain ${name} {`, ...lines.map((line) => `    ${line}`), '  }'].join('\n');

const SETS =
  '  set ports { type inet_service; flags interval; elements = { 22, 1000-1600 }; }\n  set hosts { type ipv4_addr; flags interval; elements = { 10.2.0.5, 10.2.0.8/29, 10.1.0.1 }; }';

/** Every hook's chains may jump to it, so it names no interface by index and rejects nothing. */
const subChain = (table: string): fc.Arbitrary<string> =>
  fc.array(nftRule('output', [], false), { maxLength: 4 }).map((rules) =>
    chainText(
      `${table}sub`,
      rules.map((rule) => rule.replace(/[io]if (!= )?"\w+" /, '')),
    ),
  ); // iif "in0"

const inetTable = (table: string): fc.Arbitrary<string> =>
  fc
    .tuple(
      subChain(table),
      filterBase(table, 1),
      filterBase(table, 2),
      filterBase(table, 3),
      choose([1, natBase(4)], [2, fc.constant('')]),
    )
    .map((chains) => [`table inet ${table} {`, SETS, ...chains, '}', ''].join('\n'));

const native: fc.Arbitrary<string> = fc.tuple(inetTable('one'), inetTable('two')).map((tables) => tables.join('\n'));

// ---- packets

function packetFrom(journey: SentPacket['journey'], family: Family): fc.Arbitrary<PacketSpec> {
  const host = pick(...HOSTS);
  const src = journey === 'output' ? fc.constant(net(family, 2, 1)) : host.map((number) => net(family, 1, number));
  const dst = journey === 'input' ? fc.constant(net(family, 1, 1)) : host.map((number) => net(family, 2, number));
  const names =
    journey === 'output' ? { oif: 'out0' } : journey === 'input' ? { iif: 'in0' } : { iif: 'in0', oif: 'out0' };
  return fc
    .tuple(src, dst, transport(family))
    .map(([from, to, rest]) => ({ family, ...names, src: from, dst: to, ...rest }));
}

/** Flags -> the state conntrack gives a flow that begins so (nf_conntrack_proto_tcp.c, with tcp_loose = 1). */
const FLAGS: readonly (readonly [readonly string[], 'new' | 'invalid'])[] = [
  [['syn'], 'new'],
  [['syn'], 'new'],
  [['ack'], 'new'],
  [['syn', 'ack'], 'invalid'],
  [['rst'], 'invalid'],
];

function transport(family: Family): fc.Arbitrary<Omit<PacketSpec, 'family'>> {
  const header = family === 'ip' ? 20 : 40;
  const udp = port.map((dport) => ({ protocol: 'udp', dport, ctState: 'new' as const, length: header + 20 }));
  const tcp = fc
    .tuple(port, pick(...FLAGS))
    .map(([dport, [tcpFlags, ctState]]) => ({ protocol: 'tcp', dport, tcpFlags, ctState, length: header + 20 }));
  const icmp = fc.constant({
    protocol: family === 'ip' ? 'icmp' : 'icmpv6',
    icmpType: family === 'ip' ? '8' : '128',
    icmpCode: 0,
    ctState: 'new' as const,
    length: header + 20,
  });
  return fc.oneof(udp, tcp, icmp);
}

const sentPacket: fc.Arbitrary<SentPacket> = fc
  .tuple(pick('forward', 'forward', 'input', 'output'), pick<Family>('ip', 'ip6'))
  .chain(([journey, family]) => packetFrom(journey, family).map((packet) => ({ journey, packet })));

/** One ruleset of each kind, and packets for it. Ports are not set where each packet needs its own (`sport`). */
export const explainWorld = (packets: number): fc.Arbitrary<ExplainWorld> =>
  fc.record({
    iptables: fc.record({ ip: iptablesText('ip'), ip6: iptablesText('ip6') }),
    engine: pick('nft', 'legacy'),
    native,
    packets: fc.array(sentPacket, { minLength: packets, maxLength: packets }),
  });
