// Lines, braces and words of nft's text. nft has no escape inside quotes (scanner.l: `"\""[^"]*"\""`), so a string ends
// with the next quote, and may hold a line end. Pure.

/** A physical line: `text.slice(start, end)`; the next one begins at `next`. */
export interface PhysicalLine {
  readonly start: number;
  readonly end: number;
  readonly next: number;
  /** 1-based. */
  readonly number: number;
}

export interface LineReader {
  readonly text: string;
  /** The line that `take` will give; undefined at the end of the text. */
  peek(): PhysicalLine | undefined;
  take(): void;
}

/** Reads lines by offset, so that a source is a slice of the whole text and costs nothing. */
export function readLines(text: string): LineReader {
  let current = lineAt(text, 0, 1);
  return {
    text,
    peek: () => current,
    take: () => {
      if (current !== undefined) current = lineAt(text, current.next, current.number + 1);
    },
  };
}

function lineAt(text: string, start: number, number: number): PhysicalLine | undefined {
  if (start >= text.length) return undefined;
  const end = text.indexOf('\n', start);
  return end === -1 ? { start, end: text.length, next: text.length, number } : { start, end, next: end + 1, number };
}

/** Where nothing but blanks stands before. */
export function indentEnd(text: string, start: number, end: number): number {
  let at = start;
  while (at < end && isBlank(text.charCodeAt(at))) at++;
  return at;
}

/** `accept # handle 12` */
const HANDLE = / # handle (\d+)$/;

/** Cuts what `nft -a` adds to a line. Quoted text cannot end so: it ends with a quote. */
export function cutHandle(text: string): { readonly text: string; readonly handle: number | undefined } {
  const last = text.charCodeAt(text.length - 1);
  // A digit ends few lines without handles; a regex for each of 100,000 rules is 20 ms.
  const found = last >= 48 && last <= 57 && text.includes(' # ') ? HANDLE.exec(text) : null;
  if (found === null) return { text, handle: undefined };
  return { text: text.slice(0, found.index).trimEnd(), handle: Number(found[1]) };
}

/** What stays open at the end of a stretch of text. */
export interface Nesting {
  readonly depth: number;
  readonly inQuote: boolean;
  /** Where the quote that is still open stands, or -1. */
  readonly quoteAt: number;
}

export const CLOSED: Nesting = { depth: 0, inQuote: false, quoteAt: -1 };

/** Counts braces outside quotes from `start` to `end`, going on from `before`. */
export function nestingAfter(text: string, start: number, end: number, before: Nesting): Nesting {
  let { depth, inQuote, quoteAt } = before;
  for (let at = start; at < end; at++) {
    const code = text.charCodeAt(at);
    if (code === 34) {
      inQuote = !inQuote;
      quoteAt = inQuote ? at : -1;
    } else if (!inQuote) {
      if (code === 123) depth++;
      else if (code === 125) depth--;
    }
  }
  return { depth, inQuote, quoteAt };
}

export interface NftToken {
  readonly text: string;
  /** 0-based offsets in the text that was split. */
  readonly start: number;
  readonly end: number;
}

/**
 * Words of a rule. Blanks separate; a quoted string is (part of) one word; `{ } ( ) ,` are words of their own where nft
 * sets blanks around them: `{ 22, 80 }` is five words, the flag list `established,related` is one.
 */
export function tokens(text: string): NftToken[] {
  const found: NftToken[] = [];
  let at = 0;
  for (;;) {
    while (at < text.length && isSpace(text.charCodeAt(at))) at++;
    if (at >= text.length) return found;
    const end = wordEnd(text, at);
    splitPunctuation(text, at, end, found);
    at = end;
  }
}

function wordEnd(text: string, start: number): number {
  for (let at = start; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 34) {
      const close = text.indexOf('"', at + 1);
      if (close === -1) return text.length;
      at = close;
    } else if (isSpace(code)) return at;
  }
  return text.length;
}

function splitPunctuation(text: string, start: number, end: number, found: NftToken[]): void {
  let from = start;
  while (from < end - 1 && '({'.includes(text.charAt(from))) found.push(tokenOf(text, from, ++from));
  let to = end;
  while (to > from + 1 && '),'.includes(text.charAt(to - 1))) to--;
  found.push(tokenOf(text, from, to));
  for (; to < end; to++) found.push(tokenOf(text, to, to + 1));
}

const tokenOf = (text: string, start: number, end: number): NftToken => ({ text: text.slice(start, end), start, end });

/** `"virbr0"` -> `virbr0` */
export function unquote(text: string): string {
  return text.length > 1 && text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1) : text;
}

/** Blank, tab, carriage return. */
function isBlank(code: number): boolean {
  return code === 32 || code === 9 || code === 13;
}

function isSpace(code: number): boolean {
  return isBlank(code) || code === 10;
}
