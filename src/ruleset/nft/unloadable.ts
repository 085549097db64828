// What `nft -f` cannot load back from a listing, or would load as something else.
// Guarantees: a table without findings holds nothing of the kinds below.
// Does not: try the table (only nft can say that a name, a device or a set is missing); see interfacesNeeded.

import { elementsOf } from './elements.ts';
import { printNftObject } from './print.ts';
import { statementsOf } from './statements.ts';
import type { NftExpression, NftStatement, NftValue } from './statement-types.ts';
import { chainsOf, type NftChain, type NftRule, type NftSet, type NftTable, setsOf } from './types.ts';

export const UNLOADABLE_REASONS = [
  /** `xt match physdev`, `XT target MASQUERADE not found`: "unsupported xtables compat expression, use iptables-nft". */
  'xt',
  /**
   * A match of iptables' that prints as nothing: ` counter packets 0 bytes 0 accept` was
   * `-m comment --comment x -j ACCEPT` (measured with nft 1.0.6). It would load without the match.
   */
  'hidden-xt',
  /**
   * `iif 73`: the interface of that index is gone. It loads (measured: nft 1.0.6 and 1.1.3, exit 0) and would then match
   * whatever interface gets this index.
   */
  'dead-interface',
  /**
   * `flags owner`: the table would end with the `nft -f` that loads it. `flags persist`, what is left of an owned table
   * after its program: nft 1.0.6 lists and loads no such flag, and 1.1.3 refuses `add table` over it.
   */
  'owner',
  /** A quote in a quoted text, as iptables allows; nft has no escape. */
  'quote',
  /** The listing ends within the table. */
  'incomplete',
  /** A rule of iptables' leads to a native chain of the same table (iptables-part.ts). */
  'shared',
] as const;
export type UnloadableReason = (typeof UNLOADABLE_REASONS)[number];

export interface Unloadable {
  readonly reason: UnloadableReason;
  /** 1-based, counted from the table's own first line. */
  readonly line: number;
  /** The rule or line, without indentation. */
  readonly text: string;
}

/** All findings, in the order of the text. Empty: as far as the text can tell, the table loads back. */
export function unloadableIn(table: NftTable): Unloadable[] {
  const found: Unloadable[] = [];
  const add = (reason: UnloadableReason | undefined, line: number, text: string): void => {
    if (reason !== undefined) found.push({ reason, line, text });
  };
  let line = 1 + lineCount(table.head);
  if (isOwned(table)) add('owner', 1, table.head.trim());
  for (const part of table.parts) {
    const source = 'source' in part ? part.source : printNftObject(part);
    if (part.kind === 'chain') addRules(part, line, add);
    if (part.kind === 'set') add(deadElement(part), line, part.head.trim());
    line += lineCount(source);
  }
  if (table.tail === '') add('incomplete', line - 1, table.head.trim());
  return found;
}

/**
 * Held by a running program, or left behind by one: nobody else may change it. nft 1.0.6 does not know `persist` and
 * prints `flags` with nothing behind it (measured on Linux 6.18).
 */
export const isOwned = ({ flags, parts }: NftTable): boolean =>
  flags.includes('owner') ||
  flags.includes('persist') ||
  parts.some((part) => part.kind === 'line' && part.text.trim() === 'flags');

/** Interfaces that must exist when the table is loaded: nft turns the names in `iif`/`oif` and `device` into indexes. */
export function interfacesNeeded(table: NftTable): string[] {
  const names = new Set<string>();
  const collect = (value: NftValue): void => literalsOf(value, true).forEach((name) => names.add(name));
  for (const chain of chainsOf(table)) {
    for (const device of chain.base?.devices ?? []) names.add(device);
    for (const { text } of chain.rules) if (text.includes('if ')) indexMatches(statementsOf(text)).forEach(collect);
  }
  for (const set of setsOf(table).filter(isOfIndexes))
    for (const { key } of elementsOf(set.elementsText)) for (const name of quotedIn(key)) names.add(name);
  for (const object of table.objects)
    if (object.kind === 'flowtable') for (const device of object.devices) names.add(device);
  return [...names].sort();
}

function addRules(
  { head, parts }: NftChain,
  firstLine: number,
  add: (reason: UnloadableReason | undefined, line: number, text: string) => void,
): void {
  let line = firstLine + lineCount(head);
  for (const part of parts) {
    if (part.kind === 'rule') add(reasonOf(part), line, part.text);
    line += lineCount(part.source);
  }
}

function reasonOf({ source, text }: NftRule): UnloadableReason | undefined {
  const bare = text.includes('"') ? text.replace(/"[^"]*"/g, '""') : text;
  if (/\b(?:xt|XT) (?:match|target) /.test(bare)) return 'xt'; // xt match physdev
  if (bare.includes('"') && STRAY_QUOTE.test(bare.replaceAll('""', '\u0001'))) return 'quote';
  if (/^\t+ /.test(source) || bare.trimEnd().includes('  ')) return 'hidden-xt';
  return /\b[io]if .*\d/.test(bare) && hasDeadIndex(text) ? 'dead-interface' : undefined; // iif 73
}

/** `log prefix "q"u {"`, with each quoted text as one \u0001: a quote is left over, or text touches a quoted one. */
const STRAY_QUOTE = /"|\u0001[^\s,-]|[^\s-]\u0001/;

const hasDeadIndex = (text: string): boolean =>
  indexMatches(statementsOf(text)).some((value) => literalsOf(value, false).some((word) => /^\d+$/.test(word)));

/** The values that `iif` and `oif` are compared with. */
function indexMatches(statements: readonly NftStatement[]): NftValue[] {
  return statements.flatMap((statement) => {
    if (statement.kind === 'match') return indexParts(statement.left, statement.right);
    if (statement.kind !== 'vmap' || statement.map.kind === 'named') return [];
    return statement.map.entries.flatMap(({ key }) => indexParts(statement.key, key));
  });
}

/** Of `iif . tcp dport { "lo" . 22 }` only what stands where `iif` stands. */
function indexParts(expression: NftExpression, value: NftValue): NftValue[] {
  if (value.kind === 'anonymous-set') return value.elements.flatMap((element) => indexParts(expression, element));
  if (expression.kind === 'concat' && value.kind === 'concat')
    return value.parts.flatMap((part, index) => {
      const compared = expression.parts[index];
      return compared === undefined ? [] : indexParts(compared, part);
    });
  return expression.kind === 'meta' && (expression.key === 'iif' || expression.key === 'oif') ? [value] : [];
}

const literalsOf = (value: NftValue, quoted: boolean): string[] =>
  value.kind === 'literal' && value.quoted === quoted ? [value.text] : [];

/** `type iface_index`, `typeof iif . ip saddr` */
const isOfIndexes = ({ type, typeOf }: NftSet): boolean => /\biface_index\b|\b[io]if\b/.test(`${type} ${typeOf}`);

/** Only where indexes are all there is: in `iif . tcp dport` a number may be a port. */
function deadElement(set: NftSet): UnloadableReason | undefined {
  const alone = set.type === 'iface_index' || /^(?:meta )?[io]if$/.test(set.typeOf ?? '');
  return alone && elementsOf(set.elementsText).some(({ key }) => /^\d+$/.test(key)) ? 'dead-interface' : undefined;
}

const quotedIn = (key: string): string[] => [...key.matchAll(/"([^"]*)"/g)].map(([, name = '']) => name);

const lineCount = (text: string): number => text.split('\n').length - 1;
