// ebtables' and arptables' tables: what of them cannot be told from their save programs' text. Texts and JSON are what ebtables and
// arptables 1.8.9 and nft 1.0.6 printed.

import { describe, expect, it } from 'vitest';

import { classifyNative, isLeftAlone, userNativeOf, withUnread } from '../../src/classify/classify-native.ts';
import { readSaved, type SavedRead } from '../../src/observe/saved-read.ts';
import { createFakeHost, type FakeHost } from '../fake/host.ts';

const BRIDGE = '*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n';
const ARP = '*filter\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n';
const NAMES = 'table bridge filter {\n}\ntable arp filter {\n}\n';
const NF_TABLES = { stdout: 'tool 1.8.9 (nf_tables)\n' };

const payload = (protocol: string, name: string): unknown => ({ payload: { protocol, field: name } });
const match = (left: unknown, right: unknown, op = '=='): unknown => ({ match: { op, left, right } });
const HARDWARE = [match(payload('arp', 'htype'), 1), match(payload('arp', 'hlen'), 6)];

/** A host on which INPUT of both tables holds one rule: as printed, and as nft has it. */
function hostWith(family: 'bridge' | 'arp', printed: string, ...expr: readonly unknown[]): FakeHost {
  const host = createFakeHost();
  const text = (own: string, base: string): string => base + (own === family ? `-A INPUT ${printed}\n` : '');
  for (const [own, tool, base] of [
    ['bridge', 'ebtables', BRIDGE],
    ['arp', 'arptables', ARP],
  ] as const) {
    host.answer(tool, () => NF_TABLES);
    host.answer(`${tool}-save`, () => ({ stdout: text(own, base) }));
  }
  host.answer('nft', ({ args = [] }) => {
    if (args.includes('-a')) return { stdout: '\t\tthe rule as nft has it # handle 4\n' };
    return ofNft(family, ...expr);
  });
  return host;
}

function ofNft(family: 'bridge' | 'arp', ...expr: readonly unknown[]): { stdout: string } {
  const rule = { family, table: 'filter', chain: 'INPUT', handle: 4, expr: [...expr, { drop: null }] };
  return { stdout: JSON.stringify({ nftables: [{ rule }] }) };
}

const told = ({ unread }: SavedRead): string[] => unread.map(({ key, why }) => `${key}: ${why}`);

const RANGE = match(payload('ip', 'saddr'), { range: ['1.2.3.0', '1.2.3.9'] });

describe('a native rule that the save program prints as another', () => {
  it.each([
    ['bridge', '-p 0x102 -j DROP', RANGE],
    ['bridge', '-p 0x102 -j DROP', match(payload('ip', 'saddr'), '1.2.3.4')],
    ['bridge', '-p ARP -s 00:01:00:00:00:00/ff:ff:00:00:00:00 -j DROP', match(payload('arp', 'operation'), 'request')],
    [
      'bridge',
      '-s 52:54:00:00:00:09 -j DROP',
      match(payload('ether', 'saddr'), { range: ['52:54:00:00:00:00', '52:54:00:00:00:09'] }),
    ],
    ['bridge', '-j CONTINUE', { mangle: { key: payload('ether', 'saddr'), value: '52:54:00:00:00:09' } }],
    ['bridge', '--among-src 52:54:0:0:0:1 -j DROP', match(payload('ether', 'saddr'), '@stations')],
    ['arp', '-j DROP --h-length 0/0 --h-type 0/0', match({ meta: { key: 'mark' } }, 5)],
    ['arp', '-j DROP --h-length 0/0 --opcode 1 --h-type 0/0', match(payload('arp', 'operation'), 'request')],
    ['arp', '-j DROP', ...HARDWARE, match(payload('arp', 'saddr ip'), { set: ['1.2.3.4', '1.2.3.5'] })],
    ['arp', '-s 1.2.3.5 -j DROP', ...HARDWARE, match(payload('arp', 'saddr ip'), { range: ['1.2.3.4', '1.2.3.5'] })],
    ['arp', '-j DROP', ...HARDWARE, match({ meta: { key: 'mark' } }, 5)],
  ] as const)('%s: %s', async (family, printed, ...expr) => {
    const tool = family === 'bridge' ? 'ebtables' : 'arptables';
    const read = await readSaved(hostWith(family, printed, ...expr), NAMES);
    expect(told(read)).toEqual([
      `${family} filter: chain INPUT holds a native nft rule, which ${tool}-save shows as another: the rule as nft has it; move it into a table of another name`,
    ]);
    expect(read.tables.map((table) => table.family)).toEqual([family === 'bridge' ? 'arp' : 'bridge']);
  });

  it('stays told at each look, and is gone when the rule is', async () => {
    const printed = ['-A INPUT -p 0x102 -j DROP\n', '-A INPUT -p 0xa00 -j DROP\n', '-A INPUT -p 0x102 -j DROP\n', ''];
    const host = createFakeHost();
    host.answer('ebtables', () => NF_TABLES);
    host.answer('ebtables-save', () => ({ stdout: BRIDGE + (printed.shift() ?? '') }));
    host.answer('nft', () => ofNft('bridge', RANGE));
    const looks: number[] = [];
    for (let look = 1; look <= 4; look++) looks.push((await readSaved(host, 'table bridge filter {\n')).unread.length);
    expect(looks).toEqual([1, 1, 1, 0]);
  });

  it('is never the user’s part, and its table is left alone', async () => {
    const { tables, unread } = await readSaved(hostWith('bridge', '-p 0x102 -j DROP', RANGE), NAMES);
    const classified = withUnread(classifyNative(tables), unread);
    expect(isLeftAlone(classified.get('bridge filter'))).toBe(true);
    expect([...userNativeOf(classified).keys()]).toEqual([]);
  });
});

describe('what the programs make themselves is theirs', () => {
  it.each([
    ['bridge', match(payload('ether', 'type'), 'ip'), { xt: { type: 'match', name: 'ip' } }],
    [
      'bridge',
      match({ meta: { key: 'iifname' } }, 'p*'),
      match(payload('ether', 'saddr'), { prefix: { addr: '52:54:00:00:00:00', len: 16 } }),
    ],
    ['bridge', match({ '&': [payload('ether', 'saddr'), 'ff:00:ff:00:00:00'] }, '52:00:00:00:00:00', '!=')],
    [
      'bridge',
      match(
        { concat: [payload('ether', 'saddr'), payload('ip', 'saddr')] },
        { set: [{ concat: ['52:54:00:00:00:01', '10.0.0.1'] }] },
      ),
    ],
    ['bridge', match(payload('ether', 'daddr'), { set: ['52:54:00:00:00:01', '52:54:00:00:00:02'] })],
    ['bridge', match(payload('ether', 'type'), 1536, '<'), { xt: { type: 'match', name: '802_3' } }],
    ['bridge', { limit: { rate: 5, burst: 5, per: 'second' } }],
    ['bridge', { xt: { type: 'watcher', name: 'log' } }],
    [
      'arp',
      ...HARDWARE,
      match(payload('arp', 'plen'), 4),
      match(payload('arp', 'saddr ip'), { prefix: { addr: '10.9.9.0', len: 24 } }, '!='),
    ],
    [
      'arp',
      match({ meta: { key: 'iifname' } }, 'p0'),
      ...HARDWARE,
      match(payload('arp', 'saddr ether'), '52:54:00:00:00:01'),
    ],
    ['arp', ...HARDWARE, { xt: { type: 'target', name: 'mangle' } }],
  ] as const)('%s %#', async (family, ...expr) => {
    const read = await readSaved(hostWith(family, '-j DROP', ...expr, { counter: { packets: 0, bytes: 0 } }), NAMES);
    expect(told(read)).toEqual([]);
    expect(read.tables).toHaveLength(2);
  });
});

describe('a table that stands and cannot be read', () => {
  const only = async (answers: Readonly<Record<string, { exitCode?: number; stdout?: string; stderr?: string }>>) => {
    const host = createFakeHost();
    for (const [file, answer] of Object.entries(answers)) host.answer(file, () => answer);
    return { read: await readSaved(host, NAMES), host };
  };
  const arp = { arptables: NF_TABLES, 'arptables-save': { stdout: `${ARP}-A INPUT -j DROP -s 10.9.9.9\n` } };

  it('of the legacy engine is said, its save program is not run, and the other family goes on', async () => {
    const legacy = { stdout: 'ebtables v2.0.11 (legacy) (December 2011)\n' };
    const { read } = await only({ ...arp, ebtables: legacy, 'ebtables-save': { exitCode: 99, stderr: 'was run' } });
    expect(told(read)).toEqual([
      'bridge filter: ebtables does not work on nf_tables: ebtables v2.0.11 (legacy) (December 2011)',
    ]);
    expect(read.tables.map(({ family }) => family)).toEqual(['arp']);
  });

  it.each([
    [
      'base chains of nft',
      "# Table `filter' contains incompatible base-chains, use 'nft' tool to list them.\n",
      BRIDGE,
    ],
    ['a rule it has no words for', "# Table `filter' is incompatible, use 'nft' tool.\n", ''],
  ])('with %s is said, though the program ends with 0 and prints the rest', async (_, comment, text) => {
    const { read } = await only({ ...arp, ebtables: NF_TABLES, 'ebtables-save': { stdout: comment + text } });
    expect(told(read)).toEqual([
      'bridge filter: ebtables cannot show what nft put into it; move it into a table of another name',
    ]);
    expect(read.tables.map(({ family }) => family)).toEqual(['arp']);
  });

  it('because its program fails is said with its words', async () => {
    const stderr = 'Error: unknown meta key\nebtables-save v1.8.9 (nf_tables): Parsing nftables rule failed\n';
    const { read } = await only({ ...arp, ebtables: NF_TABLES, 'ebtables-save': { exitCode: 3, stderr } });
    expect(told(read)).toEqual(['bridge filter: ebtables-save ended with 3: Error: unknown meta key']);
  });
});
