// The user's native nft tables as one value: what a snapshot holds, and what is wished. Text is the model here too.
// Guarantee: print(parse(print(x))) = print(x). Does not: say whose a table is (owners do).

import type { Problem } from '../types.ts';
import { parseNft } from './parse.ts';
import { printNftTable } from './print.ts';
import { canonicalTable, sameTable } from './same.ts';
import {
  chainsOf,
  type NftChain,
  type NftLine,
  type NftObject,
  type NftSet,
  type NftTable,
  type NftText,
  tableKey,
} from './types.ts';

/** By `FAMILY NAME`, in the order in which nft lists them: base chains of one priority run in the order they were made. */
export type NativePart = ReadonlyMap<string, NftTable>;

export const EMPTY_NATIVE: NativePart = new Map();

export const nativePart = (tables: readonly NftTable[]): NativePart =>
  new Map(tables.map((table) => [tableKey(table), table]));

/** A file that plain `nft -f` loads. Empty without a table. */
export function printNative(part: NativePart, title: string): string {
  if (part.size === 0) return '';
  return `# ${title}\n${[...part.values()].map(printNftTable).join('')}`;
}

export type ParsedNative =
  | { readonly kind: 'part'; readonly part: NativePart }
  | { readonly kind: 'problems'; readonly problems: readonly Problem[] };

export function parseNative(text: string, file: string): ParsedNative {
  const { tables, problems } = parseNft(text, file);
  return problems.length > 0 ? { kind: 'problems', problems } : { kind: 'part', part: nativePart(tables) };
}

export function sameNative(a: NativePart, b: NativePart): boolean {
  return a.size === b.size && [...a].every(([key, table]) => isSameTable(table, b.get(key)));
}

export function isSameTable(a: NftTable | undefined, b: NftTable | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  // Nearly always the text is the same; 100,000 rules in their canonical form take a second or two.
  return a === b || printNftTable(a) === printNftTable(b) || sameTable(a, b);
}

/** The text an id is made of: the same rules, the same text. */
export const canonicalNative = (part: NativePart): string =>
  [...part.values()].map((table) => canonicalTable(table)).join('');

export const countNativeRules = (part: NativePart): number =>
  [...part.values()].reduce((sum, table) => sum + rulesOf(table).length, 0);

export interface PlacedRule {
  readonly chain: string;
  readonly text: string;
}

/** All rules of a table, chain by chain. */
export const rulesOf = (table: NftTable): PlacedRule[] =>
  chainsOf(table).flatMap(({ name, rules }) => rules.map(({ text }) => ({ chain: name, text })));

/** The same table without what packets put into its sets: state, and no wish of anybody's. */
export function withoutDynamicElements(table: NftTable): NftTable {
  return mapObjects(table, (object) =>
    object.kind === 'set' && object.flags.includes('dynamic') && object.elementsText !== '' ? emptied(object) : object,
  );
}

function emptied(set: NftSet): NftSet {
  const isElements = (part: NftLine | NftText): boolean => part.kind === 'line' && part.text.startsWith('elements = {');
  return { ...set, elementsText: '', parts: set.parts.filter((part) => !isElements(part)) };
}

/** `accept # handle 5`, with or without a line end. No regular expression: there may be 100,000 of them. */
function bare(text: string, handle: number | undefined): string {
  if (handle === undefined) return text;
  const lineEnd = text.endsWith('\n') ? '\n' : '';
  const tail = ` # handle ${handle}${lineEnd}`;
  return text.endsWith(tail) ? text.slice(0, -tail.length) + lineEnd : text;
}

/** The same table as listed without `-a`. */
export function withoutHandles(table: NftTable): NftTable {
  const inChain = (chain: NftChain): NftChain => {
    const parts = chain.parts.map((part) =>
      part.kind === 'rule' ? { ...part, source: bare(part.source, part.handle), handle: undefined } : part,
    );
    return { ...chain, parts, rules: parts.filter((part) => part.kind === 'rule') };
  };
  const inner = mapObjects(table, (object) => {
    const changed = object.kind === 'chain' ? inChain(object) : object;
    return { ...changed, head: bare(object.head, object.handle), handle: undefined };
  });
  return { ...inner, head: bare(table.head, table.handle), handle: undefined };
}

/** `change` gives undefined for an object that is to go. */
export function mapObjects(table: NftTable, change: (object: NftObject) => NftObject | undefined): NftTable {
  const parts = table.parts.flatMap((part): NftTable['parts'][number][] => {
    if (part.kind === 'line' || part.kind === 'text') return [part];
    const changed = change(part);
    return changed === undefined ? [] : [changed];
  });
  return { ...table, parts, objects: parts.filter((part) => part.kind !== 'line' && part.kind !== 'text') };
}

/** `chain input`, `set banned`: objects of one table have different names for each kind. */
export const objectKey = (object: NftObject): string =>
  object.kind === 'opaque' ? object.head.trim() : `${object.kind} ${object.name}`;
