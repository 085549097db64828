// libvirt's nftables backend for tests: networks from captured status files, tables from captured listings and transcripts.

import { readFileSync } from 'node:fs';
import { parseRemovalRecord } from '../src/observe/libvirt-record.ts';
import { parseNetworkXml } from '../src/observe/network-xml.ts';
import { parseNft } from '../src/ruleset/nft/parse.ts';
import type { NftTable } from '../src/ruleset/nft/types.ts';
import type { Network, RemovalRecord } from '../src/ruleset/network.ts';
import { nftCapture } from './captures/nft.ts';

const FOLDER = new URL('captures/libvirt-nft/', import.meta.url);
const read = (name: string): string => readFileSync(new URL(name, FOLDER), 'utf8');

export const WITH_RULES = [
  'nat',
  'nat-ipv6-nat',
  'nat-ipv6-routed',
  'nat-ports-addr',
  'nat-statichost',
  'routed',
  'routed-dev',
  'isolated',
  'isolated-ipv6',
];

export async function networkOf(kind: string): Promise<Network> {
  const parsed = await parseNetworkXml(read(`${kind}.run-status.xml`), kind);
  if ('problem' in parsed) throw new Error(parsed.problem.message);
  return parsed.network;
}

export async function recordOf(kind: string): Promise<RemovalRecord> {
  const record = await parseRemovalRecord(read(`${kind}.run-status.xml`));
  if (record === undefined) throw new Error(`no record in ${kind}`);
  return record;
}

/** libvirt's two tables in a captured listing. */
export const tablesIn = (listing: string): NftTable[] =>
  parseNft(listing).tables.filter(({ name }) => name === 'libvirt_network');

export const captured = (kind: string): NftTable[] =>
  tablesIn(nftCapture(`libvirt-11-nftables/${kind}.nft-ruleset.txt`));

/** What each command of a transcript printed, in order. */
export function transcript(name: string): string[] {
  return read(name)
    .split(/^\$ .*\n/m)
    .slice(1);
}

/** The second network of the captures with two: as `default`, on virbr7. */
export function secondOf(network: Network): Network {
  const [address] = network.addresses;
  if (address === undefined) throw new Error('no address');
  const moved = { ...address, cidr: '192.168.129.0/24', host: '192.168.129.1' };
  return { ...network, name: 'second', uuid: 'second', bridge: 'virbr7', addresses: [moved] };
}

/** The record libvirt holds after it wrote rules with these handles, each in its chain. */
export function recordFor(network: Network, handles: readonly (readonly [string, number])[]): RemovalRecord {
  const rules = handles.map(([chain, handle]) => ({ family: 'ip' as const, table: 'libvirt_network', chain, handle }));
  return { network: network.name, backend: 'nftables', rules };
}
