// Which rules of a chain before and after are the same rule: the longest run that stands in one order on both sides.
// Two rules are the same when their texts are, and what their texts refer to (sets, maps). Pure.

import { alignStaying } from '../../ruleset/align.ts';
import type { CompiledChain, CompiledRule } from '../program.ts';

/** A rule of one ruleset, of the other, or of both. */
export interface RulePair {
  readonly a: RuleAt | undefined;
  readonly b: RuleAt | undefined;
}

export interface RuleAt {
  readonly chain: CompiledChain;
  readonly index: number;
  readonly rule: CompiledRule;
}

/** All rules of both chains in an order that keeps both. */
export function pairRules(a: CompiledChain | undefined, b: CompiledChain | undefined): readonly RulePair[] {
  const [from, to] = [rulesAt(a), rulesAt(b)];
  const staying = alignStaying(from.map(identity), to.map(identity));
  const pairs: RulePair[] = [];
  let next = 0;
  to.forEach((rule, index) => {
    const twin = staying[index] as number;
    while (next < twin) pairs.push({ a: from[next++], b: undefined });
    pairs.push({ a: twin < 0 ? undefined : from[next++], b: rule });
  });
  return [...pairs, ...from.slice(next).map((rule) => ({ a: rule, b: undefined }))];
}

function rulesAt(chain: CompiledChain | undefined): RuleAt[] {
  return chain === undefined ? [] : chain.rules.map((rule, index) => ({ chain, index, rule }));
}

const identity = ({ rule }: RuleAt): string => identityOf(rule);

/** The text; with what it refers to where it names a set. */
export function identityOf(rule: CompiledRule): string {
  return rule.text.includes('@') && !rule.text.startsWith('-A ')
    ? `${rule.text}\n${JSON.stringify(rule.steps, bigintText)}`
    : rule.text;
}

const bigintText = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? `${value}n` : value);

/** `text` the how-manieth time in its chain: a rate that stands twice counts twice. */
export function copyOf({ chain, index, rule }: RuleAt): number {
  let copies = 0;
  for (let at = 0; at < index; at++) if (chain.rules[at]?.text === rule.text) copies++;
  return copies;
}

const JUMP = / -[jg] (\S+)|\b(?:jump|goto) (\S+?)[,;}\s]|\b(?:jump|goto) (\S+)$/g;

/** Whether two chains hold the same rules, all they jump to included. Asked again and again: keeps its answers. */
export function chainsCompared(): (
  a: CompiledChain,
  chainsA: ReadonlyMap<string, CompiledChain>,
  b: CompiledChain,
  chainsB: ReadonlyMap<string, CompiledChain>,
) => boolean {
  const known = new Map<CompiledChain, Map<CompiledChain, boolean>>();
  return function same(a, chainsA, b, chainsB): boolean {
    let row = known.get(a);
    if (row === undefined) known.set(a, (row = new Map()));
    const before = row.get(b);
    if (before !== undefined) return before;
    // A circle is the same as far as it goes.
    row.set(b, true);
    const answer =
      a.rules.length === b.rules.length &&
      a.rules.every((rule, at) => identityOf(rule) === identityOf(b.rules[at] as CompiledRule)) &&
      targetsOf(a).every((name) => {
        const [one, two] = [chainsA.get(name), chainsB.get(name)];
        return one === undefined || two === undefined ? one === two : same(one, chainsA, two, chainsB);
      });
    row.set(b, answer);
    return answer;
  };
}

/** Names behind jumps; targets that are no chains among them. */
function targetsOf(chain: CompiledChain): string[] {
  const names = new Set<string>();
  for (const rule of chain.rules) {
    for (const [, a, b, c] of rule.text.matchAll(JUMP)) names.add(a ?? b ?? c ?? '');
    // A map may hold the jumps.
    if (rule.text.includes('vmap @')) for (const name of mappedJumps(rule)) names.add(name);
  }
  return [...names];
}

function mappedJumps({ steps }: CompiledRule): string[] {
  const cases = steps.flatMap((step) => (step.kind === 'choose' ? step.cases : []));
  return cases.flatMap(({ action }) => (action.kind === 'jump' || action.kind === 'goto' ? [action.chain] : []));
}
