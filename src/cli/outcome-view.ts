// What a pass did, and what it left, for people. Prints nothing by itself.

import { describeDrift, type Drift } from '../merge/drift.ts';
import { describeOutcome } from '../guard/outcome-text.ts';
import type { Outcome } from '../pass/types.ts';
import { TABLES } from '../ruleset/types.ts';
import { count } from './columns.ts';

/** `unchanged`, or what was done; then the edits (with `edits`), then the drift that is left. */
export function outcomeLines(outcomes: readonly Outcome[], edits: boolean): string[] {
  const lines =
    outcomes.length > 1 && outcomes.every(({ kind }) => kind === 'unchanged')
      ? outcomes.slice(-1).map(describeOutcome)
      : outcomes.map(describeOutcome);
  if (edits) lines.push(...outcomes.flatMap(editLines));
  const left = outcomes.at(-1)?.drift ?? [];
  if (left.length > 0) lines.push(`left: ${driftCounts(left)}`, ...left.map((drift) => `  ${describeDrift(drift)}`));
  return lines;
}

/** The edits as restore input, so that they can be read and pasted. */
export function editLines(outcome: Outcome): string[] {
  return outcome.tables
    .filter(({ edits }) => edits.length > 0)
    .flatMap(({ family, table, edits }) =>
      (family === 'ip' || family === 'ip6') && TABLES.includes(table)
        ? [`# ${family === 'ip' ? 'iptables-restore' : 'ip6tables-restore'} --noflush`, `*${table}`, ...edits, 'COMMIT']
        : ['# nft -f', ...edits.flatMap((edit) => edit.split('\n'))],
    );
}

/** `2 displaced, 1 pending` */
export function driftCounts(drift: readonly Drift[]): string {
  const counts = new Map<string, number>();
  for (const { kind } of drift) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return [...counts].map(([kind, number]) => `${number} ${kind}`).join(', ');
}

export function ruleLines(
  title: string,
  rules: readonly { readonly family: string; readonly table: string; readonly text: string }[],
): string[] {
  if (rules.length === 0) return [];
  return [
    `${title} (${count(rules.length, 'rule')}):`,
    ...rules.map(({ family, table, text }) => `  ${family} ${table} ${text}`),
  ];
}
