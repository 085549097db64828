// Words of nft's language, as `nft list ruleset` prints them and people type them: names, numbers, addresses, strings,
// the signs { } ( ) , ; = : . @ and comparisons; a line's end separates like ";". Pure.

export interface NftToken {
  readonly text: string;
  readonly quoted: boolean;
  /** Place in the text, for cutting a rule's own text out of it. */
  readonly start: number;
  readonly end: number;
}

/** The tokens of a whole text. Comments (`# handle 7`) are left out; a line's end becomes ";", but not after "\" or ",". */
export function nftTokens(text: string): readonly NftToken[] {
  const tokens: NftToken[] = [];
  const push = (start: number, end: number, quoted = false): void => {
    tokens.push({ text: quoted ? text.slice(start + 1, end - 1) : text.slice(start, end), quoted, start, end });
  };
  for (let at = 0; at < text.length;) {
    const sign = text[at] as string;
    if (sign === '\n') {
      if (tokens.at(-1)?.text !== ',') tokens.push({ text: ';', quoted: false, start: at, end: at });
      at++;
    } else if (sign === ' ' || sign === '\t' || sign === '\r') at++;
    else if (sign === '\\' && text[at + 1] === '\n') at += 2;
    else if (sign === '#') at = lineEnd(text, at);
    else {
      const end = tokenEnd(text, at);
      push(at, end, sign === '"');
      at = end;
    }
  }
  return tokens;
}

function lineEnd(text: string, at: number): number {
  const end = text.indexOf('\n', at);
  return end === -1 ? text.length : end;
}

function tokenEnd(text: string, at: number): number {
  if (text[at] === '"') {
    const close = text.indexOf('"', at + 1);
    return close === -1 ? text.length : close + 1;
  }
  if (BREAKS[text.charCodeAt(at)] === 1) return TWO_SIGNS.has(text.slice(at, at + 2)) ? at + 2 : at + 1;
  let end = at + 1;
  while (end < text.length && BREAKS[text.charCodeAt(end)] !== 1) end++;
  return end;
}

const TWO_SIGNS = new Set(['!=', '==', '<=', '>=', '<<', '>>']);
/** Signs that end a word, by character code. */
const BREAKS = new Uint8Array(128);
for (const sign of ' \t\r\n"!<>#{}(),;=|&^') BREAKS[sign.charCodeAt(0)] = 1;

/** Reads tokens one by one. */
export interface TokenReader {
  peek(ahead?: number): string;
  /** The next token is a string in quotes. */
  quoted(): boolean;
  next(): string;
  /** Takes the next tokens when they are these words. */
  take(...words: readonly string[]): boolean;
  at(): number;
  moveTo(at: number): void;
  done(): boolean;
}

export function readTokens(tokens: readonly NftToken[]): TokenReader {
  let at = 0;
  const peek = (ahead = 0): string => tokens[at + ahead]?.text ?? '';
  return {
    peek,
    quoted: () => tokens[at]?.quoted === true,
    next: () => tokens[at++]?.text ?? '',
    take: (...words) => {
      if (!words.every((word, ahead) => peek(ahead) === word && tokens[at + ahead]?.quoted === false)) return false;
      at += words.length;
      return true;
    },
    at: () => at,
    moveTo: (to) => void (at = to),
    done: () => at >= tokens.length,
  };
}
