// Words of a rule, read one after another. Pure.

import { type NftToken, tokens } from './lex.ts';

export interface Cursor {
  readonly text: string;
  readonly words: readonly NftToken[];
  /** Index of the next word. */
  at: number;
}

export const cursorOn = (text: string): Cursor => ({ text, words: tokens(text), at: 0 });

/** The next word, or the one `ahead` of it; empty at the end. */
export const peekWord = (cursor: Cursor, ahead = 0): string => cursor.words[cursor.at + ahead]?.text ?? '';

export const atEnd = (cursor: Cursor): boolean => cursor.at >= cursor.words.length;

export function takeWord(cursor: Cursor): string {
  const word = peekWord(cursor);
  cursor.at++;
  return word;
}

/** Takes the word if it is the next one. */
export function skipWord(cursor: Cursor, word: string): boolean {
  if (peekWord(cursor) !== word) return false;
  cursor.at++;
  return true;
}

/** Takes the next word if it is one of these. */
export function takeOneOf<Word extends string>(cursor: Cursor, words: readonly Word[]): Word | undefined {
  const found = words.find((word) => word === peekWord(cursor));
  if (found !== undefined) cursor.at++;
  return found;
}

/** Takes `{ ... }` and gives what stands between; undefined (and nothing taken) when there is no such pair. */
export function takeBraces(cursor: Cursor): string | undefined {
  if (peekWord(cursor) !== '{') return undefined;
  let depth = 0;
  for (let index = cursor.at; index < cursor.words.length; index++) {
    const word = cursor.words[index];
    if (word?.text === '{') depth++;
    else if (word?.text === '}') depth--;
    if (depth > 0 || word === undefined) continue;
    const inside = cursor.text.slice(cursor.words[cursor.at]?.end, word.start);
    cursor.at = index + 1;
    return inside;
  }
  return undefined;
}

/** The text of the words from index `from` to before `to`. */
export const textBetween = ({ text, words }: Cursor, from: number, to: number): string =>
  text.slice(words[from]?.start ?? text.length, words[to - 1]?.end ?? 0);
