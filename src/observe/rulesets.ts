// The live ruleset, as iptables-save prints it. Both families at once.
// Guarantees: a table that is "incompatible" makes the family unreadable, never empty, with the rule that does it; what stands there
// natively beside iptables' own chains is left out (ruleset/nft/iptables-part.ts). Reads only; on the legacy engine it never names
// a table (`-t` would create it).

import type { Command, Host } from '../host/host.ts';
import { parseDocument } from '../ruleset/iptables/parse.ts';
import type { Family, Ruleset, TableName } from '../ruleset/types.ts';
import { withoutNative } from './mixed-tables.ts';

export type FamilyRead =
  | { readonly kind: 'ruleset'; readonly ruleset: Ruleset; readonly text: string; readonly durationMs: number }
  | { readonly kind: 'unreadable'; readonly family: Family; readonly why: string };

export const SAVE: Readonly<Record<Family, string>> = { ip: 'iptables-save', ip6: 'ip6tables-save' };
export const RESTORE: Readonly<Record<Family, string>> = { ip: 'iptables-restore', ip6: 'ip6tables-restore' };

/** One family's live rules; with `table` that one alone (nft engine only). */
export async function readFamily(host: Host, family: Family, table?: TableName): Promise<FamilyRead> {
  const command: Command = { file: SAVE[family], args: table === undefined ? ['-c'] : ['-c', '-t', table] };
  const result = await host.exec(command);
  const said = result.stderr.trim().split('\n')[0] ?? '';
  if (result.exitCode !== 0)
    return { kind: 'unreadable', family, why: `${command.file} ended with ${result.exitCode}: ${said}` };
  const { ruleset: printed, problems } = parseDocument(result.stdout, family, command.file);
  const problem = problems[0];
  if (problem !== undefined)
    return { kind: 'unreadable', family, why: `line ${problem.line} of ${command.file}: ${problem.message}` };
  const ruleset = await withoutNative(host, printed, result.stdout);
  if (typeof ruleset === 'string') return { kind: 'unreadable', family, why: ruleset };
  const native = await nativeRule(host, family, ruleset);
  if (native !== undefined) return { kind: 'unreadable', family, why: native };
  return { kind: 'ruleset', ruleset, text: result.stdout, durationMs: result.durationMs };
}

/**
 * iptables-save 1.8.9 prints a native nft rule in one of its tables as a bare `-A CHAIN`, without a warning (measured): such a
 * text would destroy the rule when it is loaded. A rule of iptables' own without match and target prints the same; nft tells
 * them apart, as it shows the latter as a lone counter.
 */
async function nativeRule(host: Host, family: Family, ruleset: Ruleset): Promise<string | undefined> {
  for (const table of ruleset.tables.values()) {
    for (const chain of table.chains.values()) {
      const bare = chain.rules.filter((rule) => rule.text === `-A ${chain.name}`).length;
      if (bare === 0) continue;
      const listed = await host.exec({ file: 'nft', args: ['list', 'chain', family, table.name, chain.name] });
      const counters = listed.stdout.match(/^\s*counter packets \d+ bytes \d+$/gm)?.length ?? 0;
      if (listed.exitCode === 0 && counters !== bare)
        return `table ${table.name} holds a native nft rule in chain ${chain.name}, which iptables cannot show`;
    }
  }
  return undefined;
}
