// One statement of a block: mostly one line, more when a brace or a quote stays open. Pure.

import type { Problem, ProblemCode } from '../types.ts';
import { CLOSED, cutHandle, indentEnd, type LineReader, type Nesting, nestingAfter, type PhysicalLine } from './lex.ts';

/** What all parts of the parser share. */
export interface ParseState {
  readonly file: string;
  readonly reader: LineReader;
  readonly problems: Problem[];
  /** Line of the last `unclosed-block`: a text that ends early is one problem, however many blocks are open. */
  unclosedAt: number;
}

export interface StatementText {
  readonly source: string;
  /** Without indentation, line end and handle. */
  readonly text: string;
  readonly handle: number | undefined;
}

/** `rules`: text of iptables rules may stand here, in which a log prefix holds quotes as they are. */
type Place = 'rules' | 'others';

/** Takes the statement that begins in the current line. Call it only when there is a line. */
export function takeStatement(state: ParseState, first: PhysicalLine, place: Place): StatementText {
  const { reader } = state;
  const { text } = reader;
  const start = indentEnd(text, first.start, first.end);
  const line = text.slice(start, first.end);
  reader.take();
  if (place === 'rules' && line.endsWith(' not found') && XT_NOT_FOUND.test(line))
    return takeBrokenRule(state, first, start);
  if (!staysOpen(line)) return finish(text, first.start, first.next, line);
  let nesting = nestingAfter(text, start, first.end, CLOSED);
  if (place === 'rules' && nesting.inQuote && nextLooksListed(reader))
    return finish(text, first.start, first.next, line);
  let last = first;
  while (nesting.inQuote || nesting.depth > 0) {
    const next = reader.peek();
    if (next === undefined) {
      reportOpen(state, first, start, nesting);
      break;
    }
    nesting = nestingAfter(text, next.start, next.end, nesting);
    last = next;
    reader.take();
  }
  return finish(text, first.start, last.next, text.slice(start, last.end));
}

/** `counter packets 0 bytes 0 XT target MASQUERADE not found` */
const XT_NOT_FOUND = /\bXT (?:match|target) \S+ not found$/;

/**
 * nft without an extension's library ends the line there; the rule goes on, without indentation: 1.0.6 with nothing but
 * the handle, 1.1.3 with `xt target "MASQUERADE"` (captured with libvirt 9.0 and 11.3).
 */
function takeBrokenRule({ reader }: ParseState, first: PhysicalLine, start: number): StatementText {
  const { text } = reader;
  const next = reader.peek();
  if (next === undefined || text.startsWith('\t', next.start))
    return finish(text, first.start, first.next, text.slice(start, first.end));
  reader.take();
  return finish(text, first.start, next.next, text.slice(start, next.end));
}

/**
 * nft breaks a line only behind ` {` (a chain without a name) and behind the comma of an element list; braces elsewhere
 * may be part of a name: iptables allows the chain `a{b`, printed `jump a{b`.
 */
function staysOpen(line: string): boolean {
  const body = line.trimEnd();
  if (line.includes('"') && hasOpenQuote(line)) return true;
  return body === '{' || body.endsWith(' {') || body.endsWith(',');
}

function hasOpenQuote(line: string): boolean {
  let open = false;
  for (let at = line.indexOf('"'); at !== -1; at = line.indexOf('"', at + 1)) open = !open;
  return open;
}

/**
 * iptables writes a log prefix with its quotes as they are: `log prefix "q"u {"`. The line is whole when the next one
 * is indented as nft indents a rule or the end of a chain.
 */
function nextLooksListed({ text, peek }: LineReader): boolean {
  const next = peek();
  return next === undefined || text.startsWith('\t\t', next.start) || text.startsWith('\t}', next.start);
}

function finish(text: string, start: number, next: number, body: string): StatementText {
  const { text: cut, handle } = cutHandle(withoutLineEnd(body));
  return { source: text.slice(start, next), text: cut, handle };
}

const withoutLineEnd = (body: string): string => (body.endsWith('\r') ? body.slice(0, -1) : body);

function reportOpen(state: ParseState, first: PhysicalLine, start: number, { inQuote, quoteAt }: Nesting): void {
  state.unclosedAt = Infinity;
  const column = (inQuote && quoteAt >= first.start && quoteAt < first.end ? quoteAt : start) - first.start + 1;
  if (inQuote)
    report(state, 'unclosed-quote', first.number, column, 'a quote that opens here is not closed; expected a second "');
  else report(state, 'unclosed-block', first.number, column, 'what opens here is not closed; expected "}"');
}

/** One problem for each place where the text ends too early. */
export function reportUnclosed(state: ParseState, line: number, column: number, what: string): void {
  const at = state.reader.peek()?.number ?? Infinity;
  if (state.unclosedAt === at) return;
  state.unclosedAt = at;
  report(state, 'unclosed-block', line, column, `${what} is not closed; expected "}"`);
}

export function report(state: ParseState, code: ProblemCode, line: number, column: number, message: string): void {
  state.problems.push({ code, file: state.file, line, column, message });
}
