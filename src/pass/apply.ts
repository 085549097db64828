// The writing stage of a pass: journal first, then one transaction a table, both families side by side.

import { type ApplyResult, applyFamily, type TableCommit, undo } from '../apply/apply.ts';
import { HostError } from '../host/host.ts';
import type { Seen } from './observe.ts';
import type { PassContext } from './types.ts';
import type { TableWork } from '../plan/family-plan.ts';
import type { Edit } from '../plan/plan.ts';
import { missingFrom } from '../ruleset/multiset.ts';
import { readFamily } from '../observe/rulesets.ts';
import { isSentinel } from '../owners/mendwall.ts';
import type { Chain, Family } from '../ruleset/types.ts';
import type { TargetTable } from '../merge/merge.ts';

type SeenRulesets = Extract<Seen, { kind: 'rulesets' }>;

export interface Applied {
  readonly family: Family;
  readonly work: readonly TableWork[];
  readonly result: ApplyResult;
  readonly undone: ApplyResult | undefined;
  readonly atMs: number;
}

/**
 * Before each write the journal holds the live text it replaces. A journal that cannot be written (full disk) does not keep
 * a wiped wall down: plans that only add or move rules go on, with an error in the log. A plan that takes text away is
 * not carried out then; the HostError says so.
 */
export async function keepLiveText(
  context: PassContext,
  seen: SeenRulesets,
  edits: readonly TableWork[],
): Promise<string[]> {
  const families = new Set(edits.map((work) => work.plan.family));
  const texts = seen.families.filter(({ family }) => families.has(family)).map(({ text }) => text);
  try {
    return await Promise.all(texts.map((text) => context.journal.keepText(text)));
  } catch (error) {
    if (!(error instanceof HostError) || edits.some((work) => losesText(work.plan.edits))) throw error;
    context.host.log.write('error', `the rules that are replaced now are not kept: ${error.message}`);
    return [];
  }
}

/** True when a deleted rule, a chain or a policy is not put back by the same plan. */
function losesText(edits: readonly Edit[]): boolean {
  const deleted = edits.flatMap((edit) => (edit.kind === 'delete' ? [edit.text] : []));
  const inserted = edits.flatMap((edit) => (edit.kind === 'insert' ? [edit.text] : []));
  return edits.some(({ kind }) => kind === 'delete-chain') || missingFrom(deleted, inserted).length > 0;
}

export async function applyAll(
  context: PassContext,
  seen: SeenRulesets,
  edits: readonly TableWork[],
): Promise<Applied[]> {
  const families = [...new Set(edits.map((work) => work.plan.family))];
  return Promise.all(
    families.map((family) =>
      applyOne(
        context,
        seen,
        family,
        edits.filter((work) => work.plan.family === family),
      ),
    ),
  );
}

async function applyOne(
  context: PassContext,
  seen: SeenRulesets,
  family: Family,
  work: readonly TableWork[],
): Promise<Applied> {
  const live = seen.families.find((entry) => entry.family === family);
  const commits = work.map((each): TableCommit => ({
    plan: each.plan,
    get inverse() {
      return each.inverse;
    },
    sentinel: sentinelStep(context, live?.classified.ruleset.tables.get(each.table)?.chains.values(), each.target),
  }));
  const engine = seen.engine[family];
  const result = await applyFamily(context.host, family, engine, commits);
  const atMs = context.host.clock.monoMs();
  const standing = result.kind === 'failed' ? await standingOf(context, family, commits) : [];
  // It complained, or was killed as too slow, after its last commit: what it was to do is done.
  if (standing.length === commits.length && result.kind === 'failed')
    return { family, work, result: { kind: 'committed', durationMs: 0 }, undone: undefined, atMs };
  const undone =
    standing.length === 0 ? undefined : await undo(context.host, family, engine, standing, () => nextSentinel(context));
  return { family, work, result, undone, atMs };
}

function sentinelStep(
  context: PassContext,
  chains: Iterable<Chain> | undefined,
  target: TargetTable,
): { seen: string | undefined; next: string } {
  const seen = [...(chains ?? [])].find((chain) => isSentinel(chain) && !target.chains.has(chain.name))?.name;
  return { seen, next: nextSentinel(context) };
}

/** Noted before it is made, so that our commit is known as ours when it is heard. */
function nextSentinel({ nonce, ownSentinels }: PassContext): string {
  const name = `mw-${nonce()}`;
  ownSentinels.add(name);
  return name;
}

/** The tables that a failed apply did commit, known by their new sentinel: they are led back when others were not. */
async function standingOf(
  { host }: PassContext,
  family: Family,
  commits: readonly TableCommit[],
): Promise<readonly TableCommit[]> {
  const read = await readFamily(host, family);
  if (read.kind === 'unreadable') return [];
  return commits.filter(
    ({ plan, sentinel }) => read.ruleset.tables.get(plan.table)?.chains.has(sentinel.next) === true,
  );
}
