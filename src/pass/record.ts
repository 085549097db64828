// The last stage of a pass: what it means for the memory, one line in the journal, the outcome.

import { HostError } from '../host/host.ts';
import type { ChangeSummary } from '../merge/decide.ts';
import { type Drift, pendingBetween } from '../merge/drift.ts';
import { joinLost, lostDrift, type LostNeighbour, newlyLost, stillLost } from '../merge/foreign-lost.ts';
import { libvirtReference } from '../merge/libvirt-reference.ts';
import { foreignTable, lossesOf } from '../merge/repair.ts';
import type { Applied } from './apply.ts';
import type { Seen, SeenFamily } from './observe.ts';
import { countersOf } from './counters.ts';
import type { Outcome, PassContext, PassRequest, TableReport } from './types.ts';
import type { FamilyWork, TableWork, Waiting } from '../plan/family-plan.ts';
import type { Memory } from '../record/memory.ts';
import { printNeighbourPart } from '../ruleset/part-text.ts';
import { renderEdit } from '../plan/render.ts';
import { isLibvirtJump } from '../owners/libvirt-shapes.ts';
import { FAMILIES, type Family } from '../ruleset/types.ts';
import { missingFrom } from '../ruleset/multiset.ts';
import { ruleTexts, sameUserPart, type UserPart } from '../ruleset/user-part.ts';

type SeenRulesets = Extract<Seen, { kind: 'rulesets' }>;

/** What every ending knows: when it began, what was committed, and which texts the journal kept of what was replaced. */
interface Walked {
  readonly started: number;
  readonly done: readonly Applied[];
  readonly kept: ReadonlySet<string>;
}

export type Ending =
  | (Walked & { readonly kind: 'unreadable'; readonly why: string })
  | (Walked & {
      readonly kind: 'failed';
      readonly seen: SeenRulesets | undefined;
      readonly work: readonly FamilyWork[];
      readonly held: readonly Waiting[];
    })
  | (Walked & {
      readonly kind: 'seen';
      readonly seen: SeenRulesets;
      readonly work: readonly FamilyWork[];
      readonly edits: readonly TableWork[];
      readonly held: readonly Waiting[];
      readonly rounds: number;
    });

export async function record(context: PassContext, request: PassRequest, ending: Ending): Promise<Outcome> {
  const before = context.memory.snapshot;
  const lost = lostAfter(context, request, ending);
  const adopted = ending.kind === 'seen' ? await remember(context, request, ending, lost) : undefined;
  const dropped = adopted === undefined ? [] : droppedBetween(before, context.memory.snapshot);
  const outcome = outcomeOf(context, request, ending, { adopted, dropped, lost });
  if (isWorthALine(outcome, request)) await journalLine(context, outcome);
  return outcome;
}

/** What was done is done: a journal that cannot be written is said, and makes no failure of it. */
async function journalLine({ host, journal }: PassContext, outcome: Outcome): Promise<void> {
  try {
    await journal.append({ ...outcome, event: 'pass' });
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    host.log.write('error', `this pass is not in the log: ${error.message}`);
  }
}

/** Updates wish, neighbours and snapshot. Returns the id of the snapshot a load was adopted as. */
async function remember(
  context: PassContext,
  request: PassRequest,
  ending: Extract<Ending, { kind: 'seen' }>,
  lost: readonly LostNeighbour[],
): Promise<string | undefined> {
  const { memory, files } = context;
  if (request.dryRun || memory.snapshotId === undefined) return undefined;
  await saveLost(context, lost);
  const word = request.neighboursQuiet && !(request.summaries === undefined && ending.work.some(isUnhooked));
  if (word && rememberNeighbours(context, ending.seen)) await files.saveKnown(memory);
  if (!request.burstOver) return undefined;
  for (const { family, classified } of ending.seen.families) context.cache.counters.set(family, countersOf(classified));
  const decided = ending.work.flatMap((family) => family.tables).filter((work) => work.decision.kind !== 'wait');
  const wish = withTables(memory.wish, decided);
  const loaded = decided.filter((work) => work.decision.kind === 'load');
  const replaced = decided
    .filter((work) => work.decision.kind === 'replaced')
    .map((work) => `${work.plan.family} ${work.table}`);
  const waiting = [...ending.held, ...ending.work.flatMap((family) => family.homeless)];
  const changed =
    !sameParts(wish, memory.wish) ||
    replaced.some((table) => !memory.replaced.includes(table)) ||
    !sameWaiting(memory.waiting, waiting) ||
    memory.unsaved === true;
  const tried = request.mode === 'merge' && ending.seen.mixed === undefined;
  if (tried) memory.waiting = waiting;
  if (loaded.length > 0) return adopt(context, wish, loaded, replaced);
  if (!changed) return undefined;
  memory.wish = wish;
  memory.replaced = [...new Set([...memory.replaced, ...replaced])];
  await saveWish(context);
  return undefined;
}

/** Who lost rules to a flush or load, until they have written again. Asked before anything is remembered anew. */
function lostAfter({ memory }: PassContext, request: PassRequest, ending: Ending): readonly LostNeighbour[] {
  const before = memory.lost ?? [];
  if (ending.kind !== 'seen' || !request.burstOver) return before;
  // A wipe that this pass has mended shows in its first round only.
  const tables = [...ending.work.flatMap((family) => family.tables), ...ending.done.flatMap((each) => each.work)];
  return ending.seen.families.reduce((lost, { family, classified }) => {
    const summaries = request.summaries?.(family);
    const writers = new Set([...(summaries?.values() ?? [])].flatMap((summary) => summary.writers ?? []));
    const wiped = (table: string): boolean =>
      tables.some(
        (work) => work.table === table && work.plan.family === family && isWiped(work, summaries?.get(table)),
      );
    const now = newlyLost(memory.known[family], classified, { wiped, writers });
    return joinLost(stillLost(lost, classified, writers), now);
  }, before);
}

/** Not by `loaded` alone: without events that only says that the user's rules are those of a boot file. */
function isWiped({ decision }: TableWork, summary: ChangeSummary | undefined): boolean {
  const emptied = decision.kind === 'wipe' || decision.kind === 'load' || decision.kind === 'replaced';
  return emptied || summary?.wiped === true || summary?.replaced === true;
}

async function saveLost({ memory, files }: PassContext, lost: readonly LostNeighbour[]): Promise<void> {
  if (JSON.stringify(lost) === JSON.stringify(memory.lost ?? [])) return;
  memory.lost = lost;
  await files.saveKnown(memory);
}

/** A wish that cannot be written is kept in memory, and written by a later pass: what is pending survives a full disk. */
async function saveWish({ host, memory, files }: PassContext): Promise<void> {
  memory.unsaved = true;
  try {
    await files.saveWish(memory);
    memory.unsaved = false;
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    host.log.write('error', `what is pending is not saved yet: ${error.message}`);
  }
}

/** Rules of the user's that the old snapshot has and the new one lacks, as `ip filter -A ...`. */
function droppedBetween(before: Readonly<Record<Family, UserPart>>, now: Readonly<Record<Family, UserPart>>): string[] {
  const rulesOf = (part: UserPart): string[] =>
    [...part.tables.values()].flatMap((table) =>
      [...table.chains.values()].flatMap((chain) =>
        ruleTexts(chain.items).map((text) => `${part.family} ${table.name} ${text}`),
      ),
    );
  return FAMILIES.flatMap((family) => missingFrom(rulesOf(before[family]), rulesOf(now[family])));
}

/** A load becomes the new snapshot for its tables; what is pending elsewhere stays pending. */
async function adopt(
  context: PassContext,
  wish: Readonly<Record<Family, UserPart>>,
  loaded: readonly TableWork[],
  replaced: readonly string[],
): Promise<string> {
  const { memory, files } = context;
  const snapshot = withTables(memory.snapshot, loaded);
  const names = loaded.map((work) => `${work.plan.family} ${work.table}`);
  const stillReplaced = [...new Set([...memory.replaced, ...replaced])].filter((table) => !names.includes(table));
  const id = await files.takeSnapshot(memory, snapshot, memory.known.ip !== undefined, {
    trigger: 'load',
    message: `loaded: ${names.join(', ')}`,
  });
  memory.wish = wish;
  memory.replaced = stillReplaced;
  await files.saveWish(memory);
  return id;
}

function withTables(parts: Readonly<Record<Family, UserPart>>, work: readonly TableWork[]): Record<Family, UserPart> {
  const result = { ...parts };
  for (const family of FAMILIES) {
    const mine = work.filter((each) => each.plan.family === family);
    if (mine.length === 0) continue;
    const tables = new Map(parts[family].tables);
    for (const each of mine) tables.set(each.table, each.decision.next);
    result[family] = { family, tables };
  }
  return result;
}

function sameParts(a: Readonly<Record<Family, UserPart>>, b: Readonly<Record<Family, UserPart>>): boolean {
  return FAMILIES.every((family) => sameUserPart(a[family], b[family]));
}

function sameWaiting(a: readonly Waiting[], b: readonly Waiting[]): boolean {
  return (
    a.length === b.length && a.every((rule, index) => rule.text === b[index]?.text && rule.chain === b[index]?.chain)
  );
}

/**
 * libvirt never takes its chains and jumps away: where nothing was heard, their absence is a load's or a flush's doing. libvirt
 * believes that they stand, and cannot start a network without them (measured).
 */
function isUnhooked({ losses }: FamilyWork): boolean {
  return losses.some((loss) => loss.text === '' || isLibvirtJump(loss.text));
}

/** What stands is the neighbours' word when nothing is missing of what libvirt's active networks need. */
function rememberNeighbours({ memory }: PassContext, seen: SeenRulesets): boolean {
  let changed = false;
  const known = { ...memory.known };
  for (const entry of seen.families) {
    if (!isComplete(entry, seen)) continue;
    const part = {
      family: entry.family,
      tables: new Map(
        [...entry.classified.tables].map(([name, table]) => [
          name,
          foreignTable(table, {
            restore: undefined,
            dropStale: true,
            onceEach: known[entry.family]?.tables.get(name) ?? new Map(),
          }),
        ]),
      ),
    };
    const before = known[entry.family];
    if (before !== undefined && printNeighbourPart(before, '') === printNeighbourPart(part, '')) continue;
    known[entry.family] = part;
    changed = true;
  }
  if (changed) memory.known = known;
  return changed;
}

function isComplete(entry: SeenFamily, seen: SeenRulesets): boolean {
  return lossesOf(libvirtReference(entry.family, seen.networks ?? [], entry.classified), entry.classified).length === 0;
}

function outcomeOf(
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
  const pending = FAMILIES.flatMap((family) => pendingBetween(memory.snapshot[family], memory.wish[family]));
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

function waitingDrift(waiting: readonly Waiting[]): Drift[] {
  return waiting.map(({ family, table, chain, text, why }) => ({
    kind: 'waiting',
    family,
    table,
    chain,
    text,
    owner: 'user',
    evidence: why,
  }));
}

function isWorthALine(outcome: Outcome, request: PassRequest): boolean {
  if (outcome.changed || outcome.adopted !== undefined || outcome.kind === 'failed' || outcome.kind === 'unreadable')
    return true;
  // Inside an open burst a decision is not final.
  if (!request.burstOver) return false;
  // A rewrite that needed no mending is told, too, with who did it.
  if ((outcome.by.length > 0 && request.summaries !== undefined) || outcome.kind === 'would-mend') return true;
  return outcome.tables.some((table) => !['kept', 'wait'].includes(table.decision));
}
