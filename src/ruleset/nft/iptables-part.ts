// A table under a name of iptables' (`ip nat`) in which native rules stand: which of its chains are whose. Pure.
// Both can stand in one table: `nft` makes `chain prerouting` there, and iptables-nft its own PREROUTING beside it.
// Measured with iptables 1.8.9 and 1.8.11: a base chain with another name, type, hook or priority than iptables' own is left out by
// iptables-save (`# Table 'nat' contains incompatible base-chains`); every other chain it prints as its own.
// Native are such base chains, what they lead to, and all that is no chain (iptables keeps no sets in ip and ip6). All else is iptables'.
// Does not: split a table whose base chains are all iptables': a native rule there makes it unreadable (observe/native-rules.ts).

import { IPTABLES_KEYS, isBuiltinChain } from './iptables-tables.ts';
import { mapObjects } from './native-part.ts';
import { chainsOf, type NftChain, type NftTable } from './types.ts';

export interface SplitTable {
  /** The same table with what is native in it; undefined when nothing is. */
  readonly native: NftTable | undefined;
  /** Names of the chains that are iptables'. */
  readonly iptables: ReadonlySet<string>;
  /** A native chain that iptables' rules lead to as well, and one such rule: it can be neither's alone. */
  readonly shared: { readonly chain: string; readonly text: string } | undefined;
}

/** `ip nat`, `ip6 filter`: tables that may hold both. (ebtables' and arptables' are left to their own tools.) */
export const isIptablesName = (key: string): boolean => /^ip6? /.test(key) && IPTABLES_KEYS.has(key);

/** It has a base chain that is not iptables'. */
export const hasNativeBase = (table: NftTable): boolean =>
  chainsOf(table).some((chain) => chain.base !== undefined && !isBuiltinChain(chain, table));

/**
 * Whose the chains of a table of such a name are. `known`: the native part as it was before: a chain of it stays native when the rule
 * that led to it is gone.
 */
export function splitTable(table: NftTable, known?: NftTable): SplitTable {
  const chains = chainsOf(table);
  const all = new Set(chains.map(({ name }) => name));
  if (!hasNativeBase(table) && known === undefined) return { native: undefined, iptables: all, shared: undefined };
  const reached = nativeChains(table, chains, known === undefined ? [] : regularChains(known));
  const native = mapObjects(table, (object) =>
    object.kind !== 'chain' || reached.has(object.name) ? object : undefined,
  );
  const iptables = chains.filter(({ name }) => !reached.has(name));
  return { native, iptables: new Set(iptables.map(({ name }) => name)), shared: sharedOf(iptables, reached) };
}

/** Native base chains, and every chain that they and the table's maps lead to. */
function nativeChains(table: NftTable, chains: readonly NftChain[], known: readonly string[]): Set<string> {
  const byName = new Map(chains.map((chain) => [chain.name, chain]));
  const reached = new Set<string>();
  const maps = table.objects.flatMap((object) => (object.kind === 'set' ? targetsIn(object.elementsText) : []));
  const open = [...chains.filter((chain) => isNativeBase(chain, table)).map(({ name }) => name), ...maps, ...known];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const chain = byName.get(name);
    if (chain === undefined || reached.has(name)) continue;
    reached.add(name);
    open.push(...chain.rules.flatMap(({ text }) => targetsIn(text)));
  }
  return reached;
}

/** Names of the chains without a hook. */
export const regularChains = (table: NftTable): string[] =>
  chainsOf(table).flatMap(({ name, base }) => (base === undefined ? [name] : []));

const isNativeBase = (chain: NftChain, table: NftTable): boolean =>
  chain.base !== undefined && !isBuiltinChain(chain, table);

/** `tcp dport vmap { 22 : jump ssh, 80 : goto web }` -> ssh, web */
function targetsIn(text: string): string[] {
  if (!text.includes('jump ') && !text.includes('goto ')) return [];
  return [...text.replace(/"[^"]*"/g, '""').matchAll(/\b(?:jump|goto) ([^\s,;{}]+)/g)].map(([, name = '']) => name);
}

function sharedOf(iptables: readonly NftChain[], reached: ReadonlySet<string>): SplitTable['shared'] {
  for (const { rules } of iptables)
    for (const { text } of rules) {
      const chain = targetsIn(text).find((name) => reached.has(name));
      if (chain !== undefined) return { chain, text };
    }
  return undefined;
}
