// What an expression is compared with, or set to. Pure.

import { atEnd, type Cursor, cursorOn, peekWord, skipWord, takeBraces, takeOneOf, takeWord } from './cursor.ts';
import { elementsOf } from './elements.ts';
import { takeExpression, takeOperand } from './expressions.ts';
import { unquote } from './lex.ts';
import type { NftMap, NftMapEntry, NftValue } from './statement-types.ts';

/** Takes the value of a match; undefined when none stands here. */
export function takeValue(cursor: Cursor): NftValue | undefined {
  const inside = takeBraces(cursor);
  if (inside !== undefined)
    return { kind: 'anonymous-set', elements: elementsOf(inside).map(({ key }) => readKey(key)) };
  const word = peekWord(cursor);
  if (word === '' || word === '{' || word === '}') return undefined;
  if (word.startsWith('@')) return { kind: 'set', name: takeWord(cursor).slice(1) };
  const first = readWord(takeOperand(cursor));
  if (skipWord(cursor, '/'))
    return { kind: 'masked', values: valuesOf(first), mask: valuesOf(readWord(takeWord(cursor))) };
  return takeConcat(cursor, first);
}

/** The value behind `set` or `to`: another expression, a map, or a plain value. */
export function takeSource(cursor: Cursor): NftValue | undefined {
  const start = cursor.at;
  const expression = takeExpression(cursor);
  if (expression === undefined) {
    cursor.at = start;
    return takeValue(cursor);
  }
  if (!skipWord(cursor, 'map')) return { kind: 'expression', expression };
  const map = takeMap(cursor);
  return map === undefined ? undefined : { kind: 'map', key: expression, map };
}

/** `@name` or `{ 80 : accept, * : drop }` */
export function takeMap(cursor: Cursor): NftMap | undefined {
  const inside = takeBraces(cursor);
  if (inside !== undefined) {
    const entries = elementsOf(inside).map(({ key, value }): NftMapEntry => ({
      key: readKey(key),
      value: value ?? '',
    }));
    return { kind: 'anonymous', entries };
  }
  const word = takeWord(cursor);
  return word.startsWith('@') ? { kind: 'named', name: word.slice(1) } : undefined;
}

/** The key of an element: `1.2.3.0/24 . 80-90` */
export function readKey(key: string): NftValue {
  const cursor = cursorOn(key);
  const value = takeValue(cursor);
  return value !== undefined && atEnd(cursor) ? value : { kind: 'literal', text: key, quoted: false };
}

function takeConcat(cursor: Cursor, first: NftValue): NftValue {
  const parts = [first];
  while (skipWord(cursor, '.')) parts.push(readWord(takeWord(cursor)));
  if (parts.length > 1) return { kind: 'concat', parts };
  const values = valuesOf(first);
  // `tcp flags == syn | ack`
  while (takeOneOf(cursor, ['|']) !== undefined) values.push(takeWord(cursor));
  return values.length > valuesOf(first).length ? { kind: 'list', values } : first;
}

const valuesOf = (value: NftValue): string[] => {
  if (value.kind === 'list') return [...value.values];
  return value.kind === 'literal' ? [value.text] : [];
};

/** An end of a range is a number, an address, a time; names have hyphens too: `echo-request`. */
const END = String.raw`(?:\d[\w.:/]*|[\da-f:.]*:[\da-f:.]*|"[^"]*")`;
/** `1000-2000`, `fe80::1-fe80::9`, `"08:00"-"17:00"` */
const RANGE = new RegExp(`^(${END})-(${END})$`);
/** `10.0.0.0/8`, `fe80::/10` */
const PREFIX = /^([\da-f.:]+)\/(\d+)$/;

/** One word as a value. */
export function readWord(word: string): NftValue {
  const range = RANGE.exec(word);
  if (range !== null) return { kind: 'range', from: unquote(range[1] ?? ''), to: unquote(range[2] ?? '') };
  if (word.startsWith('"')) return { kind: 'literal', text: unquote(word), quoted: true };
  const prefix = PREFIX.exec(word);
  if (prefix !== null) return { kind: 'prefix', address: prefix[1] ?? '', length: Number(prefix[2]) };
  const bits = word.split(/,| \| /); // `established,related`, `fin | syn`
  if (bits.length > 1) return { kind: 'list', values: bits };
  return { kind: 'literal', text: word, quoted: false };
}
