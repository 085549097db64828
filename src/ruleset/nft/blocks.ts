// Reading one block line by line: head, parts, tail. Pure.

import { indentEnd, nestingAfter, type PhysicalLine } from './lex.ts';
import { type ParseState, reportUnclosed, takeStatement } from './statement-text.ts';
import type { NftBlock, NftLine, NftText } from './types.ts';

/** `chain forward { # handle 3` */
export interface Head {
  readonly line: PhysicalLine;
  readonly source: string;
  /** `chain forward`: without indentation, brace and handle. */
  readonly text: string;
  readonly handle: number | undefined;
  readonly progname: string | undefined;
}

/** `chain forward { # handle 3`, `table inet firewalld { # handle 2 progname firewalld`, `table ip x {` */
const HEAD = /^(.*) \{(?: # (?:handle (\d+) ?)?(?:progname (.+))?)?$/;

/** The line as a head, if it is one: it ends in ` {`, what `nft -a` adds aside. A program's name may have blanks. */
export function headOf({ text }: { readonly text: string }, line: PhysicalLine): Head | undefined {
  const start = indentEnd(text, line.start, line.end);
  const found = HEAD.exec(text.slice(start, line.end).trimEnd());
  if (found === null) return undefined;
  const [, words = '', handle, progname] = found;
  return {
    line,
    source: text.slice(line.start, line.next),
    text: words.trimEnd(),
    handle: handle === undefined ? undefined : Number(handle),
    progname,
  };
}

/** The kind of a line inside a block, by its first character. */
export type LineKind = 'end' | 'text' | 'statement' | 'outside';

export function lineKind(text: string, { start, end }: PhysicalLine): LineKind {
  const at = indentEnd(text, start, end);
  if (at === end) return 'text';
  const code = text.charCodeAt(at);
  if (code === 125 /* } */) return 'end';
  if (code === 35 /* # */) return 'text';
  // A table never stands in a block: the block's end is missing.
  return at === start && text.startsWith('table ', start) ? 'outside' : 'statement';
}

/**
 * Reads the parts of a block up to its `}`. `readStatement` is called with the reader at a line that is neither blank,
 * comment nor end, and must take it.
 */
export function readBlock<Part>(
  state: ParseState,
  head: Head,
  readStatement: (line: PhysicalLine) => Part,
): NftBlock & { readonly parts: (Part | NftText)[] } {
  const { reader } = state;
  const parts: (Part | NftText)[] = [];
  reader.take();
  for (let line = reader.peek(); line !== undefined; line = reader.peek()) {
    const kind = lineKind(reader.text, line);
    if (kind === 'outside') break;
    if (kind === 'statement') {
      parts.push(readStatement(line));
      continue;
    }
    reader.take();
    const source = reader.text.slice(line.start, line.next);
    if (kind === 'end') return { head: head.source, tail: source, handle: head.handle, parts };
    parts.push({ kind: 'text', source });
  }
  reportOpenBlock(state, head);
  return { head: head.source, tail: '', handle: head.handle, parts };
}

/** A block nobody knows: everything up to the brace that closes it. */
export function readOpaque(state: ParseState, head: Head): NftBlock & { readonly parts: NftText[] } {
  const { reader } = state;
  const parts: NftText[] = [];
  let nesting = { depth: 1, inQuote: false, quoteAt: -1 };
  reader.take();
  for (let line = reader.peek(); line !== undefined; line = reader.peek()) {
    nesting = nestingAfter(reader.text, line.start, line.end, nesting);
    const source = reader.text.slice(line.start, line.next);
    reader.take();
    if (nesting.depth <= 0 && !nesting.inQuote) return { head: head.source, tail: source, handle: head.handle, parts };
    parts.push({ kind: 'text', source });
  }
  reportOpenBlock(state, head);
  return { head: head.source, tail: '', handle: head.handle, parts };
}

/** A line that says something of its block. */
export function readLine(state: ParseState, line: PhysicalLine): NftLine {
  const { source, text } = takeStatement(state, line, 'others');
  return { kind: 'line', source, text };
}

/** The lines of a block without the `;` that people end them with. */
export function linesOf(parts: readonly { readonly kind: string; readonly text?: string }[]): string[] {
  const texts = parts.flatMap(({ kind, text }) => (kind === 'line' && text !== undefined ? [text] : []));
  return texts.map((text) => (text.endsWith(';') ? text.slice(0, -1).trimEnd() : text));
}

/** What follows `keyword ` in the first line that begins with it. */
export function valueOf(lines: readonly string[], keyword: string): string | undefined {
  return lines.find((line) => line.startsWith(`${keyword} `))?.slice(keyword.length + 1);
}

/** `interval,timeout` or, as people write it, `interval, timeout` */
export function listOf(text: string | undefined): string[] {
  return text === undefined ? [] : text.split(/[,\s]+/).filter((word) => word !== '');
}

function reportOpenBlock(state: ParseState, { line, text }: Head): void {
  const column = indentEnd(state.reader.text, line.start, line.end) - line.start + 1;
  reportUnclosed(state, line.number, column, `the block "${text.slice(0, 60)}"`);
}
