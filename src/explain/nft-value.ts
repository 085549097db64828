// The right side of an nft match: one value, a range, a prefix, a list, a set in braces or by name. Pure.

import type { TokenReader } from './nft-lex.ts';

/** A constant as text: `22`, `1024-65535`, `10.0.0.0/8`, `virbr0`, `established`. Quotes are off. */
export type Element = readonly string[];

/**
 * `elements` are the alternatives; each is a list of as many texts as the selector has parts (`ip saddr . tcp dport`).
 * `flags` are joined by `,` or `|` without braces: bits for bit fields (`ct state established,related`).
 */
export type Operand =
  | { readonly kind: 'elements'; readonly elements: readonly Element[]; readonly braces: boolean }
  | { readonly kind: 'set'; readonly name: string };

/** Reads one operand; undefined when it is none of these. */
export function readOperand(reader: TokenReader): Operand | undefined {
  if (reader.peek() === '{') {
    const elements = readBraces(reader, readElement);
    return elements === undefined ? undefined : { kind: 'elements', elements, braces: true };
  }
  if (reader.peek().startsWith('@') && !reader.quoted()) return { kind: 'set', name: reader.next().slice(1) };
  const first = readElement(reader);
  if (first === undefined) return undefined;
  const elements = [first];
  while (reader.peek() === ',' || reader.peek() === '|') {
    reader.next();
    const more = readElement(reader);
    if (more === undefined) return undefined;
    elements.push(more);
  }
  return { kind: 'elements', elements, braces: false };
}

/** `{ a, b, c }`, also with a trailing comma and over several lines. */
export function readBraces<T>(reader: TokenReader, item: (reader: TokenReader) => T | undefined): T[] | undefined {
  if (!reader.take('{')) return undefined;
  const items: T[] = [];
  for (;;) {
    while (reader.peek() === ';' || reader.peek() === ',') reader.next();
    if (reader.take('}')) return items;
    const next = reader.done() ? undefined : item(reader);
    if (next === undefined) return undefined;
    items.push(next);
  }
}

const ATTRIBUTES = new Set(['timeout', 'expires', 'comment']);

/** One element; what `nft list` says besides its value (`timeout 1h expires 5m counter packets 1 bytes 2`) is passed by. */
export function readElement(reader: TokenReader): Element | undefined {
  const parts: string[] = [];
  for (;;) {
    const text = readConstant(reader);
    if (text === undefined) return undefined;
    parts.push(text);
    if (reader.peek() !== '.' || reader.quoted()) break;
    reader.next();
  }
  while (ATTRIBUTES.has(reader.peek()) || reader.peek() === 'counter') {
    const attribute = reader.next();
    const words = attribute === 'counter' ? (reader.peek() === 'packets' ? 4 : 0) : 1;
    for (let i = 0; i < words; i++) reader.next();
  }
  return parts;
}

/** `1024-65535` is one word, `"a" - "b"` three; `(syn | ack)` in brackets is one constant of flags. */
function readConstant(reader: TokenReader): string | undefined {
  const quoted = reader.quoted();
  const word = reader.peek();
  if (!quoted && (word === '' || '{}(),;=|&^<>!'.includes(word[0] as string))) return undefined;
  reader.next();
  if (quoted || reader.peek() !== '-') return word;
  reader.next();
  return `${word}-${reader.next()}`;
}
