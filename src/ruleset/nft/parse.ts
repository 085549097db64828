// `nft list ruleset` (or `list table`) to an NftRuleset: a view on the text, line by line.
// Goals: every byte kept (print joins the stored parts); linear, 100,000 rules well under a second.
// Guarantees: never throws; syntax it does not know is an opaque line or block, never an error, never dropped.
// Does not: judge rules (nft does), look into them (statements.ts does), or read files written for `nft -f` with
// `define`, `include`, `add rule`: such lines are `no-table`. The same table twice is kept twice.

import { type Head, headOf, lineKind, linesOf, listOf, readBlock, readLine, readOpaque, valueOf } from './blocks.ts';
import { indentEnd, type PhysicalLine, readLines } from './lex.ts';
import { commentOf, readObject } from './objects.ts';
import { type ParseState, report } from './statement-text.ts';
import {
  NFT_FAMILIES,
  type NftFamily,
  type NftLine,
  type NftObject,
  type NftRuleset,
  type NftTable,
  type NftText,
} from './types.ts';

/** Parses what nft 1.0.6 and 1.1.3 print, also with `-a` and `-s`. `file` only names the text in problems. */
export function parseNft(text: string, file = '-'): NftRuleset {
  const state: ParseState = { file, reader: readLines(text), problems: [], unclosedAt: -1 };
  const parts: (NftTable | NftText)[] = [];
  for (let line = state.reader.peek(); line !== undefined; line = state.reader.peek())
    parts.push(readPart(state, line));
  const tables = parts.filter((part) => part.kind === 'table');
  return { parts, tables, problems: state.problems };
}

function readPart(state: ParseState, line: PhysicalLine): NftTable | NftText {
  const { reader } = state;
  const kind = lineKind(reader.text, line);
  const head = kind === 'statement' || kind === 'outside' ? headOf(reader, line) : undefined;
  if (head !== undefined) return readHeaded(state, head);
  if (kind !== 'text') reportOutside(state, line);
  reader.take();
  return { kind: 'text', source: reader.text.slice(line.start, line.next) };
}

/** `table inet filter`, `table filter` (as people write it, then the family is ip) */
const TABLE = /^table (?:(\S+) )?(\S+)$/;

function readHeaded(state: ParseState, head: Head): NftTable | NftText {
  const [, family = 'ip', name] = TABLE.exec(head.text) ?? [];
  if (name !== undefined && isFamily(family)) return readTable(state, head, family, name);
  if (head.text.startsWith('table ') || head.text === 'table')
    report(state, 'bad-table-line', head.line.number, 1, 'cannot read this table line; expected "table FAMILY NAME {"');
  else reportOutside(state, head.line);
  const block = readOpaque(state, head);
  return { kind: 'text', source: block.head + block.parts.map(({ source }) => source).join('') + block.tail };
}

function readTable(state: ParseState, head: Head, family: NftFamily, name: string): NftTable {
  const block = readBlock<NftObject | NftLine>(state, head, (line) => {
    const inner = headOf(state.reader, line);
    return inner === undefined ? readLine(state, line) : readObject(state, inner, family);
  });
  const objects = block.parts.filter((part) => part.kind !== 'line' && part.kind !== 'text');
  const lines = linesOf(block.parts as readonly (NftLine | NftText)[]);
  const flags = listOf(valueOf(lines, 'flags'));
  return { kind: 'table', family, name, flags, comment: commentOf(lines), progname: head.progname, objects, ...block };
}

const isFamily = (word: string): word is NftFamily => (NFT_FAMILIES as readonly string[]).includes(word);

function reportOutside(state: ParseState, line: PhysicalLine): void {
  const { text } = state.reader;
  const start = indentEnd(text, line.start, line.end);
  const found = text.slice(start, Math.min(line.end, start + 40));
  const column = start - line.start + 1;
  const say = (code: 'extra-brace' | 'not-text' | 'bad-table-line' | 'no-table', message: string): void =>
    report(state, code, line.number, column, message);
  if (found.startsWith('}')) say('extra-brace', 'this "}" closes nothing; expected "table FAMILY NAME {" before it');
  else if (!isPrintable(found)) say('not-text', `cannot read ${JSON.stringify(found)}; expected text`);
  else if (found.startsWith('table '))
    say('bad-table-line', 'this table has no body; expected "{" at the end of the line');
  else say('no-table', `${JSON.stringify(found)} stands outside a table; expected "table FAMILY NAME {" before it`);
}

function isPrintable(text: string): boolean {
  return !/[\u0000-\u0008\u000e-\u001f]/.test(text);
}
