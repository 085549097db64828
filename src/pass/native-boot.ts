// Files that others load at boot with `nft -f` (nftables.service): what stands is compared with them, where that is asked.
// Does not: follow an include to see whether it flushes; a file says `flush ruleset` itself, or is taken to flush nothing.

import type { Host } from '../host/host.ts';
import { type BootEvidence, type NativeBootFile, NO_BOOT_FILES } from '../merge/native-boot.ts';
import { type CompiledRules, compiledRules } from '../observe/nft-compiled.ts';
import { ownerOfNativeTable } from '../owners/index.ts';
import { IPTABLES_KEYS } from '../ruleset/nft/iptables-tables.ts';
import type { NativePart } from '../ruleset/nft/native-part.ts';
import { printNftTable } from '../ruleset/nft/print.ts';

/** Debian, Arch, SUSE; RHEL, Fedora. */
const NATIVE_BOOT_FILES: readonly string[] = ['/etc/nftables.conf', '/etc/sysconfig/nftables.conf'];

/** The user's part of each boot file, and of what stands. A file that is missing, or that nft refuses, is not there. */
export async function readBootEvidence(host: Pick<Host, 'exec' | 'files'>, live: NativePart): Promise<BootEvidence> {
  const files: NativeBootFile[] = [];
  for (const file of NATIVE_BOOT_FILES) {
    const text = await host.files.read(file);
    const rules = text === undefined ? undefined : await compiledRules(host, file);
    if (text !== undefined && rules !== undefined)
      files.push({ file, rules: usersOf(rules, live), flushes: /^\s*flush\s+ruleset\s*(?:;|#|$)/m.test(text) });
  }
  if (files.length === 0) return NO_BOOT_FILES;
  return { files, live: (await compiledRules(host, '-', madeAnew(live))) ?? new Map() };
}

/** In check mode: what stands is no obstacle then. */
const madeAnew = (part: NativePart): string =>
  [...part].map(([key, table]) => `delete table ${key}\n${printNftTable(table)}`).join('');

/** What iptables keeps in nftables is read with iptables' own tools; a table of such a name counts where it stands as the user's. */
const usersOf = (rules: CompiledRules, live: NativePart): CompiledRules =>
  new Map(
    [...rules].filter(([key]) => live.has(key) || (!IPTABLES_KEYS.has(key) && ownerOfNativeTable(key) === undefined)),
  );
