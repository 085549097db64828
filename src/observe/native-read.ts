// The native tables for a pass: `nft list tables`, then those that are not iptables' own, in one listing.
// Guarantees: reads only; a listing that cannot be had is unreadable, never empty; without nft there is no native table.
// Cost: one nft (3 ms) where there is no native table, whatever iptables holds: its tables are not listed (`nft list ruleset`
// takes 0.4 s at 10,000 iptables rules).

import type { Host } from '../host/host.ts';
import { parseNft } from '../ruleset/nft/parse.ts';
import type { NftTable } from '../ruleset/nft/types.ts';

export type NativeRead =
  | { readonly kind: 'tables'; readonly tables: readonly NftTable[]; readonly text: string }
  | { readonly kind: 'unreadable'; readonly why: string };

const NOT_INSTALLED = 127;
const NO_TABLES: NativeRead = { kind: 'tables', tables: [], text: '' };
/** Another program may delete a table between the two reads. */
const MOST_TRIES = 5;

/** What iptables, ebtables and arptables keep in nftables; read and written with their own tools. */
const KEPT_BY_IPTABLES = new Set([
  ...['filter', 'nat', 'mangle', 'raw', 'security'].flatMap((name) => [`ip ${name}`, `ip6 ${name}`]),
  ...['filter', 'nat', 'broute'].map((name) => `bridge ${name}`),
  'arp filter',
]);

/** All tables that nft alone speaks for, as `nft -s` lists them (no counters, nothing that runs out by itself). */
export async function readNative(host: Pick<Host, 'exec'>): Promise<NativeRead> {
  for (let tries = 1; ; tries++) {
    const names = await host.exec({ file: 'nft', args: ['list', 'tables'] });
    if (names.exitCode === NOT_INSTALLED) return NO_TABLES;
    if (names.exitCode !== 0) return unreadable('nft list tables', names);
    const keys = names.stdout.split('\n').flatMap((line) => keyOf(line) ?? []);
    if (keys.length === 0) return NO_TABLES;
    const input = keys.map((key) => `list table ${key}\n`).join('');
    // `-a`: a table is deleted by its handle, so that one made anew meanwhile is not.
    const listed = await host.exec({ file: 'nft', args: ['-s', '-a', '-f', '-'], input });
    if (listed.exitCode === 0) return parsed(listed.stdout);
    if (tries === MOST_TRIES) return unreadable('nft list table', listed);
  }
}

/** `table inet filter` */
function keyOf(line: string): string | undefined {
  const key = /^table (\S+ \S+)$/.exec(line.trimEnd())?.[1];
  return key === undefined || KEPT_BY_IPTABLES.has(key) ? undefined : key;
}

function parsed(text: string): NativeRead {
  const { tables, problems } = parseNft(text, 'nft list table');
  const [problem] = problems;
  if (problem !== undefined)
    return { kind: 'unreadable', why: `line ${problem.line} of nft list table: ${problem.message}` };
  return { kind: 'tables', tables, text };
}

function unreadable(what: string, { exitCode, stderr }: { exitCode: number; stderr: string }): NativeRead {
  return { kind: 'unreadable', why: `${what} ended with ${exitCode}: ${stderr.trim().split('\n')[0] ?? ''}` };
}
