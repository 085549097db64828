// Rule files as values: what is read, what is wrong with it, and where each rule came from. Pure; depends on the model alone.

import type { Family } from '../ruleset/types.ts';

/** What a rule file speaks of, by the end of its name: `.v4`, `.v6`, `.nft`. */
export type RuleKind = Family | 'native';

/** What keeps a file from being used. Closed set: docs/errors.md has a row for each; so have those of ruleset/types.ts. */
export const RULE_PROBLEM_CODES = [
  'unsafe-file',
  'no-rules',
  'template-syntax',
  'template-undefined',
  'template-failed',
  'bad-variable',
  'old-dialect',
  'bad-command',
  'unknown-target',
  'unknown-match',
  'policy-again',
  'iptables-name',
  'bad-nft',
] as const;

/** What is odd about rules that can be used all the same. Closed set, as above. */
export const RULE_WARNING_CODES = [
  'one-family',
  'never-matches',
  'missing-set',
  'missing-interface',
  'host-name',
  'locks-out',
  'flush-ruleset',
  'neighbours-rule',
  'not-checked',
  'unread-file',
  'left-out-fact',
] as const;

/** 1-based; line 0: the file as a whole. In a template it is the template's own line. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** One problem or warning. `code` is of RULE_PROBLEM_CODES, RULE_WARNING_CODES or PROBLEM_CODES (ruleset/types.ts). */
export interface Finding extends Place {
  readonly code: string;
  readonly message: string;
}

/** One file that was read. */
export interface RuleSource {
  readonly file: string;
  readonly kind: RuleKind;
  readonly template: boolean;
  /** As it stands in the file. */
  readonly written: string;
  /** As it is used: of a template what it gave. */
  readonly text: string;
  /** For each line of `text` the line of the file it came from. */
  readonly lines: readonly number[];
}

/** One rule of the user's, as iptables or nft prints it, and the line it was written in. */
export interface PlacedRule extends Place {
  readonly kind: RuleKind;
  /** iptables: `filter`; native: `inet filter`. */
  readonly table: string;
  readonly chain: string;
  readonly text: string;
}

/** What belongs to a neighbour and was left out. */
export interface LeftOutRule extends PlacedRule {
  readonly owner: string;
  readonly evidence: string;
}

export function finding(code: string, place: Place, message: string): Finding {
  return { code, file: place.file, line: place.line, column: place.column, message };
}

/** `rules.d/10-base.v4:3:12: unknown-target: ...` */
export function printFinding({ file, line, column, code, message }: Finding): string {
  return `${line === 0 ? file : `${file}:${line}:${column}`}: ${code}: ${message}`;
}

/** Where line `line` (1-based) of a source's text is written. */
export function placeOf({ file, written, lines }: RuleSource, line: number, word?: string): Place {
  const own = lines[line - 1] ?? 1;
  const place = { file, line: own, column: 1 };
  return word === undefined ? place : placeIn(written.split('\n')[own - 1] ?? '', place, word);
}

/** The place of a word in the line that `place` names; the line's begin when the word is not written there as such. */
export function placeIn(line: string, place: Place, word: string | undefined): Place {
  const at = word === undefined || word === '' ? -1 : columnOfWord(line, word);
  const { file, line: number } = place;
  return { file, line: number, column: at === -1 ? place.column : at + 1 };
}

/** `22` in `--dport 22 -s 10.0.0.22`: a word of its own first, else anywhere. */
function columnOfWord(text: string, word: string): number {
  for (let at = text.indexOf(word); at !== -1; at = text.indexOf(word, at + 1)) {
    const around = (text[at - 1] ?? ' ') + (text[at + word.length] ?? ' ');
    if (/^[\s"',{}!][\s"',{};]$/.test(around)) return at; // ` 22 `, `"eth0"`, `{22,`
  }
  return text.indexOf(word);
}

export const inOrder = (a: Finding, b: Finding): number =>
  a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line || a.column - b.column;
