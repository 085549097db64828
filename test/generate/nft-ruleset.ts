// Native rulesets that the kernel takes, as text for `nft -f` in the form nft prints: tables of several families with
// sets, maps, named objects, base and regular chains.

import fc from 'fast-check';

type Family = 'ip' | 'ip6' | 'inet';

const families: readonly Family[] = ['ip', 'ip6', 'inet'];

/** Text in quotes: braces, signs of comments, handles, all but the quote itself. */
const quoted = fc
  .array(fc.constantFrom('a', 'Z', ' ', '{', '}', '#', ';', ',', ':', "'", '\\', '# handle 7', 'é', '@'), {
    minLength: 1,
    maxLength: 8,
  })
  .map((pieces) => `"${pieces.join('').slice(0, 20)}"`);

const v4 = fc.nat(250).chain((n) => fc.constantFrom(`10.${n}.1.2`, `10.${n}.0.0/16`, `10.${n}.0.5-10.${n}.0.9`));
const v6 = fc.nat(250).chain((n) => fc.constantFrom(`fd00:${n + 1}::7`, `fd00:${n + 1}::/64`));
const port = fc.integer({ min: 1, max: 60_000 });
const interfaceName = fc.constantFrom('"eth0"', '"virbr*"', '"wg0"', '"a;b"', '"x}y"');

const oneOrSet = (value: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc.oneof(
    value,
    value.map((each) => `!= ${each}`),
    fc.uniqueArray(value, { minLength: 1, maxLength: 5 }).map((values) => `{ ${values.join(', ')} }`),
  );

/** Numbers of different tens, so that no two overlap. */
const spread = fc.uniqueArray(fc.nat(200), { minLength: 1, maxLength: 12 });

/** At most one of them in a rule: nft refuses `udp sport 1 tcp dport 2`. */
const transport = fc.oneof(
  fc.constantFrom('meta l4proto { tcp, udp } th dport 53', 'tcp dport @ports', 'tcp dport . meta mark @pairs'),
  oneOrSet(port.map(String)).map((value) => `tcp dport ${value}`),
  fc.tuple(port, fc.nat(5000)).map(([from, more]) => `udp sport ${from}-${from + more}`),
  fc.constantFrom('tcp flags & (fin|syn|rst|ack) == syn', 'tcp flags syn', 'tcp dport >= 1024'),
);

const addresses: Readonly<Record<Family, fc.Arbitrary<string>>> = {
  ip: fc.oneof(
    v4.map((address) => `ip saddr ${address}`),
    fc.constant('ip daddr @nets'),
  ),
  ip6: fc.oneof(
    v6.map((address) => `ip6 daddr ${address}`),
    fc.constant('ip6 saddr @nets'),
  ),
  inet: fc.oneof(
    v4.map((address) => `ip daddr != ${address}`),
    fc.constant('ip saddr @nets'),
  ),
};

const anyPacket = fc.oneof(
  oneOrSet(interfaceName).map((value) => `iifname ${value}`),
  fc.nat(255).map((mark) => `meta mark ${mark}`),
  fc.nat(255).map((mark) => `meta mark & 0xff == ${mark}`),
  fc.constantFrom('iif "lo"', 'oif != "lo"', 'fib daddr type local'),
  fc.constantFrom(
    'ct state established,related',
    'ct state != { new, invalid }',
    'ct status dnat',
    'ct direction original',
  ),
);

const matches = (family: Family): fc.Arbitrary<string[]> =>
  fc
    .tuple(
      fc.array(anyPacket, { maxLength: 2 }),
      fc.option(addresses[family], { nil: '' }),
      fc.option(transport, { nil: '' }),
    )
    .map(([some, address, port]) => [...some, address, port]);

const statement = fc.oneof(
  fc.constantFrom('counter', 'counter packets 5 bytes 600', 'log', 'limit rate 10/second burst 6 packets'),
  fc.constantFrom('counter name "hits"', 'quota name "much"', 'limit name "slow"'),
  fc.constantFrom(
    'limit rate over 1 mbytes/second',
    'quota over 5 mbytes',
    'meta mark set 0x17',
    'ct mark set meta mark',
  ),
  quoted.map((prefix) => `log prefix ${prefix} level info`),
  fc.constant('update @seen { meta mark timeout 10s }'),
);

const verdict = (jumps: readonly string[]): fc.Arbitrary<string> =>
  fc.oneof(
    fc.constantFrom('accept', 'drop', 'return', 'continue', 'reject', ''),
    fc.constantFrom('meta mark vmap @doors', 'ct state vmap { established : accept, invalid : drop }'),
    ...(jumps.length === 0 ? [] : [fc.constantFrom(...jumps).map((chain) => `jump ${chain}`)]),
  );

/** Any rule a filter chain of this family takes. */
function rule(family: Family, jumps: readonly string[]): fc.Arbitrary<string> {
  return fc
    .tuple(
      matches(family),
      fc.array(statement, { maxLength: 2 }),
      verdict(jumps),
      fc.option(quoted, { nil: undefined, freq: 3 }),
    )
    .map(([conditions, statements, last, comment]) => {
      const words = [...conditions, ...statements, last].filter((word) => word !== '');
      if (words.length === 0) words.push('counter');
      return [...words, ...(comment === undefined ? [] : [`comment ${comment}`])].join(' ');
    });
}

const block = (head: string, lines: readonly string[]): string =>
  `\t${head} {\n${lines.map((line) => `\t\t${line}\n`).join('')}\t}\n`;

function sets(family: Family): fc.Arbitrary<string[]> {
  const network = (n: number): string => (family === 'ip6' ? `fd01:${n}::/64` : `10.${n}.0.0/16`);
  return fc
    .tuple(spread, spread, spread, fc.boolean(), quoted)
    .map(([nets, ports, doors, withTimeout, comment]) => [
      block('set nets', [
        `type ${family === 'ip6' ? 'ipv6_addr' : 'ipv4_addr'}`,
        `flags interval${withTimeout ? ',timeout' : ''}`,
        `comment ${comment}`,
        `elements = { ${nets.map((n) => network(n + 1) + (withTimeout ? ` timeout ${n + 1}h` : '')).join(', ')} }`,
      ]),
      block('set ports', ['type inet_service', 'counter', `elements = { ${ports.map((n) => n + 1).join(', ')} }`]),
      block('set pairs', [
        'typeof tcp dport . meta mark',
        'size 500',
        `elements = { ${ports.map((n) => `${n} . ${n}`).join(', ')} }`,
      ]),
      block('set seen', ['type mark', 'size 100', 'flags dynamic,timeout', 'timeout 1m']),
      block('map doors', [
        'type mark : verdict',
        `elements = { ${doors.map((n) => `${n} : ${n % 2 === 0 ? 'accept' : 'drop'}`).join(', ')} }`,
      ]),
      block('counter hits', ['packets 7 bytes 99']),
      block('quota much', ['over 10 mbytes']),
      block('limit slow', ['rate 3/minute burst 9 packets']),
    ]);
}

const priority = fc.constantFrom('filter', 'filter - 5', 'mangle', '-450', 'security + 1');
const HOOKS = ['input', 'forward', 'output', 'prerouting'];

function chains(family: Family, names: readonly string[]): fc.Arbitrary<string[]> {
  const regular = names.map((name, index) =>
    fc.array(rule(family, names.slice(index + 1)), { maxLength: 6 }).map((rules) => block(`chain ${name}`, rules)),
  );
  const base = fc
    .tuple(
      fc.constantFrom(...HOOKS),
      priority,
      fc.constantFrom('accept', 'drop'),
      fc.array(rule(family, names), { maxLength: 12 }),
    )
    .map(([hook, at, policy, rules]) => [`type filter hook ${hook} priority ${at}; policy ${policy};`, ...rules]);
  const bases = fc
    .array(base, { maxLength: 3 })
    .map((all) => all.map((lines, index) => block(`chain base${index}`, lines)));
  return fc.tuple(bases, ...regular).map(([first, ...rest]) => [...first, ...rest]);
}

/** `reject` is only for hooks that have a socket to answer to: not prerouting. */
const withoutBadReject = (text: string): string =>
  text
    .split(/^(?=\tchain )/m)
    .map((chain) => (chain.includes('hook prerouting') ? chain.replace(/ ?\breject\b/g, ' drop') : chain))
    .join('');

function table(family: Family, name: string): fc.Arbitrary<string> {
  return fc
    .tuple(sets(family), chains(family, ['web', 'deep.er']), fc.boolean(), fc.option(quoted, { nil: undefined }))
    .map(([first, rest, dormant, comment]) => {
      const own = `${comment === undefined ? '' : `\tcomment ${comment}\n`}${dormant ? '\tflags dormant\n' : ''}`;
      const body = withoutBadReject([...first, ...rest].join('\n'));
      return `table ${family} ${name} {\n${own}${body}}\n`;
    });
}

/** One to three tables. Text that `nft -f` takes, in nft's own layout. */
export const nftRulesets: fc.Arbitrary<string> = fc
  .uniqueArray(fc.tuple(fc.constantFrom(...families), fc.constantFrom('admin', 'guest_net', 't-1')), {
    minLength: 1,
    maxLength: 3,
    selector: ([family, name]) => `${family} ${name}`,
  })
  .chain((names) => fc.tuple(...names.map(([family, name]) => table(family, name))))
  .map((tables) => tables.join(''));
