// `[libvirt] open_guests`: after a pass the user's chains hold the rules that let through what libvirt lets through, and no others.
//
// Guarantees: only marked rules are written or deleted; one transaction a table of iptables', one for all native tables, each
// under a lock, so that a table somebody replaced meanwhile fails it and is read again. Where all stands as wanted, nothing is
// written. With the option off, what stands is taken out.
// Does not: run in the fast lane or inside a burst, touch a chain of a neighbour's or a family whose part of libvirt's is not
// whole (then it is not known what is in the way), throw, or hold up the pass's outcome.

import { type ClassifiedNative, classifyNative } from '../classify/classify-native.ts';
import { findBlocked } from '../explain/blocked.ts';
import { type KeptOpening, keptOpenings } from '../explain/kept-openings.ts';
import { HostError } from '../host/host.ts';
import { readNative } from '../observe/native-read.ts';
import { ownerOfNativeTable } from '../owners/index.ts';
import type { TableWork } from '../plan/family-plan.ts';
import { type NativeOpenings, nativeOpenings, openedTable, openingPlan, tablesWithOpenings } from '../plan/openings.ts';
import { spellingsOf } from '../plan/spelling.ts';
import { printNftTable } from '../ruleset/nft/print.ts';
import { USER } from '../ruleset/user-part.ts';
import { applyAll, keepLiveText } from './apply.ts';
import type { Ending, SeenRulesets } from './ending.ts';
import { guestQuestion, runningNetworks } from './guest-question.ts';
import type { NativeEnding } from './native.ts';
import { nativeMark } from './native-mark.ts';
import { observe, type SeenFamily } from './observe.ts';
import type { PassContext, PassRequest } from './types.ts';

/** Of one process. */
export interface OpenGuestsState {
  /** The option. */
  readonly wanted: boolean;
  /** Why it failed the last time, so that it is said once. */
  failed: string | undefined;
}

/** A lock to be made, a lost race, and the look that finds nothing to do. */
const MOST_ROUNDS = 5;

/** Makes the openings what they should be now. Gives the live rules as they stand then; undefined when they cannot be read. */
export async function openGuests(
  context: PassContext,
  request: PassRequest,
  ending: Extract<Ending, { kind: 'seen' }>,
  native: NativeEnding,
): Promise<SeenRulesets | undefined> {
  if (!mayWrite(context, request, ending)) return ending.seen;
  let live: Live = { seen: ending.seen, native: native.kind === 'seen' ? native.classified : undefined };
  let why = 'the tables changed again after each commit';
  try {
    for (let round = 1; round <= MOST_ROUNDS; round++) {
      const plan = await planOpenings(context, ending, live);
      if (plan === 'unknown' || isNothing(plan)) return live.seen;
      if (request.overNow?.() === false) return live.seen;
      why = (await carryOut(context, live, plan)) ?? why;
      const again = await look(context, request);
      if (again === undefined) return undefined;
      live = again;
      learnSpellings(context, live.seen, plan.work);
      if (plan.writes) tell(context, plan);
    }
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    why = error.message;
  }
  await dropLocks(context, live);
  return failed(context, why, live.seen);
}

interface Live {
  readonly seen: SeenRulesets;
  /** Undefined: the native tables cannot be read, and are left alone. */
  readonly native: ClassifiedNative | undefined;
}

function mayWrite(
  { memory }: PassContext,
  request: PassRequest,
  { seen, edits }: { seen: SeenRulesets; edits: readonly unknown[] },
): boolean {
  const atRest = request.burstOver && request.scope === undefined && request.overtaken !== true;
  const writes = request.mode === 'merge' && !request.dryRun && memory.snapshotId !== undefined;
  return atRest && writes && seen.mixed === undefined && edits.length === 0;
}

async function look(context: PassContext, request: PassRequest): Promise<Live | undefined> {
  const [seen, native] = [
    await observe(context, request),
    await readNative(context.host, (key) => ownerOfNativeTable(key) === undefined),
  ];
  if (seen.kind === 'unreadable') return undefined;
  return {
    seen,
    native: native.kind === 'tables' ? classifyNative(native.tables, context.memory.wish.native) : undefined,
  };
}

// --- what is to be done ------------------------------------------------------------------------------------------

interface Plan {
  /** Tables of iptables' with edits, by family. */
  readonly work: readonly TableWork[];
  readonly native: readonly NativeOpenings[];
  /** False: only locks are to be made. */
  readonly writes: boolean;
}

const isNothing = ({ work, native }: Plan): boolean => work.length === 0 && native.length === 0;

/** `unknown`: not all rules can be read, so nobody knows what is in the way. */
async function planOpenings(
  context: PassContext,
  { work }: Extract<Ending, { kind: 'seen' }>,
  { seen, native }: Live,
): Promise<Plan | 'unknown'> {
  const wanted = await wantedOpenings(context, seen, native);
  if (wanted === undefined) return 'unknown';
  const settled = seen.families.filter(
    ({ family }) => !work.some((each) => each.family === family && each.losses.length > 0),
  );
  const nativeWork = nativePlans(native, wanted);
  const tables = settled.flatMap((family) => tableWorks(context, family, wanted));
  const unlocked = nativeWork.some(({ locks, lines }) => lines.length > 0 && locks.length === 0);
  return { work: tables, native: nativeWork, writes: tables.length > 0 || (nativeWork.length > 0 && !unlocked) };
}

async function wantedOpenings(
  { host, openGuests: { wanted } }: PassContext,
  seen: SeenRulesets,
  native: ClassifiedNative | undefined,
): Promise<readonly KeptOpening[] | undefined> {
  if (!wanted || runningNetworks(seen.networks).length === 0) return [];
  const question = await guestQuestion(host, seen, 'openings');
  if (question === undefined) return undefined;
  const users = [...(native?.values() ?? [])].filter(isWritable).map(({ key }) => key);
  return keptOpenings({ ...question, usersTables: new Set(users) }, findBlocked(question));
}

type NativeTable = ClassifiedNative extends ReadonlyMap<string, infer Table> ? Table : never;

const isWritable = ({ owner, unloadable }: NativeTable): boolean => owner === USER && unloadable.length === 0;

function tableWorks(
  { spellings }: PassContext,
  { family, classified }: SeenFamily,
  wanted: readonly KeptOpening[],
): TableWork[] {
  const mine = wanted.filter((each) => each.engine === 'iptables' && each.family === family);
  const names = new Set([...tablesWithOpenings(classified), ...mine.map(({ table }) => table)]);
  return [...names].flatMap((table): TableWork[] => {
    const openings = mine
      .filter((each) => each.table === table)
      .map((each) => ({ ...each, text: spellings.get(`${family} ${table} ${each.text}`) ?? each.text }));
    const target = openedTable(classified, table, openings);
    if (target === undefined) return [];
    const next = { name: table, chains: new Map() };
    const decision = { kind: 'kept', next, evidence: ['open_guests'], loaded: false } as const;
    const standing = classified.ruleset.tables.get(table)?.chains ?? new Map<string, never>();
    const plan = openingPlan(family, table, standing, target.chains);
    const inverse = openingPlan(family, table, target.chains, standing);
    return [{ table, decision, target, plan, inverse, drift: [], mends: [] }];
  });
}

/** A table that is another one than the question was about is left for the next pass: somebody writes to it now. */
function nativePlans(native: ClassifiedNative | undefined, wanted: readonly KeptOpening[]): NativeOpenings[] {
  return [...(native?.values() ?? [])].filter(isWritable).flatMap(({ key, table }) => {
    const mine = wanted.filter((each) => each.engine === 'nft' && `${each.family} ${each.table}` === key);
    const plan = nativeOpenings(table, mine);
    return plan === 'stale' || (plan.lines.length === 0 && plan.locks.length === 0) ? [] : [plan];
  });
}

// --- doing it ----------------------------------------------------------------------------------------------------

/** Why something of it was refused; a lost race is seen by the next look. */
async function carryOut(context: PassContext, { seen, native }: Live, plan: Plan): Promise<string | undefined> {
  const said: (string | undefined)[] = [];
  if (plan.work.length > 0) {
    await keepLiveText(context, seen, plan.work);
    const applied = await applyAll(context, seen, plan.work);
    said.push(...applied.map(({ result }) => ('said' in result ? result.said : undefined)));
  }
  if (plan.native.length > 0 && native !== undefined) said.push(await commitNative(context, native, plan.native));
  return said.find((each) => each !== undefined);
}

async function commitNative(
  context: PassContext,
  native: ClassifiedNative,
  plans: readonly NativeOpenings[],
): Promise<string | undefined> {
  const unlocked = plans.filter(({ lines, locks }) => lines.length > 0 && locks.length === 0);
  if (unlocked.length > 0)
    return runNft(context, unlocked.map(({ key }) => `add chain ${key} ${nextLock(context)}\n`).join(''));
  await context.journal.keepText(
    plans
      .flatMap(({ key }) => native.get(key)?.table ?? [])
      .map(printNftTable)
      .join(''),
  );
  const lines = plans.flatMap((plan) => [
    ...plan.locks.map((lock) => `delete chain ${plan.key} ${lock}`),
    ...plan.lines,
  ]);
  return runNft(context, `${lines.join('\n')}\n${nativeMark(context, plans[0]?.key ?? '')}`);
}

/** Known as ours when it is heard. */
function nextLock({ nonce, ownSentinels }: PassContext): string {
  const name = `mw-${nonce()}`;
  ownSentinels.add(name);
  return name;
}

async function runNft({ host }: Pick<PassContext, 'host'>, input: string): Promise<string | undefined> {
  const { exitCode, stderr } = await host.exec({ file: 'nft', args: ['-f', '-'], input });
  return exitCode === 0
    ? undefined
    : (stderr.split('\n').find((line) => line.trim() !== '') ?? `nft ended with ${exitCode}`);
}

/** Locks that no commit took along. */
async function dropLocks(context: PassContext, { native }: Live): Promise<void> {
  const left = nativePlans(native, []).filter(({ locks }) => locks.length > 0);
  for (const { key, locks } of left)
    await runNft(context, locks.map((lock) => `delete chain ${key} ${lock}\n`).join('') + nativeMark(context, key));
}

function learnSpellings({ spellings }: PassContext, seen: SeenRulesets, work: Plan['work']): void {
  for (const each of work) {
    const live = seen.families.find(({ family }) => family === each.plan.family)?.classified.ruleset;
    for (const [written, printed] of spellingsOf(each, live?.tables.get(each.table))) spellings.set(written, printed);
  }
}

function tell(context: PassContext, { work, native }: Plan): void {
  context.openGuests.failed = undefined;
  const places = [...work.map(({ plan, table }) => `${plan.family} ${table}`), ...native.map(({ key }) => key)];
  context.host.log.write('info', `the rules that keep guests open are as they should be in ${places.join(', ')}`);
}

function failed({ host, openGuests: state }: PassContext, why: string, seen: SeenRulesets): SeenRulesets {
  host.log.write(state.failed === why ? 'debug' : 'error', `guests are not kept open: ${why}`);
  state.failed = why;
  return seen;
}
