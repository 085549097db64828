// Printing joins stored text; nothing is formatted anew. Pure.

import type { NftObject, NftRuleset, NftTable } from './types.ts';

/** print(parse(x)) = x, byte for byte. */
export function printNft(ruleset: NftRuleset): string {
  return ruleset.parts.map((part) => (part.kind === 'table' ? printNftTable(part) : part.source)).join('');
}

export function printNftTable(table: NftTable): string {
  const parts = table.parts.map((part) => ('source' in part ? part.source : printNftObject(part)));
  return table.head + parts.join('') + table.tail;
}

export function printNftObject(object: NftObject): string {
  return object.head + object.parts.map(({ source }) => source).join('') + object.tail;
}
