// iptables-save text to a Document: a view on the text, line by line.
// Goals: every byte kept (print joins the stored lines), linear, 100,000 rules well under a second.
// Guarantees: never throws; an option it does not know is part of an opaque rule, never an error.
// Does not: judge options. iptables does that (apply/canonical.ts).

import type { Chain, Family, Problem, ProblemCode, Rule, Ruleset, Table } from '../types.ts';
import { closingQuote, isBlank, lex } from './lex.ts';

export type Line =
  | { readonly kind: 'other'; readonly source: string }
  | { readonly kind: 'table'; readonly source: string; readonly table: string }
  | { readonly kind: 'chain'; readonly source: string; readonly chain: string; readonly policy: string }
  | { readonly kind: 'rule'; readonly source: string; readonly rule: Rule }
  /** Another command of iptables-restore: `-P`, `-N`, `-I`, ... Files typed by people hold them, dumps do not. */
  | { readonly kind: 'command'; readonly source: string }
  | { readonly kind: 'commit'; readonly source: string };

export interface Document {
  readonly lines: readonly Line[];
  readonly ruleset: Ruleset;
  readonly problems: readonly Problem[];
}

interface OpenTable {
  readonly name: string;
  readonly line: number;
  readonly chains: Map<string, OpenChain>;
}

interface OpenChain {
  readonly name: string;
  policy: string;
  counters: string | undefined;
  declared: boolean;
  readonly rules: Rule[];
}

interface State {
  readonly file: string;
  readonly sources: readonly string[];
  readonly tables: Map<string, Table>;
  readonly problems: Problem[];
  open: OpenTable | undefined;
  lineNumber: number;
}

/** `[12:345]` */
const COUNTERS = /^\[(\d+:\d+)\]$/;
const BUILTIN = new Set(['INPUT', 'OUTPUT', 'FORWARD', 'PREROUTING', 'POSTROUTING']);

/**
 * Parses what `iptables-save`/`ip6tables-save` print (1.3.5 to 1.8.11, both engines) and what people write for
 * `iptables-restore`. `file` only names the text in problems.
 */
export function parseDocument(text: string, family: Family, file = '-'): Document {
  const sources = text.split('\n');
  const state: State = { file, sources, tables: new Map(), problems: [], open: undefined, lineNumber: 0 };
  const lines: Line[] = [];
  // A rule with a line break in it takes more than one line, and moves `lineNumber` on.
  while (state.lineNumber < sources.length) lines.push(parseLine(state, sources[state.lineNumber++] ?? ''));
  if (state.open !== undefined) {
    const { name, line } = state.open;
    report(state, 'no-commit', 1, `table ${name} (opened in line ${line}) has no COMMIT; expected "COMMIT"`);
    closeTable(state);
  }
  return { lines, ruleset: { family, tables: state.tables }, problems: state.problems };
}

/** The ruleset alone. For text that iptables-save printed just now. */
export function parseRuleset(text: string, family: Family): Ruleset {
  return parseDocument(text, family).ruleset;
}

function parseLine(state: State, source: string): Line {
  switch (source.charCodeAt(0)) {
    case 45 /* - */:
      return parseCommand(state, source, source, undefined);
    case 91 /* [ */:
      return parseCountedRule(state, source);
    case 58 /* : */:
      return parseChain(state, source);
    case 42 /* * */:
      return parseTable(state, source);
    case 35 /* # */:
      return { kind: 'other', source };
    default:
      return parseRest(state, source);
  }
}

function parseRest(state: State, source: string): Line {
  const text = source.trim();
  if (text === '') return { kind: 'other', source };
  if (text === 'COMMIT') {
    if (state.open === undefined)
      report(state, 'no-table', 1, 'COMMIT without a table; expected "*filter" or the like before it');
    closeTable(state);
    return { kind: 'commit', source };
  }
  const indent = source.length - source.trimStart().length;
  if (indent > 0 && '#-:*['.includes(text.charAt(0))) {
    // iptables-restore takes such a line only in part; it is kept, and said.
    report(
      state,
      'bad-line',
      1,
      'the line starts with a blank; iptables-restore wants "*", ":", "-", "[" or "#" in column 1',
    );
    return { kind: 'other', source };
  }
  const code = isPrintable(text) ? 'bad-line' : 'not-text';
  report(
    state,
    code,
    1,
    `cannot read ${JSON.stringify(text.slice(0, 40))}; expected "*table", ":CHAIN POLICY", "-A CHAIN ...", "COMMIT" or "#"`,
  );
  return { kind: 'other', source };
}

function parseTable(state: State, source: string): Line {
  const name = source.slice(1).trim();
  if (name === '' || name.includes(' ')) {
    report(state, 'bad-table-line', 2, 'expected one table name after "*", as in "*filter"');
    return { kind: 'other', source };
  }
  if (state.open !== undefined) {
    report(state, 'no-commit', 1, `table ${state.open.name} is still open; expected "COMMIT" before "*${name}"`);
    closeTable(state);
  }
  if (state.tables.has(name))
    report(state, 'table-again', 1, `table ${name} stands in this text a second time; expected it once`);
  state.open = { name, line: state.lineNumber, chains: new Map() };
  return { kind: 'table', source, table: name };
}

/** `:FORWARD DROP [12:345]`, `:web - [0:0]`, `:web -` */
function parseChain(state: State, source: string): Line {
  const [name = '', policy = '-', counters, ...more] = source.slice(1).trim().split(/\s+/);
  if (name === '') {
    report(state, 'bad-chain-line', 2, 'expected a chain name after ":", as in ":INPUT ACCEPT [0:0]"');
    return { kind: 'other', source };
  }
  if (more.length > 0)
    report(state, 'bad-chain-line', source.indexOf(more[0] ?? '') + 1, 'expected nothing after the counters');
  if (counters !== undefined && !COUNTERS.test(counters)) {
    report(
      state,
      'bad-counters',
      source.indexOf(counters) + 1,
      `cannot read ${counters}; expected counters as in [12:345]`,
    );
  }
  if (state.open === undefined) {
    report(state, 'no-table', 1, `chain ${name} stands outside a table; expected "*filter" or the like before it`);
    return { kind: 'other', source };
  }
  declareChain(state, state.open, name, policy, counters?.slice(1, -1));
  return { kind: 'chain', source, chain: name, policy };
}

function declareChain(
  state: State,
  table: OpenTable,
  name: string,
  policy: string,
  counters: string | undefined,
): void {
  const chain = chainOf(table, name);
  if (chain.declared) report(state, 'chain-again', 2, `chain ${name} is declared a second time in table ${table.name}`);
  chain.declared = true;
  chain.policy = policy;
  chain.counters = counters;
}

/** `[12:345] -A FORWARD -j ACCEPT` */
function parseCountedRule(state: State, source: string): Line {
  const end = source.indexOf('] ');
  const counters = COUNTERS.exec(source.slice(0, end + 1))?.[1];
  if (end === -1 || counters === undefined) {
    report(state, 'bad-counters', 1, 'expected counters as in "[12:345] -A CHAIN ..."');
    return { kind: 'other', source };
  }
  return parseCommand(state, source, source.slice(end + 2).trimStart(), counters);
}

function parseCommand(state: State, source: string, body: string, counters: string | undefined): Line {
  const column = source.length - body.length + 1;
  if (state.open === undefined) {
    report(state, 'no-table', column, 'a rule outside a table; expected "*filter" or the like before it');
    return { kind: 'other', source };
  }
  if (body.includes('"')) {
    const words = lex(body);
    if (words.kind === 'unclosed') {
      const more = restOfRule(state, body, words.offset);
      if (more !== undefined) return parseCommand(state, source + more, body + more, counters);
      report(
        state,
        'unclosed-quote',
        column + words.offset,
        `the quote that opens here is not closed in ${JSON.stringify(body.slice(0, 60))}; expected a second "`,
      );
      return { kind: 'other', source };
    }
  }
  if (!body.startsWith('-A ')) return parseOtherCommand(state, state.open, source, body);
  const end = body.indexOf(' ', 3);
  const chain = end === -1 ? body.slice(3).trim() : body.slice(3, end);
  if (chain === '') {
    report(state, 'bad-line', column + 3, 'expected a chain name after "-A"');
    return { kind: 'other', source };
  }
  const rule: Rule = { chain, text: withoutTrailingBlanks(body), counters };
  const open = chainOf(state.open, chain);
  if (!open.declared && !BUILTIN.has(chain)) {
    report(state, 'unknown-chain', column + 3, `chain ${chain} is not declared; expected ":${chain} - [0:0]" above`);
    open.declared = true;
  }
  open.rules.push(rule);
  return { kind: 'rule', source, rule };
}

/** Above what any quoted string of iptables can hold: a comment has 255 bytes, each of which may be escaped. */
const LONGEST_QUOTED = 1024;

/**
 * The lines that a quoted string with line breaks goes on over, from the first break, when iptables-save wrote it: its closing
 * quote is followed by a blank or the line's end. Else a person forgot a quote, and the next lines are rules of their own.
 */
function restOfRule(state: State, body: string, open: number): string | undefined {
  let whole = body;
  let from = open;
  for (let next = state.lineNumber; next < state.sources.length && whole.length - from < LONGEST_QUOTED; next++) {
    whole += `\n${state.sources[next]}`;
    const close = closingQuote(whole, from);
    if (close === -1) continue;
    if (close + 1 < whole.length && !isBlank(whole.charCodeAt(close + 1))) return undefined;
    const words = lex(whole);
    if (words.kind === 'unclosed') {
      from = words.offset;
      continue;
    }
    state.lineNumber = next + 1;
    return whole.slice(body.length);
  }
  return undefined;
}

/** 1.3.5 and 1.4.7 end each rule with a blank. Only what iptables takes for a blank goes (`trimEnd` takes U+00A0 too). */
function withoutTrailingBlanks(text: string): string {
  let end = text.length;
  while (end > 0 && isBlank(text.charCodeAt(end - 1))) end--;
  return end === text.length ? text : text.slice(0, end);
}

/** Commands besides -A. Only -N and -P change what the view knows; the others wait for iptables to judge them. */
function parseOtherCommand(state: State, table: OpenTable, source: string, body: string): Line {
  const [command, name, policy] = body.split(/\s+/);
  if (name !== undefined && (command === '-N' || command === '--new-chain')) chainOf(table, name).declared = true;
  if (name !== undefined && policy !== undefined && (command === '-P' || command === '--policy')) {
    chainOf(table, name).policy = policy;
  }
  if (!/^--?[A-Za-z]/.test(body)) report(state, 'bad-line', 1, 'expected a command as in "-A CHAIN ..."');
  return { kind: 'command', source };
}

function chainOf(table: OpenTable, name: string): OpenChain {
  const found = table.chains.get(name);
  if (found !== undefined) return found;
  const chain: OpenChain = {
    name,
    policy: BUILTIN.has(name) ? 'ACCEPT' : '-',
    counters: undefined,
    declared: false,
    rules: [],
  };
  table.chains.set(name, chain);
  return chain;
}

function closeTable(state: State): void {
  if (state.open === undefined) return;
  const chains: ReadonlyMap<string, Chain> = state.open.chains;
  state.tables.set(state.open.name, { name: state.open.name, chains });
  state.open = undefined;
}

function report(state: State, code: ProblemCode, column: number, message: string): void {
  state.problems.push({ code, file: state.file, line: state.lineNumber, column, message });
}

function isPrintable(text: string): boolean {
  return !/[\u0000-\u0008\u000e-\u001f]/.test(text);
}
