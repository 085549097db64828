// libvirt's nftables backend, read and judged: its tables against its definitions and its own records. Writes nothing, ever.
// Cost: nothing but one `nft list flowtables` where libvirt has no such table (nothing at all when that text is given).

import type { Host } from '../host/host.ts';
import type { Drift } from '../merge/drift.ts';
import { nativeLibvirtDrift } from '../merge/libvirt-nft-losses.ts';
import { readRemovalRecords } from '../observe/libvirt-record.ts';
import { readLibvirtTables } from '../observe/libvirt-tables.ts';
import type { Network } from '../ruleset/network.ts';

export interface NativeDrift {
  /** `none`: libvirt has no such table, and none of its running networks wants one. */
  readonly kind: 'none' | 'read' | 'unreadable';
  readonly drift: readonly Drift[];
  /** Of `unreadable`. */
  readonly why?: string;
}

/**
 * What stands differently in `libvirt_network` than libvirt wants it. `listedTables`: what `nft list flowtables` printed just now, where
 * the caller has it. While libvirt rewrites, this shows what is missing at that moment.
 */
export async function libvirtNativeDrift(
  host: Pick<Host, 'exec' | 'files'>,
  networks: readonly Network[] | undefined,
  listedTables?: string,
): Promise<NativeDrift> {
  const read = await readLibvirtTables(host, listedTables);
  if (read.kind === 'unreadable') return { kind: 'unreadable', drift: [], why: read.why };
  const isWanted = networks?.some(({ active, backend }) => active && backend === 'nftables') === true;
  if (read.tables.length === 0 && !isWanted) return { kind: 'none', drift: [] };
  const records = await readRemovalRecords(host.files);
  return { kind: 'read', drift: nativeLibvirtDrift({ tables: read.tables, networks, records }) };
}
