// The native tables for a pass: `nft list tables`, then those that are not iptables' own, one listing each. (nft 1.0.6 cannot
// list two tables in one run: "No such file or directory" for all but one.)
// Guarantees: reads only; a listing that cannot be had is unreadable, never empty; without nft there is no native table.
// Cost: one nft (3 ms) where there is no native table, two one after the other with some, whatever iptables holds: its tables
// are not listed (`nft list ruleset` takes 0.4 s at 10,000 iptables rules) unless there are many native ones.

import type { Host } from '../host/host.ts';
import { parseNft } from '../ruleset/nft/parse.ts';
import { type NftTable, tableKey } from '../ruleset/nft/types.ts';

export type NativeRead =
  | { readonly kind: 'tables'; readonly tables: readonly NftTable[]; readonly text: string }
  | { readonly kind: 'unreadable'; readonly why: string };

const NOT_INSTALLED = 127;
const NO_TABLES: NativeRead = { kind: 'tables', tables: [], text: '' };
/** From here on one listing of everything costs less than one program for each. */
const MANY_TABLES = 8;
/** Another program may delete a table between the two reads. */
const MOST_TRIES = 5;

/** What iptables, ebtables and arptables keep in nftables; read and written with their own tools. */
const KEPT_BY_IPTABLES = new Set([
  ...['filter', 'nat', 'mangle', 'raw', 'security'].flatMap((name) => [`ip ${name}`, `ip6 ${name}`]),
  ...['filter', 'nat', 'broute'].map((name) => `bridge ${name}`),
  'arp filter',
]);

/**
 * Tables that nft alone speaks for, as `nft -s` lists them (no counters, nothing that runs out by itself); with `wanted` only
 * those of such a key (`inet filter`).
 */
export async function readNative(
  host: Pick<Host, 'exec'>,
  wanted: (key: string) => boolean = () => true,
): Promise<NativeRead> {
  for (let tries = 1; ; tries++) {
    const names = await host.exec({ file: 'nft', args: ['list', 'tables'] });
    if (names.exitCode === NOT_INSTALLED) return NO_TABLES;
    if (names.exitCode !== 0) return unreadable('nft list tables', names);
    const keys = names.stdout
      .split('\n')
      .flatMap((line) => keyOf(line) ?? [])
      .filter(wanted);
    if (keys.length === 0) return NO_TABLES;
    const lists = keys.length >= MANY_TABLES ? [['ruleset']] : keys.map((key) => ['table', ...key.split(' ')]);
    // `-a`: a table is deleted by its handle, so that one made anew meanwhile is not.
    const results = await Promise.all(
      lists.map((list) => host.exec({ file: 'nft', args: ['-s', '-a', 'list', ...list] })),
    );
    const failed = results.find(({ exitCode }) => exitCode !== 0);
    if (failed === undefined) return parsed(results.map(({ stdout }) => stdout).join(''), new Set(keys));
    if (tries === MOST_TRIES) return unreadable(failed.command.args.slice(2).join(' '), failed);
  }
}

/** `table inet filter` */
function keyOf(line: string): string | undefined {
  const key = /^table (\S+ \S+)$/.exec(line.trimEnd())?.[1];
  return key === undefined || KEPT_BY_IPTABLES.has(key) ? undefined : key;
}

function parsed(text: string, keys: ReadonlySet<string>): NativeRead {
  const { tables, problems } = parseNft(text, 'nft list table');
  const [problem] = problems;
  if (problem !== undefined)
    return { kind: 'unreadable', why: `line ${problem.line} of nft list table: ${problem.message}` };
  return { kind: 'tables', tables: tables.filter((table) => keys.has(tableKey(table))), text };
}

function unreadable(what: string, { exitCode, stderr }: { exitCode: number; stderr: string }): NativeRead {
  return { kind: 'unreadable', why: `${what} ended with ${exitCode}: ${stderr.trim().split('\n')[0] ?? ''}` };
}
