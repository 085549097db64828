// The lines of `diff` for native tables: as nft prints them, tables in one order on both sides. Pure.

import { isSameTable, type NativePart } from '../ruleset/nft/native-part.ts';
import { printNftTable } from '../ruleset/nft/print.ts';
import type { NftTable } from '../ruleset/nft/types.ts';
import type { DiffLine } from './diff-lines.ts';

/** A table that says the same has the same text on both sides: the order of set elements is no difference. */
export function nativeLinesOfBoth(a: NativePart, b: NativePart): [DiffLine[], DiffLine[]] {
  const keys = [...new Set([...a.keys(), ...b.keys()])].sort();
  const lines = (side: NativePart, other: NativePart): DiffLine[] =>
    keys.flatMap((key) => {
      const [table, twin] = [side.get(key), other.get(key)];
      if (table === undefined) return [];
      return tableLines(key, side === b && isSameTable(table, twin) ? (twin ?? table) : table);
    });
  return [lines(a, b), lines(b, a)];
}

function tableLines(key: string, table: NftTable): DiffLine[] {
  let place = key;
  return printNftTable(table)
    .trimEnd()
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((text) => {
      const head = /^\t(\w+ \S+) \{/.exec(text)?.[1]; // chain input {
      if (head !== undefined) place = `${key} ${head}`;
      const line = { text, place };
      if (text === '\t}') place = key;
      return line;
    });
}
