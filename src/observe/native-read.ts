// The native tables for a pass: their names, then those that are not iptables' own, one listing each. (nft 1.0.6 cannot
// list two tables in one run: "No such file or directory" for all but one.) Under a name of iptables' a table is read, too,
// when it has a base chain that is not iptables' (`ip nat` with `chain prerouting`).
// Guarantees: reads only; a listing that cannot be had is unreadable, never empty; without nft there is no native table.
// Cost: one nft (3 ms) where there is no native table, two one after the other with some, whatever iptables holds.
// `nft list tables` and `nft list ruleset` of 1.0.6 read all rules once for each table: with 11 tables and 10,000 rules 1.4 and
// 1.8 s, with 101 tables 18 and 23 s. `nft list chains` names the same tables, with their base chains, in 0.02 s, and one
// table is listed in 0.01 s.
// Does not: see a table whose name nft cannot read (`inet counter`, made by another program): no command could name it.

import type { ExecResult, Host } from '../host/host.ts';
import { hasNativeBase, isIptablesName } from '../ruleset/nft/iptables-part.ts';
import { IPTABLES_KEYS } from '../ruleset/nft/iptables-tables.ts';
import { parseNft } from '../ruleset/nft/parse.ts';
import { type NftTable, tableKey } from '../ruleset/nft/types.ts';

export type NativeRead =
  | {
      readonly kind: 'tables';
      readonly tables: readonly NftTable[];
      readonly text: string;
      /** What named all tables there are, neighbours' and iptables' too: `table ip libvirt_network {` ... (`nft list chains`) */
      readonly names: string;
      /** There is no nft, or the kernel has no nf_tables: no table can stand. */
      readonly isWithoutNft?: true;
    }
  | { readonly kind: 'unreadable'; readonly why: string };

const NOT_INSTALLED = 127;
const NO_TABLES = { kind: 'tables', tables: [], text: '', names: '' } as const;
/**
 * A kernel without nf_tables, as hosts of the legacy engine may have: `Unable to initialize Netlink socket: Protocol not supported`,
 * `netlink: Error: cache initialization failed: Operation not supported`. (libmnl's and the kernel's words for it.)
 */
const NO_NF_TABLES = /(?:Netlink socket|cache initialization failed): (?:Protocol|Operation) not supported/;

/** There is no nft, or the kernel has no nf_tables. */
export const saysNoNft = ({ exitCode, stderr }: Pick<ExecResult, 'exitCode' | 'stderr'>): boolean =>
  exitCode === NOT_INSTALLED || (exitCode !== 0 && NO_NF_TABLES.test(stderr));

/** Programs at a time. */
const MOST_AT_ONCE = 4;
/** Another program may delete a table between the two reads. */
const MOST_TRIES = 5;

/**
 * Tables that nft alone speaks for, as `nft -s` lists them (no counters, nothing that runs out by itself); with `wanted` only
 * those of such a key (`inet filter`). `known`: keys of tables that were native before; one under a name of iptables' is read, too,
 * when nothing native is left in it.
 */
export async function readNative(
  host: Pick<Host, 'exec'>,
  wanted: (key: string) => boolean = () => true,
  known: { has(key: string): boolean } = new Set(),
): Promise<NativeRead> {
  for (let tries = 1; ; tries++) {
    const names = await host.exec({ file: 'nft', args: ['list', 'chains'] });
    if (saysNoNft(names)) return { ...NO_TABLES, isWithoutNft: true };
    if (names.exitCode !== 0) return unreadable('nft list chains', names);
    const keys = keysIn(names.stdout, known).filter(wanted);
    if (keys.length === 0) return { ...NO_TABLES, names: names.stdout };
    const results = (await listAll(host, keys)).filter((result) => !isNoName(result));
    const failed = results.find(({ exitCode }) => exitCode !== 0);
    if (failed === undefined) return parsed(results.map(({ stdout }) => stdout).join(''), new Set(keys), names.stdout);
    if (tries === MOST_TRIES) return unreadable(failed.command.args.slice(2).join(' '), failed);
  }
}

/** `-a`: a table is deleted by its handle, so that one made anew meanwhile is not. */
async function listAll({ exec }: Pick<Host, 'exec'>, keys: readonly string[]): Promise<ExecResult[]> {
  const results: ExecResult[] = [];
  for (let at = 0; at < keys.length; at += MOST_AT_ONCE)
    results.push(
      ...(await Promise.all(
        keys
          .slice(at, at + MOST_AT_ONCE)
          .map((key) => exec({ file: 'nft', args: ['-s', '-a', 'list', 'table', ...key.split(' ')] })),
      )),
    );
  return results;
}

/** `Error: syntax error, unexpected counter, expecting string` */
const isNoName = ({ exitCode, stderr }: ExecResult): boolean =>
  exitCode !== 0 && stderr.startsWith('Error: syntax error');

/** What iptables, ebtables and arptables keep in nftables is read with their own tools. */
function keysIn(listing: string, known: { has(key: string): boolean }): string[] {
  const keys = [...listing.matchAll(/^table (\S+ \S+) \{$/gm)].map(([, key = '']) => key); // table inet filter {
  if (!keys.some((key) => IPTABLES_KEYS.has(key))) return keys;
  const mixed = new Set(parseNft(listing).tables.filter(hasNativeBase).map(tableKey));
  return keys.filter((key) => !IPTABLES_KEYS.has(key) || (isIptablesName(key) && (mixed.has(key) || known.has(key))));
}

function parsed(text: string, keys: ReadonlySet<string>, names: string): NativeRead {
  const { tables, problems } = parseNft(text, 'nft list table');
  const [problem] = problems;
  if (problem !== undefined)
    return { kind: 'unreadable', why: `line ${problem.line} of nft list table: ${problem.message}` };
  return { kind: 'tables', tables: tables.filter((table) => keys.has(tableKey(table))), text, names };
}

function unreadable(what: string, { exitCode, stderr }: { exitCode: number; stderr: string }): NativeRead {
  return { kind: 'unreadable', why: `${what} ended with ${exitCode}: ${stderr.trim().split('\n')[0] ?? ''}` };
}
