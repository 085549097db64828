// Files that others load at boot with `nft -f` (nftables.service): what stands is compared with them, where that is asked.
// Does not: read them itself, since only nft knows what an include or a variable means.

import { loadByNft } from '../apply/nft-namespace.ts';
import { classifyNative, userNativeOf } from '../classify/classify-native.ts';
import type { Host } from '../host/host.ts';
import type { NativeBootFile } from '../merge/native-boot.ts';
import { IPTABLES_KEYS } from '../ruleset/nft/iptables-tables.ts';
import type { NativePart } from '../ruleset/nft/native-part.ts';
import { type NftTable, tableKey } from '../ruleset/nft/types.ts';
import { interfacesNeeded } from '../ruleset/nft/unloadable.ts';

/** Debian, Arch, SUSE; RHEL, Fedora. */
export const NATIVE_BOOT_FILES: readonly string[] = ['/etc/nftables.conf', '/etc/sysconfig/nftables.conf'];

/** The user's part of each boot file. One that is missing, or that nft refuses, is not there. Devices are those of `live`. */
export async function readNativeBootFiles(
  host: Pick<Host, 'exec' | 'files'>,
  live: NativePart,
): Promise<NativeBootFile[]> {
  const devices = [...new Set([...live.values()].flatMap((table) => interfacesNeeded(table)))];
  const found: NativeBootFile[] = [];
  for (const file of NATIVE_BOOT_FILES) {
    if ((await host.files.stat(file)) === undefined) continue;
    const loaded = await loadByNft(host, file, devices);
    if (loaded !== undefined) found.push({ file, tables: usersOf(loaded.tables), flushes: loaded.flushes });
  }
  return found;
}

/** What iptables keeps in nftables is read with iptables' own tools. */
const usersOf = (tables: readonly NftTable[]): NativePart =>
  userNativeOf(classifyNative(tables.filter((table) => !IPTABLES_KEYS.has(tableKey(table)))));
