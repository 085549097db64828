// One pass: observe -> classify -> merge -> plan -> apply -> record. The daemon, the hooks, the path unit and the command
// line all run this one. After a commit the line is walked again: what is read back must need no edit.

import type { ResultEvidence } from './merge/decide.ts';
import { type Applied, applyAll, keepLiveText } from './pass/apply.ts';
import type { Ending } from './pass/ending.ts';
import { type NativeEnding, withLibvirtsTables } from './pass/native.ts';
import { observe, type Seen } from './pass/observe.ts';
import { record } from './pass/record.ts';
import { walkTables } from './pass/tables.ts';
import type { Outcome, PassContext, PassRequest } from './pass/types.ts';
import { planFamily, type FamilyWork, type Waiting } from './plan/family-plan.ts';
import { spellingsOf } from './plan/spelling.ts';

/** Reading again after a lost race, a held rule or a commit is bounded: a table that never rests is reported, not chased. */
const MOST_ROUNDS = 6;
const MOST_HELD = 200;

/** Runs one pass. Never throws for what the kernel or iptables say; the outcome tells. */
export async function runPass(context: PassContext, asked: PassRequest): Promise<Outcome> {
  const native = walkTables(context, asked);
  native.catch(() => undefined); // Its fault is thrown where it is awaited.
  try {
    return await walk(context, asked, native);
  } finally {
    // Whatever happened: once the pass has ended, nothing of it writes any more.
    await native.catch(() => undefined);
  }
}

async function walk(context: PassContext, asked: PassRequest, native: Promise<NativeEnding>): Promise<Outcome> {
  let request = asked;
  const started = context.host.clock.monoMs();
  const done: Applied[] = [];
  const kept = new Set<string>();
  let held: readonly Waiting[] = request.burstOver ? [] : context.memory.waiting;
  let repair = request.repair;
  const built = new Set<string>();
  const ends = async (ending: Ending): Promise<Outcome> =>
    record(context, request, ending, await withLibvirtsTables(context, request, await native));
  for (let round = 1; round <= MOST_ROUNDS + held.length; round++) {
    const seen = await observe(context, request);
    if (seen.kind === 'unreadable') return ends({ kind: 'unreadable', why: seen.why, started, done, kept });
    for (const applied of done) learnSpellings(context, seen, applied);
    request = asOfNow(request);
    repair &&= request.repairNow?.() ?? true;
    const work = planAll(context, request, seen, held, repair, built);
    const edits = toDo(request, work);
    if (
      edits.length === 0 ||
      request.mode === 'observe' ||
      request.dryRun ||
      seen.mixed !== undefined ||
      round === MOST_ROUNDS + held.length
    ) {
      return ends({ kind: 'seen', seen, work, edits, held, started, done, kept, rounds: round });
    }
    for (const ref of await keepLiveText(context, seen, edits)) kept.add(ref);
    // What was written since the read is not in these plans, and the evidence for them is old.
    if (asOfNow(request) !== request) continue;
    const applied = await applyAll(context, seen, edits);
    done.push(...applied);
    const refused = applied.flatMap((each) => (each.result.kind === 'refused' ? [each.result] : []));
    const failed = applied.find((each) => each.result.kind === 'failed' || each.result.kind === 'locked');
    if (failed !== undefined || held.length > MOST_HELD)
      return ends({ kind: 'failed', seen, work, held, started, done, kept });
    for (const each of refused) {
      const rule = waitingRule(each, applied);
      // A neighbour's rule that cannot be put back by text is the neighbour's to write.
      if (rule === undefined || rule.owner !== 'user') repair = false;
      else held = [...held, rule.waiting];
    }
  }
  return ends({ kind: 'failed', seen: undefined, work: [], held, started, done, kept });
}

/** What was committed and reads otherwise is the same rule, in the spelling of this host's iptables. */
function learnSpellings(context: PassContext, seen: Extract<Seen, { kind: 'rulesets' }>, applied: Applied): void {
  if (applied.result.kind !== 'committed') return;
  const live = seen.families.find(({ family }) => family === applied.family)?.classified.ruleset;
  for (const work of applied.work)
    for (const [written, printed] of spellingsOf(work, live?.tables.get(work.table)))
      context.spellings.set(written, printed);
}

/** A burst that goes on is not judged: what was heard of it until the pass was asked for does not explain what stands now. */
function asOfNow(request: PassRequest): PassRequest {
  if (!request.burstOver || request.capped === true || request.overNow?.() !== false) return request;
  return { ...request, burstOver: false, neighboursQuiet: false, overtaken: true };
}

function planAll(
  context: PassContext,
  request: PassRequest,
  seen: Extract<Seen, { kind: 'rulesets' }>,
  held: readonly Waiting[],
  repair: boolean,
  built: Set<string>,
): FamilyWork[] {
  return seen.families.map(({ family, classified, evidence }) =>
    planFamily({
      classified,
      wish: context.memory.wish[family],
      known: context.memory.known[family],
      networks: seen.networks,
      exists: seen.exists,
      tables: request.scope?.filter((place) => place.family === family).map((place) => place.table),
      summaries: request.summaries?.(family),
      evidence: (table) => lasting(evidence(table), `${family} ${table}`, built),
      burstOver: request.burstOver,
      repair,
      waiting: context.memory.waiting,
      held,
      settings: context.settings,
      spellings: context.spellings,
      byHand: request.authority === 'snapshot',
    }),
  );
}

/** A table that was built anew is so for the whole pass, also when our own commit has put the neighbours back into it. */
function lasting(evidence: ResultEvidence, place: string, built: Set<string>): ResultEvidence {
  if (evidence.wholeTableNew) built.add(place);
  return { ...evidence, wholeTableNew: built.has(place) };
}

/** The plans that are to be carried out: not those whose order is contested, and left alone. */
function toDo(request: PassRequest, work: readonly FamilyWork[]): FamilyWork['tables'][number][] {
  const left = request.standDown;
  return work
    .flatMap((family) => family.tables)
    .filter(({ plan }) => plan.edits.length > 0)
    .filter(({ plan, drift }) => {
      const onlyOrder = drift.length > 0 && drift.every((each) => each.kind === 'displaced');
      return !(onlyOrder && drift.every((each) => left.has(`${plan.family} ${plan.table} ${each.chain}`)));
    });
}

function waitingRule(
  refused: Extract<Applied['result'], { kind: 'refused' }>,
  applied: readonly Applied[],
): { owner: string; waiting: Waiting } | undefined {
  const { edit, table, said } = refused;
  const from = applied.find((each) => each.result === refused);
  if (edit.kind !== 'insert' || from === undefined) return undefined;
  const target = from.work.find((each) => each.table === table)?.target;
  const owner = target?.chains.get(edit.chain)?.rules.find((rule) => rule.text === edit.text)?.owner ?? 'user';
  return { owner, waiting: { family: from.family, table, chain: edit.chain, text: edit.text, why: said } };
}
