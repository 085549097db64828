// What the parsed view says of each kind of object.

import { describe, expect, it } from 'vitest';
import { elementsOf } from '../../../src/ruleset/nft/elements.ts';
import { parseNft } from '../../../src/ruleset/nft/parse.ts';
import { chainsOf, type NftObject, type NftTable, setsOf, tableKey } from '../../../src/ruleset/nft/types.ts';
import { nftCapture, tableIn } from '../../captures/nft.ts';

const EVERYTHING = nftCapture('native/everything.nft-1.0.6.handles.txt');
const K1 = tableIn(EVERYTHING, 'inet k1');
const named = (table: NftTable, name: string): NftObject => {
  const found = table.objects.find((object) => object.kind !== 'opaque' && object.name === name);
  if (found === undefined) throw new Error(`no ${name}`);
  return found;
};
const baseOf = (table: NftTable, name: string): unknown => {
  const object = named(table, name);
  return object.kind === 'chain' && object.base;
};

describe('tables', () => {
  it('have family, name, handle, flags, comment and the program that owns them', () => {
    const { tables } = parseNft(EVERYTHING);
    expect(
      tables.map((table) => [tableKey(table), table.handle, table.flags.join(), table.comment, table.progname]),
    ).toEqual([
      ['inet k1', 1, '', 'my table', undefined],
      ['netdev nd', 2, '', undefined, undefined],
      ['bridge br', 3, '', undefined, undefined],
      ['arp a', 4, '', undefined, undefined],
      ['ip dormant', 5, 'dormant', undefined, undefined],
      ['ip6 empty', 6, '', undefined, undefined],
      ['netdev devs', 7, '', undefined, undefined],
      ['ip own', 8, 'owner', undefined, 'nft'],
    ]);
    expect(tableIn(nftCapture('native/everything.nft-1.0.6.txt'), 'ip own')).toMatchObject({
      handle: undefined,
      progname: 'nft',
    });
    expect(parseNft('table ip t { # handle 7 progname my { guard # x\n}\n').tables[0]).toMatchObject({
      handle: 7,
      progname: 'my { guard # x',
    });
    expect(parseNft('table t {\n}\n').tables[0]).toMatchObject({ family: 'ip', name: 't' });
  });
});

describe('chains', () => {
  it('have type, hook, priority, policy and devices of a base chain', () => {
    expect(baseOf(K1, 'inp')).toEqual({
      type: 'filter',
      hook: 'input',
      devices: [],
      priority: { text: 'filter - 5', number: -5 },
      policy: 'drop',
      flags: [],
    });
    expect(baseOf(K1, 'nat1')).toMatchObject({ type: 'nat', priority: { text: 'dstnat + 1', number: -99 } });
    expect(baseOf(K1, 'sub')).toBeUndefined();
    expect(baseOf(tableIn(EVERYTHING, 'netdev nd'), 'ig')).toMatchObject({ hook: 'ingress', devices: ['lo'] });
    expect(baseOf(tableIn(EVERYTHING, 'netdev devs'), 'c')).toMatchObject({
      devices: ['brdev', 'brx'],
      policy: 'drop',
    });
  });

  it('count priorities as their family does', () => {
    expect(baseOf(tableIn(EVERYTHING, 'bridge br'), 'f')).toMatchObject({ priority: { text: 'filter', number: -200 } });
    expect(baseOf(tableIn(EVERYTHING, 'bridge br'), 'p')).toMatchObject({ priority: { number: -300 } });
    const typed =
      'table ip t {\n\tchain c {\n\t\ttype filter hook input priority soon\n\t\tpolicy drop; flags offload\n\t\taccept\n\t}\n}\n';
    expect(baseOf(tableIn(typed, 'ip t'), 'c')).toMatchObject({
      priority: { text: 'soon', number: undefined },
      policy: 'drop',
      flags: ['offload'],
    });
  });

  it('have their comment apart from their rules, and rules with handles', () => {
    const chain = named(K1, 'inp');
    if (chain.kind !== 'chain') throw new Error();
    expect(chain).toMatchObject({ comment: 'input ch' });
    expect(chain.rules[1]).toMatchObject({ text: 'iif "lo" accept', handle: expect.any(Number) });
    expect(chain.rules.map(({ text }) => text)).toContain('jump {\n\t\t\taccept\n\t\t}');
  });

  it('keep a comment with a line end in one rule', () => {
    const chain = chainsOf(K1).find(({ name }) => name === 'sub0');
    const texts = chain?.rules.map(({ text }) => text);
    expect(texts).toContain('accept comment "two\nlines { of"');
    expect(texts).toContain('log prefix "x # handle 7 }" accept');
  });

  it('keep a rule together that nft broke for want of an extension', () => {
    for (const [folder, text] of [
      ['libvirt-9.0-iptables-nft', 'counter packets 0 bytes 0 XT target MASQUERADE not found'],
      [
        'libvirt-11-iptables',
        'counter packets 0 bytes 0 # Warning: XT target MASQUERADE not found\nxt target "MASQUERADE"',
      ],
    ] as const) {
      const table = tableIn(nftCapture(`${folder}/nat-ipv6-nat.nft-ruleset.txt`), 'ip6 nat');
      const rule = chainsOf(table)[0]?.rules.find(({ handle }) => handle === 4);
      expect(rule?.text).toBe(`ip6 saddr fd00:123::/64 ip6 daddr != fd00:123::/64 ${text}`);
    }
  });

  it('hold a rule of iptables whose log prefix has a quote in it', () => {
    const text = 'table ip filter {\n\tchain INPUT {\n\t\tlog prefix "q"u {"\n\t\tcounter drop\n\t}\n}\n';
    expect(chainsOf(tableIn(text, 'ip filter'))[0]?.rules.map((rule) => rule.text)).toEqual([
      'log prefix "q"u {"',
      'counter drop',
    ]);
  });
});

describe('sets and maps', () => {
  it('have type, flags, times, size and comment', () => {
    expect(named(K1, 's_a')).toMatchObject({
      keyword: 'set',
      type: 'ipv4_addr',
      typeOf: undefined,
      flags: ['interval', 'timeout'],
      timeout: '1h',
      gcInterval: '10s',
      size: 1000,
      autoMerge: true,
      comment: 'set',
    });
    expect(named(K1, 'm2')).toMatchObject({
      keyword: 'map',
      type: undefined,
      typeOf: 'tcp dport : ip saddr',
      autoMerge: false,
    });
  });

  it('have their elements over several lines, with times, counters, comments and values', () => {
    const elements = (name: string): unknown[] => {
      const set = setsOf(K1).find((each) => each.name === name);
      return elementsOf(set?.elementsText ?? '').map(({ text: _, ...rest }) =>
        Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined)),
      );
    };
    expect(elements('s_a')).toEqual([
      { key: '1.2.3.4', timeout: '30m', expires: expect.stringMatching(/^29m/), comment: 'he llo' },
      { key: '10.0.0.0/8', expires: expect.stringMatching(/^59m/) },
      { key: '192.168.1.1-192.168.1.9', expires: expect.stringMatching(/^59m/) },
    ]);
    expect(elements('s_c')[0]).toEqual({ key: '1.1.1.1', counter: 'packets 3 bytes 4' });
    expect(elements('s_d')).toHaveLength(6);
    expect(elements('s_e')).toEqual([{ key: '"wg0"' }, { key: '"a;b"' }, { key: '"x}y"' }]);
    expect(elements('s_f')[0]).toEqual({ key: '1.2.3.0/24 . 80-90' });
    expect(elements('m1')[1]).toEqual({ key: '2.2.2.2', value: 'jump sub' });
    expect(elements('m2')[1]).toEqual({ key: '80', comment: 'x', value: '2.2.2.2' });
    expect(elements('m4')[0]).toEqual({ key: '80', value: '10.0.0.1 . 8080' });
    expect(elements('lines')).toEqual([{ key: '1.1.1.1', comment: 'a, b } c' }, { key: '2.2.2.2' }]);
    expect(elements('s_b')).toEqual([]);
    expect(elementsOf('1.1.1.1 ct count over 5, 2.2.2.2 limit rate 1/second timeout 5m').map(({ key }) => key)).toEqual(
      ['1.1.1.1', '2.2.2.2'],
    );
  });
});

describe('other objects', () => {
  it('are named with their kind', () => {
    const stateful = K1.objects.flatMap((object) =>
      object.kind === 'stateful' ? [`${object.keyword} ${object.name}`] : [],
    );
    expect(stateful).toEqual([
      'counter c1',
      'counter c2',
      'quota q1',
      'quota q2',
      'limit l1',
      'limit l2',
      'ct helper h1',
      'ct timeout t1',
      'ct expectation e1',
      'synproxy s1',
    ]);
    expect(named(K1, 'c1')).toMatchObject({ comment: 'cc' });
  });

  // This form is nft's source (rule.c, flowtable_print_declaration): the kernel at hand has no flowtables.
  it('have hook, priority, devices and flags of a flowtable', () => {
    const text =
      'table inet t {\n\tflowtable f {\n\t\thook ingress priority filter - 1\n\t\tdevices = { "eth0", eth1 }\n\t\tflags offload\n\t\tcounter\n\t}\n}\n';
    expect(named(tableIn(text, 'inet t'), 'f')).toMatchObject({
      kind: 'flowtable',
      hook: 'ingress',
      priority: 'filter - 1',
      devices: ['eth0', 'eth1'],
      flags: ['offload'],
    });
  });
});

describe('the same ruleset listed in other ways', () => {
  it.each(['1.0.6', '1.1.3'])('has the rules that nft -j counts (%s)', (version) => {
    const json = JSON.parse(nftCapture(`native/everything.nft-${version}.json`)) as {
      nftables: { rule?: { table: string; chain: string; handle: number } }[];
    };
    const inJson = json.nftables.flatMap(({ rule }) =>
      rule === undefined ? [] : [`${rule.table} ${rule.chain} ${rule.handle}`],
    );
    const { tables } = parseNft(nftCapture(`native/everything.nft-${version}.handles.txt`));
    const inText = tables.flatMap((table) =>
      chainsOf(table).flatMap((chain) => chain.rules.map(({ handle }) => `${table.name} ${chain.name} ${handle}`)),
    );
    expect(inJson.length).toBeGreaterThan(100);
    expect(inText).toEqual(inJson);
  });
});
