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
  return chains.length === table.objects.length && bases.every((chain) => isBuiltin(chain, table));
}

/** Priorities of the tables in ip and ip6 (iptables/nft.c, xtables_ipv4); nat differs by hook. */
const PRIORITIES: Readonly<Record<string, number>> = { filter: 0, mangle: -150, raw: -300, security: 50 };

function isBuiltin({ name, base }: NftChain, { family, name: table }: NftTable): boolean {
  if (base === undefined) return false;
  if (family === 'bridge' && table === 'broute') return name === 'BROUTING';
  if (name !== base.hook.toUpperCase()) return false;
  if (family === 'bridge' || family === 'arp') return true;
  const nat = name === 'PREROUTING' || name === 'OUTPUT' ? -100 : 100;
  return base.priority.number === (table === 'nat' ? nat : PRIORITIES[table]);
}
