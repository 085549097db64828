// One `-A` line as a list of options: `! --dport 22` is {negated, '--dport', ['22']}, in segments that each belong to
// the rule itself, to one `-m`, or to the target. Pure.
//
//   -A INPUT -p tcp -m tcp --dport 22 -m comment --comment "the admin" -j REJECT --reject-with tcp-reset

import { words } from '../ruleset/iptables/lex.ts';

export interface Option {
  readonly name: string;
  readonly args: readonly string[];
  readonly negated: boolean;
}

export interface Segment {
  /** `''` for the rule's own options, else the match's name. */
  readonly match: string;
  readonly options: readonly Option[];
}

export interface RuleWords {
  readonly segments: readonly Segment[];
  readonly target?: { readonly name: string; readonly goto: boolean; readonly options: readonly Option[] };
}

/** Both spellings of the rule's own options -> the short one. */
const OWN: ReadonlyMap<string, string> = new Map([
  ['-p', '-p'],
  ['--protocol', '-p'],
  ['--proto', '-p'],
  ['-s', '-s'],
  ['--source', '-s'],
  ['--src', '-s'],
  ['-d', '-d'],
  ['--destination', '-d'],
  ['--dst', '-d'],
  ['-i', '-i'],
  ['--in-interface', '-i'],
  ['-o', '-o'],
  ['--out-interface', '-o'],
  ['-f', '-f'],
  ['--fragment', '-f'],
]);

const OPENERS: ReadonlyMap<string, '-m' | '-j' | '-g'> = new Map([
  ['-m', '-m'],
  ['--match', '-m'],
  ['-j', '-j'],
  ['--jump', '-j'],
  ['-g', '-g'],
  ['--goto', '-g'],
]);

/** Options whose argument may look like anything: free text takes one word, `--tcp-flags` two. */
const ARITY: ReadonlyMap<string, number> = new Map([
  ['--comment', 1],
  ['--log-prefix', 1],
  ['--nflog-prefix', 1],
  ['--string', 1],
  ['--hex-string', 1],
  ['--tcp-flags', 2],
  ['--syn', 0],
  ['-f', 0],
]);

interface OpenSegment {
  match: string;
  options: Option[];
}

/** Splits a line `-A CHAIN ...`; words it does not know stay options of the segment they stand in. */
export function ruleWords(text: string): RuleWords {
  // Most lines hold no quote; a word of nothing is passed by below.
  const list = text.includes('"') ? words(text) : text.split(' ');
  const own: OpenSegment = { match: '', options: [] };
  const segments: OpenSegment[] = [own];
  let target: { name: string; goto: boolean; options: Option[] } | undefined;
  let open = own.options;
  let negated = false;
  for (let at = 2; at < list.length;) {
    const word = list[at] as string;
    at++;
    if (word === '' && !text.includes('"')) continue;
    const opener = OPENERS.get(word);
    if (word === '!') {
      negated = true;
      continue;
    }
    if (opener !== undefined) {
      const name = list[at++] ?? '';
      open = [];
      if (opener === '-m') segments.push({ match: name, options: open });
      else target = { name, goto: opener === '-g', options: open };
    } else {
      const ownName = OWN.get(word);
      const option = readOption(list, at, ownName ?? word, negated);
      at += option.taken;
      if (ownName === undefined) open.push(option);
      else {
        own.options.push(option);
        // `-p tcp --dport 22`: without `-m tcp` the options that follow belong to the protocol's own match.
        if (ownName === '-p' && opensImplicit(list[at])) {
          open = [];
          segments.push({ match: option.args[0] ?? '', options: open });
        }
      }
    }
    negated = false;
  }
  return target === undefined ? { segments } : { segments, target };
}

const opensImplicit = (word: string | undefined): boolean => word === '!' || (word?.startsWith('--') ?? false);

interface ReadOption extends Option {
  /** How many words its arguments took. */
  readonly taken: number;
}

function readOption(list: readonly string[], start: number, name: string, negated: boolean): ReadOption {
  // Before 1.4.3 the "!" stood behind the option: `-d ! 10.0.0.0/8`.
  const inner = list[start] === '!';
  const first = inner ? start + 1 : start;
  const arity = ARITY.get(name);
  let end = first + (arity ?? 0);
  if (arity === undefined) while (end < list.length && isArgument(list[end] as string)) end++;
  return { name, args: list.slice(first, end), negated: negated !== inner, taken: end - start };
}

/** `-1` is an argument (icmp type any, nice values), `-j` and `--dport` are not. */
function isArgument(word: string): boolean {
  return (
    word !== '!' &&
    (word.charCodeAt(0) !== 45 || (word.length > 1 && word.charCodeAt(1) >= 48 && word.charCodeAt(1) <= 57))
  );
}
