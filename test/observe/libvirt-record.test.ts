// libvirt's removal records, as its status files hold them.

import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { HostError } from '../../src/host/host.ts';
import { parseRemovalRecord, readRemovalRecords } from '../../src/observe/libvirt-record.ts';
import { nftCapture, tableIn } from '../captures/nft.ts';

const CAPTURES = new URL('../captures/', import.meta.url);
const statusOf = (kind: string, folder = 'libvirt-nft'): string =>
  readFileSync(new URL(`${folder}/${kind}.run-status.xml`, CAPTURES), 'utf8');

const KINDS = readdirSync(new URL('libvirt-nft', CAPTURES)).flatMap(
  (name) => /^(.+)\.run-status\.xml$/.exec(name)?.[1] ?? [],
);
const WITH_RULES = KINDS.filter((kind) => kind !== 'open' && kind !== 'bridge');

describe('the record of the nftables backend', () => {
  it('names family, table, chain and handle of each rule, in the order libvirt deletes them', async () => {
    const record = await parseRemovalRecord(statusOf('nat'));
    expect(record).toMatchObject({ network: 'default', backend: 'nftables' });
    expect(record?.rules).toHaveLength(10);
    expect(record?.rules[0]).toEqual({ family: 'ip', table: 'libvirt_network', chain: 'guest_nat', handle: 18 });
    expect(record?.rules.at(-1)).toMatchObject({ chain: 'guest_output', handle: 9 });
  });

  it.each(WITH_RULES)('of %s names exactly the rules that stand, each in its chain', async (kind) => {
    const rules = (await parseRemovalRecord(statusOf(kind)))?.rules ?? [];
    const listing = nftCapture(`libvirt-11-nftables/${kind}.nft-ruleset.txt`);
    const standing = (['ip', 'ip6'] as const).flatMap((family) =>
      tableIn(listing, `${family} libvirt_network`).objects.flatMap((object) =>
        object.kind === 'chain' && object.name !== 'forward'
          ? object.rules.map(({ handle }) => `${family} ${object.name} ${handle}`)
          : [],
      ),
    );
    expect(rules.length).toBeGreaterThan(0);
    expect(rules.map(({ family, chain, handle }) => `${family} ${chain} ${handle}`).sort()).toEqual(standing.sort());
  });
});

describe('no record', () => {
  it.each(['open', 'bridge'])('is held of a network of kind %s, which has no rules', async (kind) => {
    expect(await parseRemovalRecord(statusOf(kind))).toMatchObject({ rules: [] });
  });

  it('by handle is held by the iptables backend, nor any by libvirt 9', async () => {
    expect(await parseRemovalRecord(statusOf('nat', 'libvirt/libvirt-11-iptables'))).toEqual({
      network: 'default',
      backend: 'iptables',
      rules: [],
    });
    expect(await parseRemovalRecord(statusOf('nat', 'libvirt/libvirt-9.0-iptables-nft'))).toEqual({
      network: 'default',
      backend: undefined,
      rules: [],
    });
  });

  it.each([
    ['', 'nothing'],
    ['<networkstatus><network><name>a', 'half a file'],
    ['<network><name>a</name></network>', 'a definition'],
    [
      '<!DOCTYPE a [<!ENTITY b "c">]><networkstatus><network><name>&b;</name></network></networkstatus>',
      'a document type',
    ],
    ['<networkstatus><network/></networkstatus>', 'a network without a name'],
  ])('is in %j: %s', async (text) => {
    expect(await parseRemovalRecord(text)).toBeUndefined();
  });

  it('is made of words that are no deletion by handle', async () => {
    const action = (...words: string[]): string =>
      `<action><args>${words.map((word) => `<item>${word}</item>`).join('')}</args></action>`;
    const text = `<networkstatus><network><name>R&amp;D</name></network><firewall name='fwRemoval' backend='nftables'><group>${[
      action('delete', 'rule', 'inet', 'libvirt_network', 'guest_nat', 'handle', '1'),
      action('delete', 'rule', 'ip', 'libvirt_network', 'guest_nat', 'handle', 'x'),
      action('delete', 'rule', 'ip'),
      action(),
      action('delete', 'rule', 'ip', 'libvirt_network', 'guest_nat', 'handle', '7'),
    ].join('')}</group></firewall></networkstatus>`;
    const record = await parseRemovalRecord(text);
    expect(record?.network).toBe('R&D');
    expect(record?.rules.map(({ handle }) => handle)).toEqual([7]);
  });
});

describe('all records', () => {
  const filesOf = (texts: Readonly<Record<string, string>>) => ({
    list: () => Promise.resolve(Object.keys(texts)),
    read: (path: string) =>
      path.endsWith('/locked.xml')
        ? Promise.reject(new HostError('read-failed', 'EACCES'))
        : Promise.resolve(texts[path.slice(2)]),
  });

  it('are read, whatever else lies in the folder', async () => {
    const files = filesOf({ 'default.xml': statusOf('nat'), 'locked.xml': '', 'x.xml': 'x', 'driver.pid': '1' });
    expect((await readRemovalRecords(files, 'f')).map(({ network }) => network)).toEqual(['default']);
  });

  it('are none where there is no such folder', async () => {
    const gone = { ...filesOf({}), list: () => Promise.reject(new HostError('read-failed', 'ENOENT')) };
    expect(await readRemovalRecords(gone, 'f')).toEqual([]);
  });
});
