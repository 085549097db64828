// The captures of bridge and ARP tables; bridge/README.md says where they come from.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { parseSaved, type SavedFamily } from '../../src/ruleset/nft/saved.ts';
import type { NftTable } from '../../src/ruleset/nft/types.ts';

export const BRIDGE_CAPTURES: readonly (readonly [name: string, family: SavedFamily])[] = [
  ['libvirt-9.0.clean-traffic.ebtables-save.txt', 'bridge'],
  ['libvirt-11-nftables.clean-traffic.ebtables-save.txt', 'bridge'],
  ['forms.ebtables-save.txt', 'bridge'],
  ['forms.arptables-save.txt', 'arp'],
];

export const bridgeCapture = (name: string): string =>
  readFileSync(fileURLToPath(new URL(`bridge/${name}`, import.meta.url)), 'utf8');

/** `*nat` of libvirt 9.0 with one guest that has `clean-traffic`. */
export function filteredNat(): NftTable {
  const { tables } = parseSaved(bridgeCapture('libvirt-9.0.clean-traffic.ebtables-save.txt'), 'bridge', 'capture');
  return tables[0] as NftTable;
}
