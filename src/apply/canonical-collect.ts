// What came back from the namespace, line by line of the typed text. Pure.

import type { Problem } from '../ruleset/types.ts';
import { fromOwnChain, readLines, untagged, type InputLine } from './canonical-input.ts';
import type { Judgement } from './canonical-settle.ts';

export type CanonicalLine = { readonly line: number } & (
  | {
      /** As iptables-save prints it: a rule, several (one per address), a chain's line, or nothing (comment, `COMMIT`). */
      readonly kind: 'ok';
      readonly saved: readonly string[];
    }
  | { readonly kind: 'bad'; readonly problem: Problem }
  /** It could not be judged whole, for that reason; `saved` is what came back, perhaps nothing. */
  | { readonly kind: 'unchecked'; readonly why: string; readonly saved: readonly string[] }
);

export type Canonical =
  /** One entry for each line of the text. `savedText` is all that could be loaded, as iptables-save prints it, without dates. */
  | { readonly kind: 'read'; readonly lines: readonly CanonicalLine[]; readonly savedText: string }
  | { readonly kind: 'unavailable'; readonly why: string };

/** `text` is the whole as saved; `rulesText` the same, or the load in which each rule has a chain of its own. */
export function collect(work: Judgement, text: string, rulesText: string): Canonical {
  const chains = new Map<string, string>();
  const shown: string[] = [];
  for (const line of readLines(text).lines) {
    if (line.text === '' || line.text.startsWith('#')) continue;
    if (line.kind === 'chain' && isOnlyStub(work, line.table, line.chain)) continue;
    if (line.kind === 'chain') chains.set(`${line.table} ${line.chain}`, line.text);
    shown.push(untagged(line.text).rule);
  }
  const rules = savedRules(work, rulesText);
  const lines = work.lines.map((line) => judged(work, line, savedFor(line, chains, rules)));
  return { kind: 'read', lines, savedText: `${shown.join('\n')}\n` };
}

/** Saved rules by the line of the text they came from: by their counters, or by their own chain. */
function savedRules(work: Judgement, text: string): Map<number, string[]> {
  const byLine = new Map<number, string[]>();
  for (const line of readLines(text).lines) {
    const { tag, rule } = untagged(line.text);
    const own = fromOwnChain(rule);
    const number = own?.number ?? tag ?? 0;
    const chain = work.lines[number - 1];
    const saved = own === undefined || chain?.kind !== 'rule' ? rule : `-A ${chain.chain}${own.rest}`;
    if (number !== 0) byLine.set(number, [...(byLine.get(number) ?? []), saved]);
  }
  return byLine;
}

function savedFor(
  line: InputLine,
  chains: ReadonlyMap<string, string>,
  rules: ReadonlyMap<number, readonly string[]>,
): readonly string[] {
  if (line.kind !== 'chain') return rules.get(line.number) ?? [];
  const saved = chains.get(`${line.table} ${line.chain}`);
  return saved === undefined ? [] : [saved];
}

const isOnlyStub = (work: Judgement, table: string, chain: string): boolean =>
  work.stubs.get(table)?.has(chain) === true && !work.declared.has(`${table} ${chain}`);

function judged(work: Judgement, { number }: InputLine, saved: readonly string[]): CanonicalLine {
  const problem = work.bad.get(number);
  if (problem !== undefined) return { line: number, kind: 'bad', problem };
  const why = work.unchecked.get(number);
  return why === undefined ? { line: number, kind: 'ok', saved } : { line: number, kind: 'unchecked', why, saved };
}
