// What a pass answers: its kind, what is left, what was put right, and why it wrote nothing.

import { type Drift, pendingBetween, waitingDrift } from '../merge/drift.ts';
import { lostDrift, type LostNeighbour } from '../merge/foreign-lost.ts';
import { withoutSetPolicies } from '../merge/policies.ts';
import type { TableWork, Waiting } from '../plan/family-plan.ts';
import { renderEdit } from '../plan/render.ts';
import type { Memory } from '../record/memory.ts';
import { FAMILIES, type Family } from '../ruleset/types.ts';
import type { Ending } from './ending.ts';
import { sameWaiting } from './remember.ts';
import type { Outcome, PassContext, PassRequest, TableReport } from './types.ts';

/** The pass in one value, for the journal, the daemon and the command line. */
export function outcomeOf(
  context: PassContext,
  request: PassRequest,
  ending: Ending,
  {
    adopted,
    dropped,
    lost,
  }: {
    readonly adopted: string | undefined;
    readonly dropped: readonly string[];
    readonly lost: readonly LostNeighbour[];
  },
): Outcome {
  const { memory, host } = context;
  const committed = ending.done.filter((each) => each.result.kind === 'committed');
  const work = ending.kind === 'unreadable' ? [] : ending.work;
  const tables = work.flatMap((family) => family.tables.map((each) => tableReport(each, ending)));
  const live = ending.kind === 'seen' ? ending.seen.families.map(({ classified }) => classified) : [];
  const differs = FAMILIES.flatMap((family) => pendingBetween(memory.snapshot[family], memory.wish[family]));
  const pending = withoutSetPolicies(differs, live);
  return {
    kind: kindOf(request, ending, committed.length > 0, tables),
    trigger: request.trigger,
    changed: committed.length > 0,
    tables,
    drift: [
      ...work.flatMap((family) => family.drift),
      ...pending,
      ...replacedDrift(memory.replaced),
      ...waitingDrift([...memory.waiting, ...homelessOf(ending, memory)]),
      ...lostDrift(lost),
    ],
    mended: committed.flatMap((each) => each.work.flatMap((table) => table.mends)),
    adopted,
    dropped,
    kept: [...ending.kept],
    why: whyOf(request, ending),
    by: request.by.length > 0 ? request.by : (request.byNow?.() ?? []),
    ...(request.overtaken === true ? { overtaken: true } : {}),
    rounds: ending.kind === 'seen' ? ending.rounds : 1,
    durationMs: host.clock.monoMs() - ending.started,
    committedMs: committed[0] === undefined ? undefined : committed[0].atMs - ending.started,
  };
}

function kindOf(
  request: PassRequest,
  ending: Ending,
  changed: boolean,
  tables: readonly TableReport[],
): Outcome['kind'] {
  if (ending.kind === 'unreadable') return 'unreadable';
  if (ending.kind === 'failed') return 'failed';
  if (ending.edits.length > 0 && (request.mode === 'observe' || request.dryRun || ending.seen.mixed !== undefined))
    return 'would-mend';
  if (ending.edits.length > 0) return 'failed';
  if (changed) return 'mended';
  return tables.some((table) => table.decision === 'wait') ? 'waiting-for-quiet' : 'unchanged';
}

function tableReport(work: TableWork, ending: Ending): TableReport {
  // The edits that were made stand in the rounds before; the last round shows what is left.
  const made = ending.done
    .filter((each) => each.result.kind === 'committed')
    .flatMap((each) => each.work.filter((other) => other.table === work.table && each.family === work.plan.family));
  const edits = [...made.flatMap((each) => each.plan.edits), ...work.plan.edits].map(renderEdit);
  const first = made[0]?.decision ?? work.decision;
  return { family: work.plan.family, table: work.table, decision: first.kind, evidence: first.evidence, edits };
}

function whyOf(request: PassRequest, ending: Ending): string | undefined {
  if (ending.kind === 'unreadable') return ending.why;
  if (ending.kind === 'seen')
    return (
      ending.seen.mixed ??
      (ending.edits.length > 0 && request.mode === 'merge' && !request.dryRun
        ? 'the table changed again after each commit'
        : undefined)
    );
  const last = ending.done.findLast((each) => each.result.kind === 'failed' || each.result.kind === 'locked');
  if (last?.result.kind === 'failed')
    return `${last.result.said}${last.undone === undefined ? '' : ` (tables before it: ${last.undone.kind === 'committed' ? 'undone' : 'NOT undone'})`}`;
  return last?.result.kind === 'locked' ? 'another program holds the xtables lock' : 'no end was reached';
}

function replacedDrift(replaced: readonly string[]): Drift[] {
  return replaced.map((place) => {
    const [family = 'ip', table = ''] = place.split(' ');
    return {
      kind: 'replaced',
      family: family as Family,
      table,
      chain: '',
      text: '',
      owner: 'user',
      evidence: 'another ruleset was loaded; run `mendwall accept` or `mendwall restore latest`',
    };
  });
}

/** Where nothing is written (observe mode), the memory does not hold them. */
function homelessOf(ending: Ending, { waiting }: Memory): Waiting[] {
  const homeless = ending.kind === 'seen' ? ending.work.flatMap((family) => family.homeless) : [];
  return homeless.filter(
    (rule) => !waiting.some((other) => sameWaiting([rule], [other]) && other.family === rule.family),
  );
}

/** The outcome of a pass that ended with a fault of ours. */
export function failedOutcome(request: PassRequest): Outcome {
  return {
    kind: 'failed',
    trigger: request.trigger,
    changed: false,
    tables: [],
    drift: [],
    mended: [],
    adopted: undefined,
    dropped: [],
    kept: [],
    why: 'internal error',
    by: request.by,
    rounds: 0,
    durationMs: 0,
    committedMs: undefined,
  };
}
