// Which tables of a listing iptables-nft (ip6tables, ebtables, arptables) keeps its rules in.
// nft shows them, but not whole (`xt match`), so they are read and written by the iptables tools only. Pure.

import { chainsOf, type NftChain, type NftRuleset, type NftTable, tableKey } from './types.ts';

/**
 * How it is known. `warning`: nft says so (it does when it met an xt expression). `xt`: such an expression is printed.
 * `shape`: a name of iptables' with nothing but chains, and no base chains but its own (an empty
 * one too: firewalld leaves `ip nat` so); iptables works with such a table whoever made it.
 */
export type IptablesEvidence = 'warning' | 'xt' | 'shape';

/** `# Warning: table ip filter is managed by iptables-nft, do not touch!` (nft 1.0.6 prints it on standard error) */
const WARNING = /^# Warning: table (\S+) (\S+) is managed by iptables-nft/gm;

/**
 * The tables of iptables', by `FAMILY NAME`. `said` is what nft wrote on standard error with the listing, where its
 * warnings are.
 */
export function iptablesTables(ruleset: NftRuleset, said = ''): Map<string, IptablesEvidence> {
  const outside = ruleset.parts.map((part) => (part.kind === 'text' ? part.source : '')).join('');
  const warned = new Set([...(outside + said).matchAll(WARNING)].map(([, family, name]) => `${family} ${name}`));
  const found = new Map<string, IptablesEvidence>();
  for (const table of ruleset.tables) {
    const evidence = warned.has(tableKey(table)) ? 'warning' : evidenceOf(table);
    if (evidence !== undefined) found.set(tableKey(table), evidence);
  }
  return found;
}

/** What the table itself shows. */
export function evidenceOf(table: NftTable): 'xt' | 'shape' | undefined {
  const names = TABLES[table.family];
  if (names === undefined || !names.includes(table.name)) return undefined;
  if (hasXt(table)) return 'xt';
  return hasShape(table) ? 'shape' : undefined;
}

const TABLES: Readonly<Partial<Record<NftTable['family'], readonly string[]>>> = {
  ip: ['filter', 'nat', 'mangle', 'raw', 'security'],
  ip6: ['filter', 'nat', 'mangle', 'raw', 'security'],
  bridge: ['filter', 'nat', 'broute'],
  arp: ['filter'],
};

/** `ip filter`: the keys of all of them, whatever stands there. */
export const IPTABLES_KEYS: ReadonlySet<string> = new Set(
  Object.entries(TABLES).flatMap(([family, names]) => names.map((name) => `${family} ${name}`)),
);

const XT = /\b(?:xt|XT) (?:match|target) /; // xt match physdev

const hasXt = (table: NftTable): boolean =>
  chainsOf(table).some(({ rules }) => rules.some(({ text }) => XT.test(text)));

function hasShape(table: NftTable): boolean {
  const chains = chainsOf(table);
  const bases = chains.filter((chain) => chain.base !== undefined);
  return chains.length === table.objects.length && bases.every((chain) => isBuiltinChain(chain, table));
}

/** Of the tables in ip and ip6 (iptables/nft.c, xtables_ipv4): the hooks that each has, and its priority; nat's differs by hook. */
const BASES: Readonly<Record<string, { readonly hooks: string; readonly priority: number }>> = {
  filter: { hooks: 'input forward output', priority: 0 },
  nat: { hooks: 'prerouting input output postrouting', priority: 100 },
  mangle: { hooks: 'prerouting input forward output postrouting', priority: -150 },
  raw: { hooks: 'prerouting output', priority: -300 },
  security: { hooks: 'input forward output', priority: 150 }, // iptables-nft's own; the legacy engine's is 50
};

/** A base chain as iptables makes it: any other in its tables it calls incompatible, and leaves alone. */
export function isBuiltinChain({ name, base }: NftChain, { family, name: table }: NftTable): boolean {
  if (base === undefined) return false;
  if (family === 'bridge' && table === 'broute') return name === 'BROUTING';
  if (name !== base.hook.toUpperCase()) return false;
  if (family === 'bridge' || family === 'arp') return true;
  const own = BASES[table];
  if (own?.hooks.split(' ').includes(base.hook) !== true || base.type !== typeOf(table, base.hook)) return false;
  const isEarly = table === 'nat' && (base.hook === 'prerouting' || base.hook === 'output');
  return base.priority.number === (isEarly ? -100 : own.priority);
}

const typeOf = (table: string, hook: string): string =>
  table === 'nat' ? 'nat' : table === 'mangle' && hook === 'output' ? 'route' : 'filter';
