// A pass in one line for the log: what, where, who, what was done, how long. Pure.

import { describeDrift, type Drift } from '../merge/drift.ts';
import type { Outcome } from '../pass/types.ts';

/** `mended ip filter FORWARD: displaced (against libvirt); 2 edits in 7 ms; by iptables pid 12 <- libvirtd pid 3` */
export function describeOutcome(outcome: Outcome): string {
  const edits = outcome.tables.reduce((sum, table) => sum + table.edits.length, 0);
  const places = [
    ...new Set(
      outcome.tables.filter((table) => table.edits.length > 0).map((table) => `${table.family} ${table.table}`),
    ),
  ];
  const what = whatHappened(outcome);
  const by = byText(outcome);
  const took = ` in ${Math.max(1, Math.round(outcome.committedMs ?? outcome.durationMs))} ms`;
  switch (outcome.kind) {
    case 'mended':
      return `mended ${places.join(', ')}: ${what === '' ? 'order' : what}; ${edits} edits${took}${by}`;
    case 'would-mend':
      return `would mend ${places.join(', ')}: ${what === '' ? 'rules differ' : what}; ${edits} edits${outcome.why === undefined ? '' : ` (${outcome.why})`}${by}`;
    case 'unreadable':
      return `unreadable, nothing was changed: ${outcome.why}`;
    case 'failed':
      return `could not mend ${places.length === 0 ? 'anything' : places.join(', ')}: ${outcome.why}${by}`;
    case 'unchanged':
    case 'waiting-for-quiet':
      if (what === '') return by === '' || outcome.by[0] === 'hand' ? 'unchanged' : `rewritten, nothing to mend${by}`;
      return `${what}; nothing to write${by}`;
  }
}

/** Something that was changed was changed by somebody, known or not. */
function byText({ by, tables }: Outcome): string {
  const more = by.length > 1 ? ` and ${by.length - 1} more` : '';
  if (by[0] !== undefined) return `; by ${by[0]}${more}`;
  return tables.some(({ edits }) => edits.length > 0) ? '; by unknown' : '';
}

const WORDS: Readonly<Record<string, string>> = {
  load: 'load of',
  replaced: 'another ruleset loaded into',
  wipe: 'wipe of',
  pending: 'pending in',
  damage: 'damage in',
};

function whatHappened(outcome: Outcome): string {
  const decisions = outcome.tables
    .filter((table) => table.decision !== 'kept' && table.decision !== 'wait')
    .map((table) => `${WORDS[table.decision] ?? table.decision} ${table.family} ${table.table}`);
  const kinds = countKinds(outcome.mended);
  const drops =
    outcome.dropped.length === 0 ? '' : ` (drops ${outcome.dropped.length} rules, first: ${outcome.dropped[0]})`;
  const adopted = outcome.adopted === undefined ? [] : [`adopted as snapshot ${outcome.adopted}${drops}`];
  return [...decisions, ...kinds, ...adopted].join(', ');
}

function countKinds(drift: readonly Drift[]): string[] {
  const counts = new Map<string, number>();
  for (const each of drift) counts.set(each.kind, (counts.get(each.kind) ?? 0) + 1);
  return [...counts].map(([kind, count]) => `${count} ${kind}`);
}

/** The drift that is left, each on a line. */
export function describeLeft(outcome: Outcome): string[] {
  return outcome.drift.map(describeDrift);
}
