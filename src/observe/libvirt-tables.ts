// libvirt's nftables tables, `ip libvirt_network` and `ip6 libvirt_network`, as `nft -a` lists them.
// Guarantees: reads only; a listing that cannot be had is unreadable, never empty; a table that goes between two commands is gone.
// Cost: one `nft list flowtables` (see native-read.ts) unless its text is given, and one listing for each table that stands.

import type { ExecResult, Host } from '../host/host.ts';
import { parseNft } from '../ruleset/nft/parse.ts';
import type { NftTable } from '../ruleset/nft/types.ts';
import { FAMILIES, type Family } from '../ruleset/types.ts';
import { saysNoNft } from './native-read.ts';

export type LibvirtTables =
  | { readonly kind: 'tables'; readonly tables: readonly NftTable[] }
  | { readonly kind: 'unreadable'; readonly why: string };

const NONE: LibvirtTables = { kind: 'tables', tables: [] };

/** Those that stand, with handles. `listed`: what `nft list flowtables` (or `list ruleset`) printed just now. */
export async function readLibvirtTables({ exec }: Pick<Host, 'exec'>, listed?: string): Promise<LibvirtTables> {
  let names = listed;
  if (names === undefined) {
    const asked = await exec({ file: 'nft', args: ['list', 'flowtables'] });
    if (saysNoNft(asked)) return NONE;
    if (asked.exitCode !== 0) return unreadable('nft list flowtables', asked);
    names = asked.stdout;
  }
  const reads = await Promise.all(familiesIn(names).map((family) => readTable(exec, family)));
  const bad = reads.find((read) => read.kind === 'unreadable');
  return bad ?? { kind: 'tables', tables: reads.flatMap((read) => (read.kind === 'tables' ? read.tables : [])) };
}

/** `table ip libvirt_network`, in a listing with ` {` behind it */
const familiesIn = (names: string): Family[] =>
  FAMILIES.filter((family) => new RegExp(`^table ${family} libvirt_network\\b`, 'm').test(names));

async function readTable(exec: Host['exec'], family: Family): Promise<LibvirtTables> {
  const command = `nft -a list table ${family} libvirt_network`;
  const result = await exec({ file: 'nft', args: command.split(' ').slice(1) });
  if (result.exitCode !== 0)
    return result.stderr.includes('No such file or directory') ? NONE : unreadable(command, result);
  const { tables, problems } = parseNft(result.stdout, command);
  const [problem] = problems;
  if (problem === undefined) return { kind: 'tables', tables };
  return { kind: 'unreadable', why: `line ${problem.line} of ${command}: ${problem.message}` };
}

function unreadable(command: string, { exitCode, stderr }: ExecResult): LibvirtTables {
  return { kind: 'unreadable', why: `${command} ended with ${exitCode}: ${stderr.trim().split('\n')[0] ?? ''}` };
}
