// The tables that ebtables and arptables keep in nftables, as `ebtables-save` and `arptables-save` print them, in the shape of native
// tables: so that all that compares, decides and keeps native tables takes them, too. Pure.
// nft shows them, but not whole (`xt match arp`): only their own tools can load them back. A rule's text is the whole saved line.
// Guarantees: print(parse(print(x))) = print(x); a line that is none of theirs is a problem, never dropped.
// Does not: know ebtables' matches, or counters. Measured with iptables 1.8.9 and 1.8.11 (nf_tables).

import type { Problem } from '../types.ts';
import type { NativePart } from './native-part.ts';
import { chainsOf, type NftBase, type NftChain, type NftRule, type NftTable, tableKey } from './types.ts';

export type SavedFamily = 'bridge' | 'arp';
export const SAVED_FAMILIES: readonly SavedFamily[] = ['bridge', 'arp'];
/** What loads a text of the family. */
export const RESTORE = { bridge: 'ebtables-restore', arp: 'arptables-restore' } as const;

const TABLES: Readonly<Record<SavedFamily, readonly string[]>> = {
  bridge: ['filter', 'nat', 'broute'],
  arp: ['filter'],
};
const BUILTIN: ReadonlySet<string> = new Set(['INPUT', 'FORWARD', 'OUTPUT', 'PREROUTING', 'POSTROUTING', 'BROUTING']);

const KEYS: ReadonlySet<string> = new Set(
  SAVED_FAMILIES.flatMap((family) => TABLES[family].map((table) => `${family} ${table}`)),
);

/** `bridge nat`, `arp filter` */
export const isSavedKey = (key: string): boolean => KEYS.has(key);

export const isBuiltinName = (chain: string): boolean => BUILTIN.has(chain);

/** The tables of both tools out of a part, or the rest. */
export const onlySaved = (part: NativePart): NativePart => new Map([...part].filter(([key]) => isSavedKey(key)));
export const withoutSaved = (part: NativePart): NativePart => new Map([...part].filter(([key]) => !isSavedKey(key)));

/** What stands behind `:CHAIN`. ebtables has one for each chain (`RETURN` falls through), arptables `-` for those that somebody made. */
export const policyOf = (chain: NftChain): string =>
  chain.parts.flatMap((part) => (part.kind === 'line' ? part.text.slice('policy '.length) : []))[0] ?? 'ACCEPT';

/** A chain of such a table. */
export function savedChain(name: string, policy: string, texts: readonly string[]): NftChain {
  const rules = texts.map((text): NftRule => ({ kind: 'rule', source: `\t\t${text}\n`, text, handle: undefined }));
  return {
    kind: 'chain',
    head: `\tchain ${name} {\n`,
    tail: '\t}\n',
    handle: undefined,
    name,
    base: isBuiltinName(name) ? baseOf(name, policy) : undefined,
    comment: undefined,
    parts: [{ kind: 'line', source: `\t\tpolicy ${policy}\n`, text: `policy ${policy}` }, ...rules],
    rules,
  };
}

const baseOf = (name: string, policy: string): NftBase => ({
  type: 'filter',
  hook: name.toLowerCase(),
  devices: [],
  priority: { text: 'filter', number: 0 },
  policy: policy.toLowerCase(),
  flags: [],
});

export function savedTable(family: SavedFamily, name: string, chains: readonly NftChain[]): NftTable {
  return {
    kind: 'table',
    family,
    name,
    head: `table ${family} ${name} {\n`,
    tail: '}\n',
    handle: undefined,
    flags: [],
    comment: undefined,
    progname: undefined,
    parts: chains,
    objects: chains,
  };
}

/** No rule, no chain of somebody's own, no policy but ACCEPT: it does what no table does. */
export const isTrivial = (table: NftTable): boolean =>
  chainsOf(table).every((chain) => chain.base?.policy === 'accept' && chain.rules.length === 0);

export interface ParsedSaved {
  readonly tables: readonly NftTable[];
  readonly problems: readonly Problem[];
}

interface OpenTable {
  readonly name: string;
  readonly chains: Map<string, { readonly policy: string; readonly texts: string[] }>;
}

/** Reads what `ebtables-save` (bridge) or `arptables-save` (arp) prints, and what `printSaved` does. */
export function parseSaved(text: string, family: SavedFamily, file: string): ParsedSaved {
  const open: OpenTable[] = [];
  const problems: Problem[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const message = readLine(line, open);
    if (message !== undefined) problems.push({ code: 'bad-line', file, line: index + 1, column: 1, message });
  }
  const tables = open.map(({ name, chains }) =>
    savedTable(
      family,
      name,
      [...chains].map(([chain, { policy, texts }]) => savedChain(chain, policy, texts)),
    ),
  );
  return { tables, problems };
}

/** What is wrong with the line; undefined: nothing. */
function readLine(line: string, open: OpenTable[]): string | undefined {
  if (line === '' || line.startsWith('#') || line === 'COMMIT') return undefined;
  const table = open.at(-1);
  if (line.startsWith('*')) return void open.push({ name: line.slice(1), chains: new Map() });
  const [, chain, policy = ''] = /^:(\S+) (\S+)$/.exec(line) ?? []; // :FORWARD DROP
  if (table !== undefined && chain !== undefined) return void table.chains.set(chain, { policy, texts: [] });
  const place = /^-A (\S+)(?: |$)/.exec(line)?.[1] ?? ''; // -A FORWARD -i eth0 -j DROP
  const into = table?.chains.get(place);
  if (into === undefined) return `expected a table, a chain or a rule of a chain above, found "${line}"`;
  return void into.texts.push(line.trimEnd());
}

/** A text that the plain restore program loads; empty without a table of the family. */
export function printSaved(part: NativePart, family: SavedFamily, title: string): string {
  const tables = [...part.values()].filter((table) => isSavedKey(tableKey(table)) && table.family === family);
  return tables.length === 0 ? '' : `# ${title}\n${tables.map(printSavedTable).join('')}`;
}

export function printSavedTable(table: NftTable): string {
  const chains = chainsOf(table);
  const heads = chains.map((chain) => `:${chain.name} ${policyOf(chain)}\n`);
  const rules = chains.flatMap((chain) => chain.rules.map(({ text }) => `${text}\n`));
  return `*${table.name}\n${heads.join('')}${rules.join('')}`;
}
