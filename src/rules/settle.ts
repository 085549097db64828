// What iptables said of the composed text, line by line: saved forms where it took a line, findings where it did not. Pure.
// Guarantee: a line that is refused is in no ruleset; one that could not be judged whole is, with a warning.

import { words } from '../ruleset/iptables/lex.ts';
import type { Problem } from '../ruleset/types.ts';
import type { ComposedLine, Entry } from './compose.ts';
import { complaintOf, matchHint, MATCHES, tableHint, targetHint } from './vocabulary.ts';
import { finding, type Finding, type Place } from './types.ts';

/** As apply/canonical-collect.ts has it. */
export type JudgedLine = { readonly line: number } & (
  | { readonly kind: 'ok'; readonly saved: readonly string[] }
  | { readonly kind: 'bad'; readonly problem: Problem }
  | { readonly kind: 'unchecked'; readonly why: string; readonly saved: readonly string[] }
);

export interface Settled {
  /** By rule: its saved forms, one for each address; a rule that is missing here was refused. */
  readonly saved: ReadonlyMap<Entry, readonly string[]>;
  readonly problems: readonly Finding[];
  readonly warnings: readonly Finding[];
}

/** Finds the place of a word in the line that a place names. */
export type Pointer = (place: Place, word: string | undefined) => Place;

export function settle(
  judged: readonly JudgedLine[],
  lines: readonly (ComposedLine | undefined)[],
  chains: readonly string[],
  point: Pointer,
): Settled {
  const saved = new Map<Entry, readonly string[]>();
  const problems: Finding[] = [];
  const warnings: Finding[] = [];
  for (const line of judged) {
    const composed = lines[line.line - 1];
    if (composed === undefined) continue;
    const { rule } = composed;
    if (line.kind === 'bad') {
      problems.push(refused(line.problem, composed, point));
      continue;
    }
    // Of a table that cannot be loaded its head is told.
    if (line.kind === 'unchecked' && /^table \S+ cannot be loaded here$/.test(line.why)) continue;
    if (line.kind === 'unchecked') {
      const found = unsettled(line.why, composed, chains, point);
      (found.isProblem ? problems : warnings).push(found.finding);
      if (found.isProblem) continue;
    }
    if (rule !== undefined) saved.set(rule, line.saved.length === 0 ? [rule.text] : line.saved);
  }
  return { saved, problems, warnings };
}

function refused({ code, message }: Problem, { rule, table, chain, place }: ComposedLine, point: Pointer): Finding {
  if (code === 'bad-table-line')
    return finding(code, point(place, table), `there is no table ${table}${tableHint(table)}`);
  const old = rule === undefined ? undefined : intraposed(rule.text);
  if (old !== undefined) {
    const said = `"${old.option} ! ${old.value}" is of iptables before 1.4.3; expected "! ${old.option} ${old.value}" (\`mendwall import\` rewrites it)`;
    return finding('old-dialect', point(place, '!'), said);
  }
  const { word, hint } = complaintOf(message, rule?.text ?? `:${chain}`);
  return finding(code, point(place, word ?? (rule === undefined ? chain : undefined)), `${message}${hint}`);
}

/** `-d ! 10.0.0.0/8`: the option, what follows the `!`. */
export function intraposed(text: string): { readonly option: string; readonly value: string } | undefined {
  if (!text.includes(' ! ')) return undefined;
  const found = words(text);
  const at = found.findIndex(
    (word, index) => word === '!' && isOption(found[index - 1]) && !isOption(found[index + 1]),
  );
  const [option, , value] = at === -1 ? [] : found.slice(at - 1, at + 2);
  return option === undefined || value === undefined ? undefined : { option, value };
}

const isOption = (word: string | undefined): boolean => /^--?[A-Za-z]/.test(word ?? '');

interface Unsettled {
  readonly isProblem: boolean;
  readonly finding: Finding;
}

function unsettled(why: string, { place }: ComposedLine, chains: readonly string[], point: Pointer): Unsettled {
  const at = (code: string, word: string | undefined, message: string, isProblem = false): Unsettled => ({
    isProblem,
    finding: finding(code, point(place, word), message),
  });
  const set = /^set (\S+) does not exist now$/.exec(why)?.[1];
  if (set !== undefined)
    return at('missing-set', set, `set ${set} does not exist here now; the rule cannot be loaded without it`);
  const host = /^host name (\S+?)(?::| cannot)/.exec(why)?.[1]; // host name example.org: only its addresses ...
  if (host !== undefined)
    return at(
      'host-name',
      host,
      `${host} is a host name: only its addresses of the moment of loading are kept, none without a name server`,
    );
  const target = /^there is no chain or target (\S+) now$/.exec(why)?.[1];
  if (target !== undefined)
    return at('unknown-target', target, `there is no chain or target ${target}${targetHint(target, chains)}`, true);
  const match = /^match extension (\S+) cannot be loaded/.exec(why)?.[1];
  if (match !== undefined && !MATCHES.includes(match))
    return at('unknown-match', match, `there is no match extension ${match}${matchHint(match)}`, true);
  return at('not-checked', match, why);
}
