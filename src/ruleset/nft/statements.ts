// One rule's text as a list of statements, for those who ask what a packet meets.
// Guarantees: never throws; every word of the rule is in the text of one statement, in order; what is not understood is
// `unknown` with its text.
// Does not: know types (`80` is a word), resolve sets, or judge.

import { atEnd, type Cursor, cursorOn, peekWord, skipWord, takeOneOf, takeWord, textBetween } from './cursor.ts';
import { takeExpression } from './expressions.ts';
import { unquote } from './lex.ts';
import { KEYWORDS } from './statement-keywords.ts';
import type { NftExpression, NftStatement, NftStatementBody } from './statement-types.ts';
import { takeMap, takeSource, takeValue } from './values.ts';

/** Reads the text of a rule (`NftRule.text`). */
export function statementsOf(text: string): NftStatement[] {
  const cursor = cursorOn(text);
  const statements: NftStatement[] = [];
  while (!atEnd(cursor)) {
    const from = cursor.at;
    const body = takeStatement(cursor);
    if (body === undefined || cursor.at > cursor.words.length || cursor.at === from) {
      cursor.at = from;
      skipUnknown(cursor);
      statements.push({ kind: 'unknown', text: textBetween(cursor, from, cursor.at) });
    } else statements.push({ ...body, text: textBetween(cursor, from, cursor.at) });
  }
  return statements;
}

function takeStatement(cursor: Cursor): NftStatementBody | undefined {
  const word = peekWord(cursor);
  if (word === 'comment') return takeComment(cursor);
  const keyword = Object.hasOwn(KEYWORDS, word) ? KEYWORDS[word] : undefined;
  if (keyword !== undefined) {
    cursor.at++;
    return keyword(cursor, word);
  }
  if (word === 'ct') return takeCtStatement(cursor) ?? takeMatch(cursor);
  return takeMatch(cursor);
}

function takeComment(cursor: Cursor): NftStatementBody {
  cursor.at++;
  return { kind: 'comment', comment: unquote(takeWord(cursor)) };
}

/** `ct count over 10`, `ct helper set "h1"`, `ct timeout set "t1"` */
function takeCtStatement(cursor: Cursor): NftStatementBody | undefined {
  const key = peekWord(cursor, 1);
  if (key === 'count') {
    cursor.at += 2;
    const over = skipWord(cursor, 'over');
    return { kind: 'ct-count', over, count: Number(takeWord(cursor)) };
  }
  if (peekWord(cursor, 2) !== 'set' || !['helper', 'timeout', 'expectation'].includes(key)) return undefined;
  if (!peekWord(cursor, 3).startsWith('"')) return undefined;
  cursor.at += 3;
  return { kind: 'reference', object: `ct ${key}`, name: unquote(takeWord(cursor)) };
}

const OPERATORS = ['==', '!=', '<', '>', '<=', '>=', '!'] as const;

/** An expression, then a comparison, `set` or `vmap`. */
function takeMatch(cursor: Cursor): NftStatementBody | undefined {
  const left = takeExpression(cursor);
  if (left === undefined) return undefined;
  if (skipWord(cursor, 'vmap')) return takeVerdictMap(cursor, left);
  if (skipWord(cursor, 'set')) {
    const value = takeSource(cursor);
    return value === undefined ? undefined : { kind: 'mangle', target: left, value };
  }
  const operator = takeOneOf(cursor, OPERATORS) ?? 'implicit';
  const right = takeValue(cursor);
  return right === undefined ? undefined : { kind: 'match', left, operator, right };
}

function takeVerdictMap(cursor: Cursor, key: NftExpression): NftStatementBody | undefined {
  const map = takeMap(cursor);
  return map === undefined ? undefined : { kind: 'vmap', key, map };
}

/** Words that begin a statement wherever they stand bare and outside braces: reading goes on there. */
const CERTAIN = new Set(['accept', 'drop', 'return', 'continue', 'jump', 'goto', 'reject', 'counter', 'comment']);

function skipUnknown(cursor: Cursor): void {
  let depth = 0;
  do {
    const word = takeWord(cursor);
    if (word === '{') depth++;
    else if (word === '}') depth--;
  } while (!atEnd(cursor) && (depth > 0 || !CERTAIN.has(peekWord(cursor))));
}
