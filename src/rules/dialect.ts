// Spellings of old iptables, and of web pages, that today's refuses, as today's takes them. Pure.
// Guarantees: quoted text is not touched; a line that needs nothing comes back as it is. What changed is said.
// Does not: translate what has no successor (`-m unclean`, `-j MIRROR`): iptables refuses those, and `import` says so.

import { lex, type Token } from '../ruleset/iptables/lex.ts';

export interface Translated {
  readonly text: string;
  /** One fact each: `-d ! X -> ! -d X`. */
  readonly changes: readonly string[];
}

/** What older releases took for an option's value, ULOG's options, ipset's first spelling. */
const RENAMED: Readonly<Record<string, string>> = {
  '--ulog-prefix': '--nflog-prefix',
  '--ulog-nlgroup': '--nflog-group',
  '--ulog-cprange': '--nflog-range',
  '--ulog-qthreshold': '--nflog-threshold',
};

export function translateLine(line: string): Translated {
  if (!/^(?:\[\d+:\d+\]\s*)?[-\u2010-\u2015]/.test(line)) return { text: line, changes: [] };
  const changes: string[] = [];
  const text = reordered(respelled(line, changes), changes);
  return { text, changes };
}

/** No-break spaces and dashes as word processors make them. */
function respelled(line: string, changes: string[]): string {
  return outsideQuotes(line, (part) => {
    const spaced = part.replace(/[\u00a0\u2007\u202f]/g, ' ');
    if (spaced !== part) changes.push('no-break space -> blank');
    const dashed = spaced.replace(
      /(^|\s)[\u2010-\u2015]+(?=[A-Za-z])(\w+)?/g,
      (_, before: string, word = '') => `${before}${word.length > 1 ? '--' : '-'}${word}`,
    );
    if (dashed !== spaced) changes.push('dash of print -> -');
    return dashed;
  });
}

function outsideQuotes(line: string, change: (part: string) => string): string {
  return line
    .split(/("(?:[^"\\]|\\.)*")/) // --comment "a \" b"
    .map((part, index) => (index % 2 === 1 ? part : change(part)))
    .join('');
}

const isOption = (token: Token | undefined): boolean =>
  token !== undefined && !token.quoted && /^--?[A-Za-z]/.test(token.text);

function reordered(line: string, changes: string[]): string {
  const lexed = lex(line);
  if (lexed.kind === 'unclosed') return line;
  const { tokens } = lexed;
  const out: string[] = [];
  const hasUlog = tokens.some(({ text, quoted }) => text === 'ULOG' && !quoted);
  const hasSet = tokens.some(({ text }, at) => text === 'set' && tokens[at - 1]?.text === '-m');
  let changed = false;
  const say = (change: string): void => void ((changed = true), changes.push(change));
  tokens.forEach((token, at) => {
    const source = line.slice(token.offset, endOf(line, tokens, at));
    const [before, after] = [tokens[at - 1], tokens[at + 1]];
    if (token.text === '!' && !token.quoted && isOption(before) && after !== undefined && !isOption(after)) {
      out.splice(-1, 0, '!');
      return say(`${before?.text} ! ${after.text} -> ! ${before?.text} ${after.text}`);
    }
    // `-s !10.0.0.0/8`
    if (/^![\w.:/]/.test(token.text) && !token.quoted && /^-[sdiop]$/.test(before?.text ?? '')) {
      out.splice(-1, 0, '!');
      out.push(token.text.slice(1));
      return say(`${before?.text} ${token.text} -> ! ${before?.text} ${token.text.slice(1)}`);
    }
    const other = hasUlog ? (token.text === 'ULOG' ? 'NFLOG' : RENAMED[token.text]) : undefined;
    if (other !== undefined && !token.quoted) {
      out.push(other);
      return say(`${token.text} -> ${other}`);
    }
    // `-m set --set NAME src`; `-m recent --set` takes no value
    if (hasSet && token.text === '--set' && after !== undefined && !isOption(after)) {
      out.push('--match-set');
      return say('--set -> --match-set');
    }
    out.push(source);
    if (token.text === '--string' && !tokens.some(({ text }) => text === '--algo')) {
      out.splice(-1, 0, '--algo bm');
      return say('--string -> --algo bm --string');
    }
  });
  return changed ? out.join(' ') : line;
}

/** A token's source ends where blanks before the next begin. */
const endOf = (line: string, tokens: readonly Token[], at: number): number =>
  line.slice(0, tokens[at + 1]?.offset ?? line.length).trimEnd().length;
