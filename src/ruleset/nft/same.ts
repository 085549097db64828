// When two listings say the same: the canonical form leaves out what changes by itself or with every load.
// Left out: handles, values of counters, used quotas, `last used`, what is left of a timeout (`expires`), blank lines and
// comments of the text. The order of rules and objects counts, that of set elements does not.
// Does not: know two spellings of one rule. nft prints a rule in one way, but 1.0.6 and 1.1.3 differ in some
// (`tcp flags syn / syn,rst` and `tcp flags & (syn | rst) == syn`): compare listings of one nft.

import { createHash } from 'node:crypto';
import { linesOf } from './blocks.ts';
import { splitElements } from './elements.ts';
import { type NftObject, type NftSet, type NftTable, tableKey } from './types.ts';

export interface CanonicalOptions {
  /**
   * Elements of sets with `flags dynamic` too (default: no). Packets put them there, so they are state and no wish: with
   * them a fingerprint would change while nobody touches the rules.
   */
  readonly dynamicElements?: boolean;
}

/** SHA-256 over the canonical form, in hexadecimal. */
export function tableFingerprint(table: NftTable, options: CanonicalOptions = {}): string {
  return createHash('sha256').update(canonicalTable(table, options)).digest('hex');
}

export function sameTable(one: NftTable, other: NftTable, options: CanonicalOptions = {}): boolean {
  return canonicalTable(one, options) === canonicalTable(other, options);
}

/** The table as text that can be compared (not loaded). */
export function canonicalTable(table: NftTable, options: CanonicalOptions = {}): string {
  const lines = [`table ${tableKey(table)}`];
  for (const part of table.parts) {
    if (part.kind === 'line') lines.push(` ${withoutSemicolon(part.text)}`);
    else if (part.kind !== 'text') lines.push(...canonicalObject(part, options));
  }
  return lines.join('\n') + '\n';
}

/** A rule's text for comparison: no counter values, elements of `{ ... }` in order. */
export function canonicalRule(text: string): string {
  return outsideQuotes(text.includes('{') ? sortAnonymousSets(text) : text, withoutState);
}

/** One object in the same form, without elements that packets put there. */
export const canonicalObjectText = (object: NftObject): string => canonicalObject(object, {}).join('\n');

function canonicalObject(object: NftObject, options: CanonicalOptions): string[] {
  switch (object.kind) {
    case 'chain':
      return [
        ` chain ${object.name}`,
        ...linesOf(object.parts).map((line) => `  ${line}`),
        ...object.rules.map(({ text }) => `  rule ${canonicalRule(text)}`),
      ];
    case 'set':
      return [` ${object.keyword} ${object.name}`, ...canonicalSetLines(object, options)];
    case 'flowtable':
      return [` flowtable ${object.name}`, ...linesOf(object.parts).map((line) => `  ${line}`)];
    case 'stateful':
      return [
        ` ${object.keyword} ${object.name}`,
        ...linesOf(object.parts).flatMap((line) => canonicalStateLine(object.keyword, line)),
      ];
    case 'opaque':
      return [object.head, ...object.parts.map(({ source }) => source)].map((source) => `  ${source.trim()}`);
  }
}

function canonicalSetLines(set: NftSet, { dynamicElements = false }: CanonicalOptions): string[] {
  const own = linesOf(set.parts).filter((line) => !line.startsWith('elements = '));
  const keep = dynamicElements || !set.flags.includes('dynamic');
  const elements = keep ? splitElements(set.elementsText).map(canonicalElement).sort() : [];
  return [...own, ...elements.map((element) => `element ${element}`)].map((line) => `  ${line}`);
}

/** `1.2.3.4 timeout 30m expires 29m59s920ms counter packets 3 bytes 4` -> `1.2.3.4 timeout 30m counter` */
function canonicalElement(text: string): string {
  return outsideQuotes(text, (part) => withoutState(part).replace(/ expires \S+/, ''));
}

/** Of a counter's own block nothing is left, of a quota's `over 10 mbytes used 3 kbytes` the first half. */
function canonicalStateLine(keyword: string, line: string): string[] {
  if (keyword === 'counter' && /^packets \d+ bytes \d+$/.test(line)) return [];
  return [`  ${keyword === 'quota' ? line.replace(/ used \d+ \w+$/, '') : line}`];
}

/** `counter packets 3 bytes 4`, `quota over 5 mbytes used 1 mbytes`, `last used 5s` */
function withoutState(text: string): string {
  if (!text.includes('counter packets ') && !text.includes(' used ')) return text;
  return text
    .replace(/\bcounter packets \d+ bytes \d+/g, 'counter')
    .replace(/(\bquota (?:over |until )?\d+ \w+) used \d+ \w+/g, '$1')
    .replace(/\blast used \S+/g, 'last');
}

function outsideQuotes(text: string, change: (part: string) => string): string {
  if (!text.includes('"')) return change(text);
  return text
    .split('"')
    .map((part, index) => (index % 2 === 0 ? change(part) : part))
    .join('"');
}

/** nft sorts them by value in most sets, not in all, and not the same in each version. */
function sortAnonymousSets(text: string): string {
  const open = braceOutsideQuotes(text, 0, 123);
  if (open === -1) return text;
  const close = braceOutsideQuotes(text, open + 1, 125);
  if (close === -1) return text;
  const inside = text.slice(open + 1, close);
  // Lines in braces are rules of a chain without a name; their order counts. Braces in braces are let be too.
  const plain = !inside.includes('\n') && braceOutsideQuotes(inside, 0, 123) === -1;
  const sorted = plain ? ` ${splitElements(inside).sort().join(', ')} ` : inside;
  return text.slice(0, open + 1) + sorted + '}' + sortAnonymousSets(text.slice(close + 1));
}

function braceOutsideQuotes(text: string, start: number, brace: number): number {
  for (let at = start; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 34) {
      const quote = text.indexOf('"', at + 1);
      if (quote === -1) return -1;
      at = quote;
    } else if (code === brace) return at;
  }
  return -1;
}

const withoutSemicolon = (text: string): string => (text.endsWith(';') ? text.slice(0, -1) : text);
