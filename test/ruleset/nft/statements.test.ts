// One rule as statements.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseNft } from '../../../src/ruleset/nft/parse.ts';
import { statementsOf } from '../../../src/ruleset/nft/statements.ts';
import { chainsOf } from '../../../src/ruleset/nft/types.ts';
import { nftCaptures } from '../../captures/nft.ts';
import { nftRulesets } from '../../generate/nft-ruleset.ts';

/** Without `text` and what is undefined. */
const bodies = (text: string): unknown[] =>
  statementsOf(text).map(({ text: _, ...body }) => JSON.parse(JSON.stringify(body)) as unknown);
const literal = (text: string, quoted = false): object => ({ kind: 'literal', text, quoted });
const meta = (key: string): object => ({ kind: 'meta', key });
const payload = (protocol: string, field: string): object => ({ kind: 'payload', protocol, field });
const match = (left: object, right: object, operator = 'implicit'): object => ({
  kind: 'match',
  left,
  operator,
  right,
});

const MATCHES: readonly (readonly [string, object])[] = [
  [
    'ip saddr 192.168.122.0/24',
    match(payload('ip', 'saddr'), { kind: 'prefix', address: '192.168.122.0', length: 24 }),
  ],
  ['ip6 daddr fe80::/10', match(payload('ip6', 'daddr'), { kind: 'prefix', address: 'fe80::', length: 10 })],
  ['ip6 saddr ::1', match(payload('ip6', 'saddr'), literal('::1'))],
  [
    'ip daddr != 10.0.0.5-10.0.0.9',
    match(payload('ip', 'daddr'), { kind: 'range', from: '10.0.0.5', to: '10.0.0.9' }, '!='),
  ],
  ['iif "virbr0"', match(meta('iif'), literal('virbr0', true))],
  ['oifname != "docker0"', match(meta('oifname'), literal('docker0', true), '!=')],
  ['meta l4proto tcp', match(meta('l4proto'), literal('tcp'))],
  [
    'meta mark & 0x00000003 == 0x00000001',
    match({ kind: 'binary', operator: '&', left: meta('mark'), right: '0x00000003' }, literal('0x00000001'), '=='),
  ],
  ['tcp dport >= 1024', match(payload('tcp', 'dport'), literal('1024'), '>=')],
  [
    'th dport { 22, 80-90 }',
    match(payload('th', 'dport'), {
      kind: 'anonymous-set',
      elements: [literal('22'), { kind: 'range', from: '80', to: '90' }],
    }),
  ],
  [
    'iifname { "eth0", "wg*" }',
    match(meta('iifname'), { kind: 'anonymous-set', elements: [literal('eth0', true), literal('wg*', true)] }),
  ],
  ['ip saddr @bad', match(payload('ip', 'saddr'), { kind: 'set', name: 'bad' })],
  [
    'ct state established,related',
    match({ kind: 'ct', key: 'state' }, { kind: 'list', values: ['established', 'related'] }),
  ],
  ['ct state ! new', match({ kind: 'ct', key: 'state' }, literal('new'), '!')],
  [
    'ct original ip saddr 1.2.3.4',
    match({ kind: 'ct', key: 'saddr', direction: 'original', family: 'ip' }, literal('1.2.3.4')),
  ],
  ['ct direction original', match({ kind: 'ct', key: 'direction' }, literal('original'))],
  [
    'tcp flags syn / fin,syn,rst,ack',
    match(payload('tcp', 'flags'), { kind: 'masked', values: ['syn'], mask: ['fin', 'syn', 'rst', 'ack'] }),
  ],
  [
    'tcp flags & (fin | syn) == syn',
    match({ kind: 'binary', operator: '&', left: payload('tcp', 'flags'), right: 'fin | syn' }, literal('syn'), '=='),
  ],
  ['tcp flags == syn | ack', match(payload('tcp', 'flags'), { kind: 'list', values: ['syn', 'ack'] }, '==')],
  ['icmp type echo-request', match(payload('icmp', 'type'), literal('echo-request'))],
  ['icmpv6 type nd-neighbor-solicit', match(payload('icmpv6', 'type'), literal('nd-neighbor-solicit'))],
  [
    'fib saddr . mark . iif oif missing',
    match({ kind: 'fib', inputs: ['saddr', 'mark', 'iif'], result: 'oif' }, literal('missing')),
  ],
  ['ether saddr 00:11:22:33:44:55', match(payload('ether', 'saddr'), literal('00:11:22:33:44:55'))],
  ['arp saddr ip 1.2.3.4', match(payload('arp', 'saddr ip'), literal('1.2.3.4'))],
  ['@th,0,16 0x50', match(payload('@th', '0,16'), literal('0x50'))],
  ['meta hour "08:00"-"17:00"', match(meta('hour'), { kind: 'range', from: '08:00', to: '17:00' })],
  [
    'ip saddr . tcp dport { 10.0.0.0/8 . 80-90 }',
    match(
      { kind: 'concat', parts: [payload('ip', 'saddr'), payload('tcp', 'dport')] },
      {
        kind: 'anonymous-set',
        elements: [
          {
            kind: 'concat',
            parts: [
              { kind: 'prefix', address: '10.0.0.0', length: 8 },
              { kind: 'range', from: '80', to: '90' },
            ],
          },
        ],
      },
    ),
  ],
  ['socket transparent 1', match({ kind: 'other', text: 'socket transparent' }, literal('1'))],
];

const verdict = (name: string, more: object = {}): object => ({ kind: 'verdict', verdict: name, ...more });
const OTHERS: readonly (readonly [string, object])[] = [
  ...['accept', 'drop', 'return', 'continue'].map((name) => [name, verdict(name)] as const),
  ['jump guest_cross', verdict('jump', { chain: 'guest_cross' })],
  ['goto deep.er', verdict('goto', { chain: 'deep.er' })],
  ['jump {\n\t\t\ttcp dport 1 accept\n\t\t\tdrop\n\t\t}', verdict('jump', { rules: ['tcp dport 1 accept', 'drop'] })],
  ['reject', { kind: 'reject' }],
  ['reject with icmpx admin-prohibited', { kind: 'reject', with: 'icmpx admin-prohibited' }],
  ['reject with icmpv6 type no-route', { kind: 'reject', with: 'icmpv6 type no-route' }],
  ['queue flags bypass,fanout to 1-3', { kind: 'queue' }],
  [
    'masquerade to :1024-65535',
    { kind: 'nat', nat: 'masquerade', port: { kind: 'range', from: '1024', to: '65535' }, flags: [] },
  ],
  [
    'dnat ip to 1.2.3.4:8080',
    { kind: 'nat', nat: 'dnat', family: 'ip', address: literal('1.2.3.4'), port: literal('8080'), flags: [] },
  ],
  [
    'dnat ip6 to [fe80::1]:80 random,persistent',
    {
      kind: 'nat',
      nat: 'dnat',
      family: 'ip6',
      address: literal('fe80::1'),
      port: literal('80'),
      flags: ['random', 'persistent'],
    },
  ],
  [
    'snat to 10.0.0.1-10.0.0.9',
    { kind: 'nat', nat: 'snat', address: { kind: 'range', from: '10.0.0.1', to: '10.0.0.9' }, flags: [] },
  ],
  ['redirect to :80', { kind: 'nat', nat: 'redirect', port: literal('80'), flags: [] }],
  [
    'tproxy ip to 127.0.0.1:50080',
    { kind: 'nat', nat: 'tproxy', family: 'ip', address: literal('127.0.0.1'), port: literal('50080'), flags: [] },
  ],
  [
    'dnat ip to tcp dport map { 80 : 10.0.0.1, * : 10.0.0.2 }',
    {
      kind: 'nat',
      nat: 'dnat',
      family: 'ip',
      address: {
        kind: 'map',
        key: payload('tcp', 'dport'),
        map: {
          kind: 'anonymous',
          entries: [
            { key: literal('80'), value: '10.0.0.1' },
            { key: literal('*'), value: '10.0.0.2' },
          ],
        },
      },
      flags: [],
    },
  ],
  ['ip saddr vmap @doors', { kind: 'vmap', key: payload('ip', 'saddr'), map: { kind: 'named', name: 'doors' } }],
  [
    'ct state vmap { established : accept, new : jump web }',
    {
      kind: 'vmap',
      key: { kind: 'ct', key: 'state' },
      map: {
        kind: 'anonymous',
        entries: [
          { key: literal('established'), value: 'accept' },
          { key: literal('new'), value: 'jump web' },
        ],
      },
    },
  ],
  ['counter', { kind: 'counter' }],
  ['counter packets 3 bytes 4', { kind: 'counter', packets: 3, bytes: 4 }],
  ['counter name "c1"', { kind: 'reference', object: 'counter', name: 'c1' }],
  ['ct helper set "h1"', { kind: 'reference', object: 'ct helper', name: 'h1' }],
  [
    'limit rate over 1 mbytes/second burst 2 mbytes',
    { kind: 'limit', over: true, rate: '1 mbytes/second', burst: '2 mbytes' },
  ],
  ['limit rate 5/second', { kind: 'limit', over: false, rate: '5/second' }],
  ['quota over 5 mbytes used 1 mbytes', { kind: 'quota', over: true }],
  [
    'log prefix "a # { " level info flags tcp sequence,options',
    { kind: 'log', options: { prefix: 'a # { ', level: 'info', flags: 'tcp sequence,options' } },
  ],
  [
    'ct mark set meta mark',
    { kind: 'mangle', target: { kind: 'ct', key: 'mark' }, value: { kind: 'expression', expression: meta('mark') } },
  ],
  ['meta mark set 0x00000001', { kind: 'mangle', target: meta('mark'), value: literal('0x00000001') }],
  [
    'update @seen { ip saddr timeout 10s }',
    { kind: 'update-set', operation: 'update', set: 'seen', element: 'ip saddr timeout 10s' },
  ],
  ['ct count over 10', { kind: 'ct-count', over: true, count: 10 }],
  ['xt match physdev', { kind: 'xt', what: 'match', name: 'physdev' }],
  ['# Warning: XT target MASQUERADE not found', { kind: 'xt', what: 'target', name: 'MASQUERADE' }],
  ['notrack', { kind: 'other', name: 'notrack' }],
  ['flow add @f', { kind: 'other', name: 'flow' }],
  ['fwd to "lo"', { kind: 'other', name: 'fwd' }],
  ['comment "hello # world"', { kind: 'comment', comment: 'hello # world' }],
];

describe('a statement alone', () => {
  it.each([...MATCHES, ...OTHERS])('%s', (text, expected) => {
    expect(bodies(text)).toEqual([expected]);
    expect(bodies(`${text} accept comment "end"`).slice(-2)).toEqual(
      text.startsWith('queue') || text.startsWith('comment')
        ? expect.anything()
        : [verdict('accept'), { kind: 'comment', comment: 'end' }],
    );
  });
});

describe('a rule', () => {
  const ruleTexts = nftCaptures().flatMap(({ text }) =>
    parseNft(text).tables.flatMap((table) => chainsOf(table).flatMap(({ rules }) => rules.map((rule) => rule.text))),
  );
  const cover = (text: string): void =>
    expect(
      statementsOf(text)
        .map((each) => each.text)
        .join(' ')
        .replace(/\s+/g, ' '),
    ).toBe(text.trim().replace(/\s+/g, ' '));

  it('of the captures is understood in each of its statements, and none of its words is lost', () => {
    expect(ruleTexts.length).toBeGreaterThan(1500);
    const unknown = ruleTexts.flatMap((text) =>
      statementsOf(text)
        .filter(({ kind }) => kind === 'unknown')
        .map((each) => each.text),
    );
    expect(unknown).toEqual([]);
    ruleTexts.forEach(cover);
  });

  it('with something unknown is understood on both sides of it', () => {
    expect(
      statementsOf('tcp dport 22 frob { accept } knob 7 counter drop comment "x"').map(({ kind, text }) => [
        kind,
        text,
      ]),
    ).toEqual([
      ['match', 'tcp dport 22'],
      ['unknown', 'frob { accept } knob 7'],
      ['counter', 'counter'],
      ['verdict', 'drop'],
      ['comment', 'comment "x"'],
    ]);
  });

  it('that was generated is understood too', () => {
    fc.assert(
      fc.property(nftRulesets, (text) => {
        for (const table of parseNft(text).tables)
          for (const chain of chainsOf(table))
            for (const rule of chain.rules) {
              cover(rule.text);
              expect(statementsOf(rule.text).map(({ kind }) => kind)).not.toContain('unknown');
            }
      }),
      { numRuns: 60 },
    );
  });

  it('that is cut, mixed up or nonsense never throws and keeps its words', () => {
    const words = ruleTexts.flatMap((text) => text.split(' '));
    const mixed = fc.array(
      fc.oneof(
        fc.constantFrom(...words),
        fc.string({ maxLength: 4 }),
        fc.constantFrom(
          '{',
          '}',
          '(',
          ')',
          '.',
          '"',
          '@',
          'meta',
          'ct',
          'map',
          'vmap',
          'set',
          'toString',
          'constructor',
        ),
      ),
      { maxLength: 14 },
    );
    fc.assert(
      fc.property(mixed, (list) => {
        const text = list.join(' ').replace(/\s/g, ' ');
        const kept = statementsOf(text)
          .map((each) => each.text)
          .join('')
          .replace(/ /g, '');
        expect(kept).toBe(text.replace(/ /g, ''));
      }),
      { numRuns: 3000 },
    );
  });
});
