// From words to the saved form of a rule: what `iptables -A` with typed or long options would be saved as.
// Covers what libvirt, the tests and common scripts type. It is no second iptables: unknown options pass as they are.

import type { Family } from '../../src/ruleset/types.ts';
import { TARGETS } from './store.ts';

export interface Spec {
  /** What follows `-A CHAIN ` in iptables-save. */
  readonly text: string;
  /** Chain after -j or -g, when it is not a target extension. */
  readonly jump: string | undefined;
  /** The jump was a -g. */
  readonly isGoto: boolean;
  readonly matches: readonly string[];
  readonly sets: readonly string[];
  readonly counters: { readonly packets: number; readonly bytes: number } | undefined;
}

export interface SpecProblem {
  readonly problem: string;
}

/** Words of a restore line. Quotes and backslashes as in xtables' add_param_to_argv. */
export function splitWords(line: string): string[] {
  const words: string[] = [];
  // `-m comment --comment "a \"b\" c" -j DROP`: bare runs and quoted parts with escapes
  const word = /(?:"(?:[^"\\]|\\.)*"|[^\s"]+)+/g;
  for (const [found] of line.matchAll(word)) words.push(unquote(found));
  return words;
}

const unquote = (word: string): string =>
  word.replace(/"((?:[^"\\]|\\.)*)"/g, (_, inner: string) => inner.replace(/\\(.)/g, '$1')); // "a \"b\"" -> a "b"

/** Options iptables prints first, in this order. */
const HEAD: Readonly<Record<string, string>> = {
  '-s': '-s',
  '--source': '-s',
  '--src': '-s',
  '-d': '-d',
  '--destination': '-d',
  '--dst': '-d',
  '-i': '-i',
  '--in-interface': '-i',
  '-o': '-o',
  '--out-interface': '-o',
  '-p': '-p',
  '--protocol': '-p',
  '--proto': '-p',
};
const HEAD_ORDER = ['-s', '-d', '-i', '-o', '-p'];

const LONG: Readonly<Record<string, string>> = {
  '--jump': '-j',
  '--goto': '-g',
  '--match': '-m',
  '--destination-port': '--dport',
  '--source-port': '--sport',
  '--destination-ports': '--dports',
  '--source-ports': '--sports',
};

/** Options that belong to the match of the protocol, which may be typed without `-m tcp`. */
const PROTOCOL_OPTIONS = new Set(['--dport', '--sport', '--tcp-flags', '--syn', '--icmp-type', '--icmpv6-type']);
/** Options whose value iptables prints through xtables_save_string. */
const STRING_OPTIONS = new Set(['--comment', '--log-prefix', '--nflog-prefix', '--string', '--hashlimit-name']);

interface Draft {
  readonly head: Map<string, string>;
  readonly rest: string[];
  readonly target: string[];
  readonly matches: string[];
  readonly sets: string[];
  jump: string | undefined;
  isGoto: boolean;
  counters: Spec['counters'];
  inTarget: boolean;
}

/** Words after the chain name -> saved form. */
export function specOf(words: readonly string[], family: Family): Spec | SpecProblem {
  const draft: Draft = {
    head: new Map(),
    rest: [],
    target: [],
    matches: [],
    sets: [],
    jump: undefined,
    isGoto: false,
    counters: undefined,
    inTarget: false,
  };
  for (let at = 0; at < words.length;) {
    const next = takeOption(draft, words, at, family);
    if (typeof next === 'string') return { problem: next };
    at = next;
  }
  return finish(draft, family);
}

/** Takes one option with its values; the next index, or what iptables says about it. */
function takeOption(draft: Draft, words: readonly string[], from: number, family: Family): number | string {
  const negated = words[from] === '!';
  const at = negated ? from + 1 : from;
  const typed = words[at];
  if (typed === undefined) return 'nothing appropriate following !';
  const option = HEAD[typed] ?? LONG[typed] ?? typed;
  const value = words[at + 1];
  if (!option.startsWith('-')) return `Bad argument \`${option}'`;
  if (HEAD_ORDER.includes(option) || option === '-j' || option === '-g' || option === '-m') {
    if (value === undefined) return `option "${typed}" requires an argument`;
    takeKnown(draft, option, value, negated, family);
    return at + 2;
  }
  if (option === '-c' || option === '--set-counters') {
    draft.counters = { packets: Number(value), bytes: Number(words[at + 2]) };
    return at + 3;
  }
  if (option.startsWith('--bogus')) return `unknown option "${option}"`;
  return takeRest(draft, words, at, option, negated);
}

function takeKnown(draft: Draft, option: string, value: string, negated: boolean, family: Family): void {
  if (option === '-m') {
    draft.inTarget = false;
    draft.matches.push(value);
    draft.rest.push('-m', value);
  } else if (option === '-j' || option === '-g') {
    draft.inTarget = true;
    draft.target.push(option, value);
    if (!TARGETS.has(value)) draft.jump = value;
    draft.isGoto = option === '-g';
  } else {
    const text = option === '-s' || option === '-d' ? address(value, family) : value;
    draft.head.set(option, `${negated ? '! ' : ''}${option} ${text}`);
  }
}

/** An option of a match or target, with the words up to the next option. */
function takeRest(draft: Draft, words: readonly string[], at: number, option: string, negated: boolean): number {
  if (PROTOCOL_OPTIONS.has(option) && !draft.inTarget) impliedMatch(draft);
  const out = draft.inTarget ? draft.target : draft.rest;
  if (negated) out.push('!');
  out.push(option);
  let next = at + 1;
  const isText = STRING_OPTIONS.has(option); // a comment may look like an option
  for (; next < words.length && ((isText && next === at + 1) || !isOption(words[next]!)); next++) {
    out.push(valueOf(option, words[next]!));
    if (option === '--match-set' && next === at + 1) draft.sets.push(words[next]!);
  }
  return next;
}

/** States in the order in which xt_conntrack prints them. */
const CT_STATES = ['INVALID', 'NEW', 'RELATED', 'ESTABLISHED', 'UNTRACKED', 'SNAT', 'DNAT'];

function valueOf(option: string, word: string): string {
  if (STRING_OPTIONS.has(option)) return quoted(word);
  if (option !== '--ctstate' && option !== '--state') return word;
  const states = word.split(',');
  return CT_STATES.filter((state) => states.includes(state)).join(',');
}

const isOption = (word: string): boolean => word === '!' || /^--?[a-z]/.test(word); // "-j", "--dport"; not "-1"

/** `-p tcp --dport 22` is saved as `-p tcp -m tcp --dport 22`. */
function impliedMatch(draft: Draft): void {
  const protocol = draft.head.get('-p')?.split(' ').at(-1);
  if (protocol === undefined || draft.matches.some((match) => match === protocol || match === 'multiport')) return;
  draft.matches.push(protocol);
  draft.rest.push('-m', protocol);
}

function finish(draft: Draft, family: Family): Spec {
  const head = HEAD_ORDER.flatMap((option) => draft.head.get(option) ?? []);
  if (draft.target.join(' ') === '-j REJECT') {
    draft.target.push('--reject-with', family === 'ip' ? 'icmp-port-unreachable' : 'icmp6-port-unreachable');
  }
  const text = [...head, ...draft.rest, ...draft.target].join(' ');
  const { jump, isGoto, matches, sets, counters } = draft;
  return { text, jump, isGoto, matches, sets, counters };
}

/** An address as saved: with its prefix length. `10.0.0.0/255.0.0.0` -> `10.0.0.0/8`, `10.0.0.1` -> `10.0.0.1/32`. */
function address(value: string, family: Family): string {
  const [host = '', mask] = value.split('/');
  if (mask === undefined) return `${host}/${family === 'ip' ? 32 : 128}`;
  if (!mask.includes('.')) return value;
  const bits = mask.split('.').map((part) => Number(part).toString(2).padStart(8, '0'));
  return `${host}/${bits.join('').lastIndexOf('1') + 1}`;
}

/** xtables_save_string: bare when all characters are harmless, else quoted with ", \ and ' escaped. */
export const quoted = (text: string): string =>
  /^[A-Za-z0-9_-]+$/.test(text) ? text : `"${text.replace(/["\\']/g, '\\$&')}"`; // a "b" -> "a \"b\""
