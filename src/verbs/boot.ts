// `boot`: the last good rules before the network comes up.
// Guarantees: the ipsets that the rules name are there first; what cannot be loaded is left out and named with its file, line and
// word, the rest stands, policies included (in one transaction with their rules); rule files with an error, a damaged snapshot and
// rules that were on trial when the host went down give way to the last good ones.
// Does not: wait for libvirt or put back what is libvirt's (it is not there yet; the daemon merges), judge a session.

import { restoreSets } from '../apply/restore-sets.ts';
import type { Outcome, PassContext } from '../pass/types.ts';
import { runPass } from '../pass.ts';
import { readSets, SETS_FILE } from '../record/kept-sets.ts';
import { readParts, type UserRules } from '../record/memory.ts';
import { bootId } from '../record/state.ts';
import { overlay } from '../rules/overlay.ts';
import { isBroken } from './apply.ts';
import { ruleFault, type WrittenIn, writtenInFiles, writtenInSnapshot } from './boot-faults.ts';
import { handRequest } from './hand.ts';
import { type LoadedRules, loadRuleFiles } from './load-rules.ts';
import { preview, takeAndApply } from './restore.ts';
import { rollBack } from './rollback.ts';
import { readTrial, stillOnTrial, type Trial } from './trial-state.ts';
import { noSnapshot, type Refusal, type World } from './types.ts';

export interface BootArgs {
  readonly dryRun: boolean;
}

export interface BootResult {
  readonly kind: 'boot';
  readonly changed: boolean;
  /** What was loaded, in words: `snapshot 3f0a51b2c4d6e788`. */
  readonly what: string;
  /** Sets that were made. */
  readonly sets: readonly string[];
  /** Why the rules that stand are not all, or not those that were wanted: one line each, with file, line and word where there is one. */
  readonly faults: readonly string[];
  readonly outcome: Outcome;
}

export async function boot(world: World, { dryRun }: BootArgs): Promise<BootResult | Refusal> {
  const { context, config } = world;
  const trial = await readTrial(context);
  if (trial !== undefined && trial.bootId === (bootId(context.host) ?? 'unknown')) return stillOnTrial(context, trial);
  const faults = (context.memory.damaged ?? []).map(({ id, reason }) => `snapshot ${id} is damaged: ${reason}`);
  if (trial !== undefined && !dryRun) return endOfTrial(world, trial, faults);
  const files = config.source === 'files' ? await loadRuleFiles(context.host, config) : undefined;
  if (files !== undefined && files.problems.length === 0) return loadFiles(world, files, faults, dryRun);
  if (context.memory.snapshotId === undefined) return noSnapshot(context.memory);
  return loadSnapshots(world, [...faults, ...(files?.problems ?? []).map(problemLine)], dryRun);
}

const problemLine = ({ file, line, column, code, message }: LoadedRules['problems'][number]): string =>
  `${file}:${line}:${column}: ${code}: ${message}; the last good rules are loaded instead`;

async function endOfTrial(world: World, trial: Trial, faults: readonly string[]): Promise<BootResult> {
  const { context } = world;
  const sets = await makeSets(world, trial.before.snapshotId);
  const outcome = await rollBack(context, trial, 'the host was booted before it was confirmed');
  const what = `the rules before ${trial.what}, which nobody confirmed`;
  const written = await writtenInSnapshot(world, context.memory.snapshotId ?? '');
  return resultOf(what, sets, [...faults, ...faultsOf(outcome, context.memory.snapshot, written)], outcome);
}

async function loadFiles(
  world: World,
  loaded: LoadedRules,
  faults: readonly string[],
  dryRun: boolean,
): Promise<BootResult> {
  const { context } = world;
  const { memory } = context;
  const parts = overlay(memory.snapshot, loaded.rules, loaded.sources, true);
  const what = [...new Set(loaded.sources.map(({ file }) => file))].join(', ');
  if (dryRun) return resultOf(what, NO_SETS, faults, await preview(context, parts));
  const sets = await makeSets(world, memory.snapshotId ?? '');
  const outcome = await takeAndApply(context, parts, { trigger: 'boot', message: what, repair: false });
  return resultOf(what, sets, [...faults, ...faultsOf(outcome, parts, writtenInFiles(loaded))], outcome);
}

/** An older snapshot is only tried when nothing at all of the newer one could be written. */
const MOST_SNAPSHOTS = 3;

async function loadSnapshots(world: World, faults: readonly string[], dryRun: boolean): Promise<BootResult> {
  const { context } = world;
  const { takings } = await context.files.store.list();
  const ids = [...new Set([context.memory.snapshotId ?? '', ...takings.toReversed().map(({ id }) => id)])];
  const said = [...faults];
  let last: BootResult | undefined;
  for (const id of ids.slice(0, MOST_SNAPSHOTS)) {
    const parts = await partsOf(context, id);
    if (parts === undefined) continue;
    if (dryRun) return resultOf(`snapshot ${id}`, NO_SETS, said, await preview(context, parts));
    const sets = await makeSets(world, id);
    const outcome = await load(context, parts);
    said.push(...faultsOf(outcome, parts, await writtenInSnapshot(world, id)));
    last = resultOf(`snapshot ${id}`, sets, said, outcome);
    if (outcome.kind !== 'failed' || outcome.changed) return last;
  }
  return last ?? resultOf('nothing', NO_SETS, said, await load(context, context.memory.snapshot));
}

async function partsOf({ memory, files }: PassContext, id: string): Promise<UserRules | undefined> {
  if (id === memory.snapshotId) return memory.snapshot;
  const loaded = await files.store.load(id);
  if (loaded.kind !== 'snapshot') return undefined;
  const notes: string[] = [];
  const parts = readParts(loaded.content.user, `snapshot ${id}`, notes);
  return notes.length > 0 ? undefined : parts;
}

/** What is pending ended with the boot; each rule that could not be loaded before is tried again. */
async function load(context: PassContext, parts: UserRules): Promise<Outcome> {
  const { memory } = context;
  memory.wish = parts;
  memory.replaced = [];
  memory.waiting = [];
  delete memory.waitingNative;
  return runPass(context, { ...handRequest('merge', { trigger: 'boot' }), authority: 'snapshot' });
}

interface Sets {
  readonly made: readonly string[];
  readonly faults: readonly string[];
}

const NO_SETS: Sets = { made: [], faults: [] };

async function makeSets({ context, config }: World, id: string): Promise<Sets> {
  const dir = `${config.stateDir}/snapshots`;
  const text = [...(await readSets(context.host, dir, id)).values()].map((lines) => `${lines.join('\n')}\n`).join('');
  if (text === '') return NO_SETS;
  const { made, refused } = await restoreSets(context.host, text);
  const file = `${dir}/${id}/${SETS_FILE}`;
  return { made, faults: refused.map(({ line, text: bad, said }) => `${file}:${line}: "${bad}": ${said}`) };
}

function faultsOf(outcome: Outcome, parts: UserRules, written: WrittenIn): string[] {
  const broken = outcome.drift.filter((drift) => isBroken(drift, parts)).map((drift) => ruleFault(drift, written));
  return outcome.why === undefined ? broken : [...broken, outcome.why];
}

function resultOf(what: string, sets: Sets, faults: readonly string[], outcome: Outcome): BootResult {
  const changed = outcome.changed || sets.made.length > 0;
  return { kind: 'boot', changed, what, sets: sets.made, faults: [...sets.faults, ...faults], outcome };
}
