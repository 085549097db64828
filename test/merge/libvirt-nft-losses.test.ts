// libvirt's nftables table against its definitions and records: nothing on what libvirt left behind itself, and each loss.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Drift } from '../../src/merge/drift.ts';
import { nativeLibvirtDrift } from '../../src/merge/libvirt-nft-losses.ts';
import { chainsOf, type NftTable } from '../../src/ruleset/nft/types.ts';
import type { Network, RemovalRecord } from '../../src/ruleset/network.ts';
import {
  captured,
  networkOf,
  recordFor,
  recordOf,
  secondOf,
  tablesIn,
  transcript,
  WITH_RULES,
} from '../libvirt-nft.ts';

const NAT = await networkOf('nat');
const NAT_RECORD = await recordOf('nat');
const SECOND = secondOf(NAT);
/** Handles as in the capture `two-nat`: the record of `default` is that of `nat`. */
const SECOND_RECORD = recordFor(SECOND, [
  ...[28, 27, 26, 25, 24].map((handle): [string, number] => ['guest_nat', handle]),
  ['guest_input', 23],
  ['guest_output', 22],
  ['guest_cross', 21],
  ['guest_input', 20],
  ['guest_output', 19],
]);
const BOTH = { networks: [NAT, SECOND], records: [NAT_RECORD, SECOND_RECORD] };

/** The tables without the rules whose handles (in `ip`) are named. */
function lacking(tables: readonly NftTable[], isGone: (chain: string, handle: number) => boolean): NftTable[] {
  return tables.map((table) =>
    table.family === 'ip'
      ? changed(table, (chain, rules) => rules.filter(({ handle }) => !isGone(chain, handle ?? 0)))
      : table,
  );
}

type Rules = ReturnType<typeof chainsOf>[number]['rules'];

function changed(table: NftTable, change: (chain: string, rules: Rules) => Rules): NftTable {
  const objects = chainsOf(table).map((chain) => ({ ...chain, rules: change(chain.name, chain.rules) }));
  return { ...table, objects };
}

const short = (drift: readonly Drift[]) =>
  drift.map(({ kind, family, table, chain, text, rules }) => [kind, `${family} ${table}`, chain, text, rules ?? 1]);

describe('nothing', () => {
  it.each(WITH_RULES)('is said of a network of kind %s as libvirt left it', async (kind) => {
    const view = { tables: captured(kind), networks: [await networkOf(kind)], records: [await recordOf(kind)] };
    expect(nativeLibvirtDrift(view)).toEqual([]);
  });

  it('is said of two networks, nor after one was stopped, nor of the empty table when all are', () => {
    expect(nativeLibvirtDrift({ tables: captured('two-nat'), ...BOTH })).toEqual([]);
    const one = { tables: captured('two-nat.after-destroy-of-first'), networks: [SECOND], records: [SECOND_RECORD] };
    expect(nativeLibvirtDrift(one)).toEqual([]);
    const none = { tables: captured('nat.after-net-destroy'), networks: [{ ...NAT, active: false }], records: [] };
    expect(nativeLibvirtDrift(none)).toEqual([]);
  });

  it('is missed of the iptables backend, or of a libvirt that says nothing of backends', async () => {
    const iptables: Network = { ...NAT, backend: 'iptables' };
    const record: RemovalRecord = { network: 'default', backend: 'iptables', rules: [] };
    expect(nativeLibvirtDrift({ tables: [], networks: [iptables], records: [record] })).toEqual([]);
    const { backend, ...old } = NAT;
    expect(backend).toBe('nftables');
    expect(nativeLibvirtDrift({ tables: [], networks: [old], records: [] })).toEqual([]);
    expect(nativeLibvirtDrift({ tables: [], networks: undefined, records: [] })).toEqual([]);
  });

  it('changes with the order of rules or networks', () => {
    const shuffled = fc.record({
      networks: fc.shuffledSubarray([...BOTH.networks], { minLength: 2 }),
      seed: fc.array(fc.nat(1000), { minLength: 30, maxLength: 30 }),
    });
    fc.assert(
      fc.property(shuffled, ({ networks, seed }) => {
        const tables = captured('two-nat').map((table) =>
          changed(table, (_, rules) =>
            [...rules].sort((a, b) => (seed[(a.handle ?? 0) % 30] ?? 0) - (seed[(b.handle ?? 0) % 30] ?? 0)),
          ),
        );
        expect(nativeLibvirtDrift({ tables, networks, records: BOTH.records })).toEqual([]);
      }),
      { numRuns: 100 },
    );
  });
});

describe('what is missing', () => {
  it('is said once a network, with the first rule and how many', () => {
    const tables = lacking(captured('two-nat'), (chain, handle) => handle >= 24 && chain === 'guest_nat');
    const drift = nativeLibvirtDrift({ tables, ...BOTH });
    expect(drift).toMatchObject([
      {
        kind: 'foreign-lost',
        family: 'ip',
        table: 'libvirt_network',
        chain: 'guest_nat',
        text: 'ip saddr 192.168.129.0/24 ip daddr 224.0.0.0/24 counter return',
        owner: 'libvirt',
        rules: 5,
      },
    ]);
    expect(drift[0]?.evidence).toMatch(/^network second lacks 5 of its 10 rules; only libvirt can put it back/);
  });

  it('is exactly what was taken away', () => {
    const handles = [9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28];
    fc.assert(
      fc.property(fc.subarray(handles), (gone) => {
        const tables = lacking(captured('two-nat'), (chain, handle) => chain !== 'forward' && gone.includes(handle));
        const lost = nativeLibvirtDrift({ tables, ...BOTH }).filter(({ kind }) => kind === 'foreign-lost');
        const of = (name: string): number =>
          lost.find(({ evidence }) => evidence.startsWith(`network ${name} `))?.rules ?? 0;
        expect([of('default'), of('second')]).toEqual([
          gone.filter((handle) => handle < 19).length,
          gone.filter((handle) => handle >= 19).length,
        ]);
        expect(lost.length).toBe(Number(of('default') > 0) + Number(of('second') > 0));
      }),
      { numRuns: 200 },
    );
  });

  it('is a whole table: one line a family, where rules are wanted', async () => {
    expect(short(nativeLibvirtDrift({ tables: [], ...BOTH }))).toEqual([
      ['foreign-lost', 'ip libvirt_network', '', 'table ip libvirt_network', 20],
    ]);
    const six = await networkOf('nat-ipv6-nat');
    const both = nativeLibvirtDrift({ tables: [], networks: [six], records: [] });
    expect(short(both).map(([, table, , , rules]) => [table, rules])).toEqual([
      ['ip libvirt_network', 10],
      ['ip6 libvirt_network', 9],
    ]);
  });

  it('is a chain, a base chain’s hook, a jump', () => {
    const [table] = captured('nat');
    const cut = { ...table!, objects: chainsOf(table!).filter(({ name }) => name !== 'guest_cross') };
    const view = { networks: [NAT], records: [NAT_RECORD] };
    expect(short(nativeLibvirtDrift({ tables: [cut], ...view }))).toEqual([
      ['foreign-lost', 'ip libvirt_network', 'guest_cross', 'chain guest_cross', 1],
      ['foreign-lost', 'ip libvirt_network', 'guest_cross', 'iif "virbr0" oif "virbr0" counter accept', 1],
    ]);
    const bare = { ...table!, objects: chainsOf(table!).map((chain) => ({ ...chain, base: undefined })) };
    expect(short(nativeLibvirtDrift({ tables: [bare], ...view })).map(([kind, , chain]) => [kind, chain])).toEqual([
      ['foreign-unhooked', 'forward'],
      ['foreign-unhooked', 'guest_nat'],
    ]);
    const jumpless = changed(table!, (name, rules) => (name === 'forward' ? rules.slice(1) : rules));
    expect(short(nativeLibvirtDrift({ tables: [jumpless], ...view }))).toEqual([
      ['foreign-unhooked', 'ip libvirt_network', 'forward', 'counter jump guest_cross', 1],
    ]);
  });

  it('is known of a network without a record, where rules of its stand or the others have this backend', () => {
    const { backend: _, ...bare } = SECOND;
    const record: RemovalRecord = { network: 'second', backend: undefined, rules: [] };
    const tables = lacking(captured('two-nat'), (chain, handle) => chain === 'guest_nat' && handle >= 24);
    expect(nativeLibvirtDrift({ tables, networks: [bare], records: [record] })).toMatchObject([
      { kind: 'foreign-lost', rules: 5 },
    ]);
    const none = nativeLibvirtDrift({ tables: captured('nat'), networks: [NAT, bare], records: [NAT_RECORD, record] });
    expect(none).toMatchObject([{ kind: 'foreign-lost', rules: 10 }]);
  });
});

describe('libvirt’s own copies', () => {
  it('are told once a network, as its own doing', () => {
    // Of the table the transcript shows two chains, each by itself.
    const listed = tablesIn(transcript('bug-dns-host-update-leaks-rules.txt')[3] ?? '');
    const tables = listed.slice(0, 1).map((table) => ({ ...table, objects: listed.flatMap(({ objects }) => objects) }));
    const drift = nativeLibvirtDrift({ tables, networks: [NAT], records: [] });
    const copies = drift.filter(({ kind }) => kind === 'stale');
    expect(short(copies)).toEqual([
      ['stale', 'ip libvirt_network', 'guest_output', 'ip saddr 192.168.122.0/24 iif "virbr0" counter accept', 7],
    ]);
    expect(copies[0]?.evidence).toContain('handles 12, 9, 18, 17, 16, 15, 14');
  });
});

describe('rules of networks that are gone', () => {
  it('are stale, with handles and what takes them out', () => {
    const left = transcript('bug-dns-host-update-leaks-rules.txt').at(-1)!;
    const drift = nativeLibvirtDrift({ tables: tablesIn(left), networks: [{ ...NAT, active: false }], records: [] });
    expect(short(drift)).toEqual([
      ['stale', 'ip libvirt_network', 'guest_output', 'ip saddr 192.168.122.0/24 iif 73 counter accept', 5],
      ['stale', 'ip libvirt_network', 'guest_nat', 'ip saddr 192.168.122.0/24 ip daddr 224.0.0.0/24 counter return', 5],
    ]);
    expect(drift[0]?.evidence).toContain('handles 12, 9, 13, 10, 11');
    expect(drift[0]?.evidence).toContain('`nft delete rule ip libvirt_network guest_output handle 12`');
  });
});

describe('libvirt’s handles', () => {
  /** After `nft -f` of a saved listing the rules stand with new handles: 9 to 28, in the order of the listing. */
  const restored = (): NftTable[] => {
    let handle = 9;
    return captured('two-nat').map((table) =>
      table.family === 'ip'
        ? changed(table, (name, rules) =>
            name === 'forward' ? rules : rules.map((rule) => ({ ...rule, handle: handle++ })),
          )
        : table,
    );
  };

  it('that are another network’s are told, as libvirt then deleted them', () => {
    const drift = nativeLibvirtDrift({ tables: restored(), ...BOTH });
    expect(drift.map(({ kind }) => kind)).toEqual(['stale', 'stale']);
    // measured: the stop of `second` took out the five nat rules of `default`
    const second = drift.find(({ evidence }) => evidence.startsWith("libvirt's record of network second"));
    expect(second).toMatchObject({ chain: 'guest_nat', rules: 5 });
    expect(second?.text).toContain('ip saddr 192.168.122.0/24');
    expect(second?.evidence).toContain("which is network default's");
  });

  it('that lead nowhere are told where the rules stand, not where they are missing', () => {
    const elsewhere = (record: RemovalRecord): RemovalRecord => ({
      ...record,
      rules: record.rules.map((rule) => ({ ...rule, handle: rule.handle + 1000 })),
    });
    const records = [elsewhere(NAT_RECORD)];
    const [told, ...more] = nativeLibvirtDrift({ tables: captured('nat'), networks: [NAT], records });
    expect(more).toEqual([]);
    expect(told).toMatchObject({ kind: 'stale', rules: 10 });
    const tables = lacking(captured('nat'), (chain, handle) => chain === 'guest_nat' && handle === 14);
    const lost = nativeLibvirtDrift({ tables, networks: [NAT], records });
    expect(lost.map(({ kind }) => kind)).toEqual(['foreign-lost']);
  });

  it('that are a rule of the user’s are told', () => {
    const [table] = captured('nat');
    const text = 'oif "virbr0" tcp dport 22 accept';
    const mine = changed(table!, (name, rules) =>
      name === 'guest_input'
        ? [
            { kind: 'rule', source: '', text, handle: 13 },
            ...rules.map((rule) => ({ ...rule, handle: 900 + (rule.handle ?? 0) })),
          ]
        : rules,
    );
    expect(nativeLibvirtDrift({ tables: [mine], networks: [NAT], records: [NAT_RECORD] })).toMatchObject([
      { kind: 'stale', text, evidence: expect.stringContaining('which is yours') as string },
    ]);
  });
});

describe('a rule of the user’s below libvirt’s reject', () => {
  it('is shadowed', () => {
    const [table] = captured('nat');
    const text = 'oif "virbr0" tcp dport 22 counter accept';
    const mine = changed(table!, (name, rules) =>
      name === 'guest_input' ? [...rules, { kind: 'rule', source: '', text, handle: 99 }] : rules,
    );
    expect(nativeLibvirtDrift({ tables: [mine], networks: [NAT], records: [NAT_RECORD] })).toEqual([
      {
        kind: 'shadowed',
        family: 'ip',
        table: 'libvirt_network',
        chain: 'guest_input',
        text,
        owner: 'user',
        evidence: 'dead behind guest_input: oif "virbr0" counter reject (handle 10)',
      },
    ]);
  });
});
