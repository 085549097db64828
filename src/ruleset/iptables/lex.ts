// Words of one rule, as iptables-save quotes them: blanks separate, "..." groups, \" and \\ escape inside quotes. A quoted
// string may hold a line break (a comment typed with one is printed so by 1.8.9, both engines), nothing else may.
// (iptables libxtables/xshared.c, xtables_save_string and add_param_to_argv.) Pure.

export interface Token {
  readonly text: string;
  /** 0-based offset of the token's first character in the line. */
  readonly offset: number;
  readonly quoted: boolean;
}

export type LexResult =
  | { readonly kind: 'tokens'; readonly tokens: readonly Token[] }
  | { readonly kind: 'unclosed'; readonly offset: number };

/** Splits a rule line into words. An unclosed quote is reported with the place where it opens. */
export function lex(line: string): LexResult {
  const tokens: Token[] = [];
  let at = 0;
  for (;;) {
    while (at < line.length && isBlank(line.charCodeAt(at))) at++;
    if (at >= line.length) return { kind: 'tokens', tokens };
    if (line[at] === '"') {
      const end = closingQuote(line, at);
      if (end === -1) return { kind: 'unclosed', offset: at };
      tokens.push({ text: unescape(line.slice(at + 1, end)), offset: at, quoted: true });
      at = end + 1;
    } else {
      const start = at;
      while (at < line.length && !isBlank(line.charCodeAt(at))) at++;
      tokens.push({ text: line.slice(start, at), offset: start, quoted: false });
    }
  }
}

/** The words alone; for a line with an unclosed quote, what stands before it. */
export function words(line: string): string[] {
  if (!line.includes('"')) return line.split(' ').filter((word) => word !== '');
  const result = lex(line);
  return result.kind === 'tokens' ? result.tokens.map((token) => token.text) : line.split(' ');
}

/**
 * Where a rule sends its packets: `-j X` or `-g X`. Undefined for a rule that only counts.
 * The common rule holds no quote, so one search is enough; a comment may say ` -j `, then the words decide.
 */
export function targetOf(text: string): { readonly name: string; readonly goto: boolean } | undefined {
  if (text.includes('"')) return targetInWords(words(text));
  const jump = text.indexOf(' -j ');
  const at = jump === -1 ? text.indexOf(' -g ') : jump;
  if (at === -1) return undefined;
  const end = text.indexOf(' ', at + 4);
  return { name: end === -1 ? text.slice(at + 4) : text.slice(at + 4, end), goto: jump === -1 };
}

function targetInWords(list: readonly string[]): { name: string; goto: boolean } | undefined {
  const at = list.findIndex((word) => word === '-j' || word === '-g');
  const name = list[at + 1];
  return at === -1 || name === undefined ? undefined : { name, goto: list[at] === '-g' };
}

/** Blank, tab, carriage return. */
export function isBlank(code: number): boolean {
  return code === 32 || code === 9 || code === 13;
}

/** Offset of the quote that closes the one at `open`, or -1. */
export function closingQuote(line: string, open: number): number {
  for (let at = open + 1; at < line.length; at++) {
    if (line[at] === '\\') at++;
    else if (line[at] === '"') return at;
  }
  return -1;
}

function unescape(text: string): string {
  return text.includes('\\') ? text.replace(/\\([^])/g, '$1') : text;
}
