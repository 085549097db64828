// Tables of iptables' in which native base chains stand as well: iptables' own part of them, and what cannot be told.
// Measured with iptables 1.8.9 and 1.8.11: such a table is printed with `# Table 'nat' contains incompatible base-chains`, without those
// chains and with every other one, whoever made it; and not at all (`# Table 'nat' is incompatible`) when one of these others
// holds what iptables has no words for.
// Guarantees: nothing native is taken for iptables' rule; what iptables keeps there is never taken for gone. Reads only.
// Cost: nothing where iptables-save says nothing; else one `nft list table` for each table it names.

import type { Host } from '../host/host.ts';
import { parseNft } from '../ruleset/nft/parse.ts';
import { splitTable } from '../ruleset/nft/iptables-part.ts';
import { isBuiltinChain } from '../ruleset/nft/iptables-tables.ts';
import { chainsOf, type NftTable } from '../ruleset/nft/types.ts';
import type { Ruleset, Table, TableName } from '../ruleset/types.ts';
import { unreadableTables } from './engine.ts';
import { incompatibleRule } from './native-rules.ts';

/** iptables' own part of what was printed; or why that cannot be told. */
export async function withoutNative(host: Host, printed: Ruleset, text: string): Promise<Ruleset | string> {
  const hidden = unreadableTables(text);
  const mixed = mixedTables(text);
  if (hidden.length + mixed.length === 0) return printed;
  const tables = new Map(printed.tables);
  for (const name of [...hidden, ...mixed]) {
    const table = await listed(host, printed, name);
    // Between the two programs it went, or nft is not there to ask.
    if (table === undefined && !hidden.includes(name)) continue;
    const { native, iptables } = table === undefined ? UNKNOWN : splitTable(table);
    if (native !== undefined && iptables.size === 0) tables.delete(name);
    else if (hidden.includes(name)) return hiddenWhy(host, printed, name, table);
    else tables.set(name, onlyOf(tables.get(name), name, iptables));
  }
  return { ...printed, tables };
}

const UNKNOWN = { native: undefined, iptables: new Set<string>() } as const;

/** ``# Table `nat' contains incompatible base-chains, use 'nft' tool to list them.`` */
const mixedTables = (text: string): TableName[] =>
  [...text.matchAll(/^# Table `([^'\n]+)' contains incompatible base-chains/gm)].map(([, table = '']) => table);

async function listed(host: Host, { family }: Ruleset, name: TableName): Promise<NftTable | undefined> {
  const { exitCode, stdout } = await host.exec({ file: 'nft', args: ['-s', 'list', 'table', family, name] });
  return exitCode === 0 ? parseNft(stdout, 'nft list table').tables.find((table) => table.name === name) : undefined;
}

/** Built-in chains are printed whether they are there or not; of the rest only those that are iptables'. */
function onlyOf(table: Table | undefined, name: TableName, iptables: ReadonlySet<string>): Table {
  const chains = [...(table?.chains ?? [])].filter(([chain, { policy }]) => policy !== '-' || iptables.has(chain));
  return { name, chains: new Map(chains) };
}

/** Which rule it is: one of a chain that iptables-save would print. */
async function hiddenWhy(
  host: Host,
  { family }: Ruleset,
  name: TableName,
  table: NftTable | undefined,
): Promise<string> {
  const printed = table && chainsOf(table).filter((chain) => chain.base === undefined || isBuiltinChain(chain, table));
  const rule = await incompatibleRule(host, family, name, new Set(printed?.map((chain) => chain.name)));
  const because = rule === undefined ? '' : `: chain ${rule.chain} holds a native nft rule, ${rule.text}`;
  return `table ${name} is incompatible, use 'nft' tool${because}`;
}
