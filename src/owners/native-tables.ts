// Whose a native nft table is, by its name alone: neighbours that keep tables of their own, libvirt's nftables backend, mendwall.
// Guarantees: one look-up by hash, then the few patterns; no table is claimed by a part of its name unless a `*` says so.
// Does not: look into a table. A table that the admin made under a neighbour's name counts as the neighbour's.

import type { OwnerId } from '../ruleset/user-part.ts';
import { escaped } from './claim-neighbours.ts';
import type { Neighbour } from './types.ts';

export type FindTableOwner = (key: string) => OwnerId | undefined;

/** Tables of owners that have a signature of their own making. libvirt 10.4 and later; what mendwall pins. */
const OWN_TABLES: readonly (readonly [key: string, owner: OwnerId])[] = [
  ['ip libvirt_network', 'libvirt'],
  ['ip6 libvirt_network', 'libvirt'],
  ['ip mendwall', 'mendwall'],
  ['ip6 mendwall', 'mendwall'],
];

/** `inet f2b-*`: `*` stands for any rest. Of two that claim one table the first in the list wins. */
export function nativeTableOwners(neighbours: readonly Pick<Neighbour, 'id' | 'tables'>[]): FindTableOwner {
  const claims = neighbours.flatMap(({ id, tables = [] }) => tables.map((table) => [table, id] as const));
  const exact = new Map([...claims.filter(([table]) => !table.includes('*')).reverse(), ...OWN_TABLES]);
  const patterns = claims
    .filter(([table]) => table.includes('*'))
    .map(([table, id]) => ({ id, form: new RegExp(`^${table.split('*').map(escaped).join('.*')}$`) })); // ^inet f2b-.*$
  return (key) => exact.get(key) ?? patterns.find(({ form }) => form.test(key))?.id;
}
