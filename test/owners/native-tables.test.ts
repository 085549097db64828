// Whose a native table is by its name.

import { afterEach, describe, expect, it } from 'vitest';
import { NEIGHBOURS, ownerOfNativeTable, useConfiguredOwners } from '../../src/owners/index.ts';
import { nativeTableOwners } from '../../src/owners/native-tables.ts';

afterEach(() => useConfiguredOwners([]));

const ENTRIES = NEIGHBOURS.flatMap(({ id, tables = [] }) => tables.map((table) => [table, id] as const));

describe('the owner of a native table', () => {
  it.each<readonly [string, string]>([
    ...ENTRIES,
    ['ip libvirt_network', 'libvirt'],
    ['ip6 libvirt_network', 'libvirt'],
    ['ip mendwall', 'mendwall'],
    ['ip6 mendwall', 'mendwall'],
    ['inet firewalld_policy_drop', 'firewalld'],
  ])('%s is %s’s', (table, owner) => {
    expect(ownerOfNativeTable(table.replace('*', 'rest'))).toBe(owner);
  });

  it.each(['inet filter', 'inet libvirt_network', 'ip libvirt_network2', 'inet firewalld2', 'arp firewalld', ''])(
    '%s is the user’s',
    (table) => {
      expect(ownerOfNativeTable(table)).toBeUndefined();
    },
  );

  it('a star stands for any rest, and for nothing else; a whole name goes first', () => {
    const owner = nativeTableOwners([
      { id: 'a', tables: ['inet f2b-*'] },
      { id: 'b', tables: ['inet f2b-web', 'ip x.y'] },
    ]);
    expect(['inet f2b-ssh', 'inet f2b-web', 'inet f2b', 'ip f2b-ssh', 'ip xzy'].map(owner)).toEqual([
      'a',
      'b',
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('entries that are configured count', () => {
    useConfiguredOwners([{ ...NEIGHBOURS[0]!, id: 'acme', tables: ['inet acme'] }]);
    expect(ownerOfNativeTable('inet acme')).toBe('acme');
  });
});
