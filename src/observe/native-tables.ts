// The native nft tables, as `nft list ruleset` prints them, and which tables of the listing are no business of nft's.
// Guarantees: reads only; a listing that cannot be had is unreadable, never empty. Without nft there is no native table.
// Does not: judge rules, or list counters (`-s`).

import type { Host } from '../host/host.ts';
import { hasNativeBase, isIptablesName, splitTable } from '../ruleset/nft/iptables-part.ts';
import { iptablesTables } from '../ruleset/nft/iptables-tables.ts';
import { parseNft } from '../ruleset/nft/parse.ts';
import { printNftTable } from '../ruleset/nft/print.ts';
import { chainsOf, type NftTable, type NftText, tableKey } from '../ruleset/nft/types.ts';

export type NativeTables =
  | {
      readonly kind: 'tables';
      /** As listed; of a table under a name of iptables' with native base chains what is native in it, the rest is iptables-save's. */
      readonly text: string;
      /** By `FAMILY NAME`: those of iptables-nft (iptables-save shows them whole), dormant ones, and bridge and arp tables without a rule. */
      readonly without: ReadonlySet<string>;
    }
  | { readonly kind: 'unreadable'; readonly why: string };

const NOT_INSTALLED = 127;

/** Both families at once. `iptables`: which engine the iptables commands drive; the legacy one keeps no table there. */
export async function readNativeTables(
  { exec }: Pick<Host, 'exec'>,
  iptables: 'nft' | 'legacy',
): Promise<NativeTables> {
  const { exitCode, stdout, stderr } = await exec({ file: 'nft', args: ['-s', 'list', 'ruleset'] });
  if (exitCode === NOT_INSTALLED) return { kind: 'tables', text: '', without: new Set() };
  if (exitCode !== 0)
    return {
      kind: 'unreadable',
      why: `nft list ruleset ended with ${exitCode}: ${stderr.trim().split('\n')[0] ?? ''}`,
    };
  const listing = parseNft(stdout, 'nft list ruleset');
  const [problem] = listing.problems;
  if (problem !== undefined)
    return { kind: 'unreadable', why: `line ${problem.line} of nft list ruleset: ${problem.message}` };
  const saved = iptables === 'nft' ? iptablesTables(listing, stderr) : new Map<string, unknown>();
  const idle = listing.tables.filter((table) => isIdle(table));
  const mixed = new Set(iptables === 'nft' ? listing.tables.filter(isMixed) : []);
  const asides = new Set([...mixed].map(tableKey));
  const iptablesOwn = [...saved.keys()].filter((key) => /^ip6? /.test(key) && !asides.has(key)); // ip filter
  const text = mixed.size === 0 ? stdout : listing.parts.map((part) => textOf(part, mixed)).join('');
  return { kind: 'tables', text, without: new Set([...iptablesOwn, ...idle.map(tableKey)]) };
}

const isMixed = (table: NftTable): boolean => isIptablesName(tableKey(table)) && hasNativeBase(table);

function textOf(part: NftTable | NftText, mixed: ReadonlySet<NftTable>): string {
  if (part.kind === 'text') return part.source;
  return printNftTable(mixed.has(part) ? (splitTable(part).native ?? part) : part);
}

/** Its chains see no packet (`flags dormant`), or let every packet by that the evaluator would have to ask them about. */
function isIdle(table: NftTable): boolean {
  if (table.flags.includes('dormant')) return true;
  if (table.family !== 'bridge' && table.family !== 'arp') return false;
  return chainsOf(table).every(({ rules, base }) => rules.length === 0 && base?.policy !== 'drop');
}
