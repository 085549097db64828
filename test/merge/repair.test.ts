// libvirt's own part after a wipe, in every form of wipe, on what libvirt 9.0 really wrote.

import { describe, expect, it } from 'vitest';
import { classify, type Classified, neighbourPartOf } from '../../src/classify/classify.ts';
import { libvirtReference } from '../../src/merge/libvirt-reference.ts';
import { duplicatesOf, foreignTable, type Loss, lossesOf, restorable } from '../../src/merge/repair.ts';
import { parseDocument, parseRuleset } from '../../src/ruleset/iptables/parse.ts';
import type { NeighbourPart } from '../../src/ruleset/user-part.ts';
import { capture, networksOf } from '../captures/captures.ts';
import { NETWORKS } from '../properties/arbitraries.ts';
import { middle, snapshotOf } from '../properties/work.ts';

const TWO = capture('libvirt/libvirt-9.0-iptables-nft/two-nat.iptables-save.txt').text;
const NWFILTER = capture('nwfilter/libvirt-9.0-iptables-nft.l3.iptables-save.txt').text;
const read = (text: string): Classified => classify(parseRuleset(text, 'ip'), undefined);
const knownOf = (text: string): NeighbourPart => neighbourPartOf(read(text));
const KNOWN = knownOf(TWO);

/** The text without the rules that match; chains stay. */
const without = (text: string, rule: RegExp): string =>
  text
    .split('\n')
    .filter((line) => !(line.startsWith('-A ') && rule.test(line)))
    .join('\n');
/** The text without the chains that match and their rules. */
const withoutChains = (text: string, name: RegExp): string =>
  text
    .split('\n')
    .filter((line) => !name.test(/^(?::|-A )(\S+)/.exec(line)?.[1] ?? ''))
    .join('\n');

const rules = (part: NeighbourPart): string[] =>
  [...part.tables].flatMap(([table, chains]) =>
    [...chains.values()].flatMap((chain) => chain.rules.map((rule) => `${table} ${rule.text}`)),
  );
const lost = (losses: readonly Loss[]): string[] =>
  losses.map((loss) => `${loss.kind} ${loss.table} ${loss.chain}${loss.text === '' ? '' : `: ${loss.text}`}`);
const only =
  (...names: string[]) =>
  (name: string): boolean =>
    names.includes(name);

/** What stands after the neighbours' part was put back, table by table. */
function repaired(
  live: string,
  known: NeighbourPart = KNOWN,
  exists: (name: string) => boolean = () => true,
): string[] {
  const classified = classify(parseRuleset(live, 'ip'), undefined, known);
  const reference = restorable(known, exists);
  const tables = [...new Set([...classified.tables.keys(), ...reference.tables.keys()])];
  return tables.flatMap((table) => {
    const chains = foreignTable(classified.tables.get(table), {
      restore: reference.tables.get(table),
      dropStale: false,
      onceEach: undefined,
    });
    return [...chains.values()].flatMap((chain) => chain.rules.map((rule) => `${table} ${rule.text}`));
  });
}

describe('what a wipe took of libvirt’s part', () => {
  it('is nothing where all stands', () => {
    expect(lossesOf(KNOWN, read(TWO))).toEqual([]);
    expect(repaired(TWO)).toEqual(rules(KNOWN));
  });

  it('iptables -F of the filter table: rules, chains stay', () => {
    const flushed = without(TWO, /^-A (?:INPUT|FORWARD|OUTPUT|LIBVIRT_(?:INP|OUT|FW.)) /);
    const losses = lossesOf(KNOWN, read(flushed));
    expect(losses).toHaveLength(5 + 2 * 13);
    expect(losses.every((loss) => loss.table === 'filter' && loss.kind === 'foreign-lost')).toBe(true);
    expect(repaired(flushed).sort()).toEqual(rules(KNOWN).sort());
  });

  it('iptables -F; -X, and a load that knows nothing of libvirt: chains too', () => {
    const gone = withoutChains(TWO, /^LIBVIRT/).replace(/^-A .* -j LIBVIRT_...\n/gm, '');
    expect(lost(lossesOf(KNOWN, read(gone))).filter((line) => !line.includes(':'))).toEqual(
      [
        'mangle LIBVIRT_PRT',
        ...['FWI', 'FWO', 'FWX', 'INP', 'OUT'].map((end) => `filter LIBVIRT_${end}`),
        'nat LIBVIRT_PRT',
      ].map((place) => `foreign-lost ${place}`),
    );
    expect(repaired(gone).sort()).toEqual(rules(KNOWN).sort());
  });

  it('nft flush ruleset: no table at all', () => {
    expect(lossesOf(KNOWN, read('')).filter((loss) => loss.text !== '')).toHaveLength(rules(KNOWN).length);
    expect(repaired('')).toEqual(rules(KNOWN));
  });

  it('one jump, while its chain is filled: unhooked', () => {
    expect(lost(lossesOf(KNOWN, read(without(TWO, /^-A FORWARD -j LIBVIRT_FWI$/))))).toEqual([
      'foreign-unhooked filter FORWARD: -A FORWARD -j LIBVIRT_FWI',
    ]);
  });

  it('one jump into an empty chain is lost, not unhooked', () => {
    const bare = without(TWO, /^-A (?:FORWARD -j LIBVIRT_FWI$|LIBVIRT_FWI )/);
    expect(lost(lossesOf(KNOWN, read(bare)))[0]).toBe('foreign-lost filter FORWARD: -A FORWARD -j LIBVIRT_FWI');
  });

  it('comes back in the order that still stands, the missing ones beside their neighbours of before', () => {
    const turned = TWO.replace(/(-A LIBVIRT_FWX -i virbr7.*\n)(-A LIBVIRT_FWX -i virbr0.*\n)/, '$2$1');
    expect(turned).not.toBe(TWO);
    const holed = without(turned, /-A LIBVIRT_INP -i virbr7 .*--dport 67/);
    const mended = repaired(holed).filter((rule) => /LIBVIRT_(?:FWX|INP) /.test(rule));
    expect(mended.filter((rule) => rule.includes('FWX')).map((rule) => /virbr\d/.exec(rule)?.[0])).toEqual([
      'virbr0',
      'virbr7',
    ]);
    expect(mended.filter((rule) => rule.includes('INP'))).toEqual(
      rules(KNOWN).filter((rule) => rule.includes('-A LIBVIRT_INP')),
    );
  });

  it('never comes back twice: what stands is counted copy by copy', () => {
    const doubled = TWO.replace(/(-A LIBVIRT_FWX -i virbr7.*\n)/, '$1$1');
    expect(lossesOf(KNOWN, read(doubled))).toEqual([]);
    expect(duplicatesOf(KNOWN, read(doubled))).toEqual([
      { table: 'filter', chain: 'LIBVIRT_FWX', text: '-A LIBVIRT_FWX -i virbr7 -o virbr7 -j ACCEPT' },
    ]);
    expect(duplicatesOf(KNOWN, read(TWO))).toEqual([]);
  });
});

describe('what may go back', () => {
  it('is only the network whose bridge exists, NAT rules included', () => {
    const kept = rules(restorable(KNOWN, only('virbr0')));
    expect(kept.filter((rule) => /virbr7|192\.168\.129/.test(rule))).toEqual([]);
    expect(kept).toHaveLength(7 + 19);
    expect(repaired('', KNOWN, only('virbr7')).filter((rule) => /virbr0|192\.168\.122/.test(rule))).toEqual([]);
  });

  it('is no chain of a guest NIC that is gone', () => {
    const known = knownOf(NWFILTER);
    const gone = rules(restorable(known, only('virbr0')));
    expect(gone.filter((rule) => rule.includes('vnet1'))).toEqual([]);
    expect(rules(restorable(known, only('virbr0', 'vnet1')))).toEqual(rules(known));
  });

  it('keeps a forward device that is down: the rules are for when it is up', () => {
    const dev = knownOf(capture('libvirt/libvirt-9.0-iptables-nft/routed-dev.iptables-save.txt').text);
    const bridge = / -i (virbr\d+)/.exec(rules(dev).join('\n'))?.[1] ?? '';
    expect(rules(restorable(dev, only(bridge)))).toEqual(rules(dev));
  });
});

describe('the reference where no complete read is known', () => {
  it.each(['nat', 'routed', 'isolated', 'nat-ports-addr', 'nat-ipv6-nat', 'two-subnets'])(
    'is what libvirt wrote: %s',
    async (kind) => {
      for (const [family, save] of [
        ['ip', 'iptables'],
        ['ip6', 'ip6tables'],
      ] as const) {
        const name = `libvirt/libvirt-9.0-iptables-nft/${kind}.${save}-save.txt`;
        const networks = (await networksOf(name)) ?? [];
        const { ruleset } = parseDocument(capture(name).text, family);
        const live = classify(ruleset, networks);
        const reference = libvirtReference(family, networks);
        expect(lossesOf(reference, live)).toEqual([]);
        expect(rules(reference).sort()).toEqual(rules(neighbourPartOf(live)).sort());
      }
    },
  );

  it('holds nothing of networks that do not run, have no rules, or use nftables', () => {
    const off = NETWORKS.map((network, index) => ({
      ...network,
      active: index !== 0,
      ...(index === 1 ? { backend: 'nftables' as const } : {}),
      forwardMode: index > 1 ? 'open' : 'nat',
    }));
    expect(rules(libvirtReference('ip', off))).toEqual([]);
  });
});

describe('a host with libvirt before 5.1', () => {
  it('has no chains to put back, whatever its definitions say', () => {
    const bare = classify(parseRuleset(capture('old-libvirt/kvm-1.4.7.save').text, 'ip'), NETWORKS.slice(0, 1));
    expect(rules(libvirtReference('ip', NETWORKS.slice(0, 1)))).toHaveLength(7 + 19);
    expect(rules(libvirtReference('ip', NETWORKS.slice(0, 1), bare))).toEqual([]);
  });
});

describe('a pass that repairs', () => {
  const { wish } = snapshotOf(parseRuleset(TWO, 'ip'));

  it('puts libvirt’s part back after nft flush ruleset, chains before jumps, and then rests', () => {
    const work = middle(parseRuleset('', 'ip'), { wish, known: KNOWN, input: { repair: true } });
    const filter = work.tables.find((table) => table.table === 'filter');
    expect(filter?.plan.edits.slice(0, 5).every((edit) => edit.kind === 'new-chain')).toBe(true);
    expect(filter?.plan.edits.filter((edit) => edit.kind === 'insert')).toHaveLength(5 + 2 * 13);
    expect(work.losses.length).toBeGreaterThan(0);
  });

  it('leaves it to libvirt while libvirt rebuilds by itself', () => {
    const work = middle(parseRuleset('', 'ip'), { wish, known: KNOWN, input: { repair: false } });
    expect(work.tables.flatMap((table) => table.plan.edits)).toEqual([]);
    expect(work.drift.filter((drift) => drift.kind === 'foreign-lost')).toHaveLength(work.losses.length);
  });

  it('takes stale copies out again that an old dump brought, and only then', () => {
    const networks = NETWORKS.slice(1, 2);
    const old = capture('libvirt/libvirt-9.0-iptables-nft/nat.iptables-save.txt').text.replace(
      '-A INPUT -j LIBVIRT_INP\n',
      '-A INPUT -j LIBVIRT_INP\n-A INPUT -p icmp -j ACCEPT\n',
    );
    const live = parseRuleset(old, 'ip');
    const mine = {
      family: 'ip' as const,
      tables: new Map([
        [
          'filter',
          {
            name: 'filter',
            chains: new Map([
              [
                'INPUT',
                {
                  name: 'INPUT',
                  policy: 'ACCEPT',
                  items: [{ kind: 'rule' as const, text: '-A INPUT -p icmp -j ACCEPT' }],
                },
              ],
            ]),
          },
        ],
      ]),
    };
    const load = {
      replaced: true,
      wiped: false,
      addedAfterWipe: false,
      neighbour: undefined,
      byNeighbour: undefined,
      byOther: true,
      loader: undefined,
    };
    const edits = (summary: typeof load): string[] =>
      middle(live, { wish: mine, networks, summaries: new Map([['filter', summary]]), input: { exists: () => false } })
        .tables.filter((table) => table.table === 'filter')

        .flatMap((table) =>
          table.plan.edits
            .filter((edit) => edit.chain.startsWith('LIBVIRT_'))
            .map((edit) => `${edit.kind} ${edit.chain}`),
        );
    expect(edits(load)).toHaveLength(13);
    expect(edits({ ...load, replaced: false })).toEqual([]);
    const stale = (exists: boolean): number =>
      middle(live, { wish: mine, networks, input: { exists: () => exists } }).drift.filter(
        (each) => each.kind === 'stale',
      ).length;
    expect(stale(false)).toBe(19);
    // The network is being started: libvirt writes the file that says it runs after the rules.
    expect(stale(true)).toBe(0);
  });
});
