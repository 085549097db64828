// `apply`: rules from files become the live rules of the user's, on trial until `confirm`.
// Guarantees: nothing is written before the whole ruleset was checked and the pre-flight found no management flow cut; the way
// back is on the disk before the first write; what cannot be loaded whole is rolled back at once.
// Does not: watch the trial's end; the daemon does, and the clock that the command starts (verbs/rollback.ts).

import { randomBytes } from 'node:crypto';
import type { Cut } from '../explain/preflight.ts';
import { seatOf } from '../explain/steps.ts';
import type { Drift } from '../merge/drift.ts';
import type { Outcome, PassContext } from '../pass/types.ts';
import { userPartOf } from '../classify/classify.ts';
import type { UserRules } from '../record/memory.ts';
import { overlay } from '../rules/overlay.ts';
import type { Family } from '../ruleset/types.ts';
import { emptyPart, type UserPart } from '../ruleset/user-part.ts';
import type { DiffResult } from './diff.ts';
import { diffOfParts } from './diff-parts.ts';
import { familyOf, neighboursAreQuiet, readLive, type SeenRulesets } from './hand.ts';
import { type LoadedRules, loadRuleFiles } from './load-rules.ts';
import { type LiveNative, readLiveNative } from './native.ts';
import { cutsOf } from './preflight.ts';
import { preview, takeAndApply } from './restore.ts';
import { rollBack } from './rollback.ts';
import { allRulesGone, type DroppedRule } from './snapshot.ts';
import { endTrial, leftMs, writeTrial } from './trial-state.ts';
import { noSnapshot, type Refusal, refused, type World } from './types.ts';

export interface ApplyArgs {
  /** Absolute paths; none: the folder of rule files. */
  readonly files: readonly string[];
  /** The files named are all rule files there are, as if none had been named (`edit`). */
  readonly all: boolean;
  readonly dryRun: boolean;
  /** Go on without being asked. */
  readonly yes: boolean;
  /** ms until it is rolled back unless confirmed; 0: kept at once. */
  readonly trialMs: number;
  /** False: management flows are not looked at (somebody sits at the console). */
  readonly preflight: boolean;
  /** SSH_CONNECTION of the one who asks; '' for none. */
  readonly session: string;
}

/** What would change, for people. */
interface Change {
  /** The files, in words. */
  readonly what: string;
  readonly diff: DiffResult;
  readonly dropped: readonly DroppedRule[];
  readonly added: readonly DroppedRule[];
  readonly warnings: LoadedRules['warnings'];
  readonly leftOut: LoadedRules['leftOut'];
}

/** `asks`: nothing was done yet, `yes` was not given. `rolled-back`: it could not be loaded whole; what was before stands. */
export interface ApplyResult extends Change {
  readonly kind: 'apply' | 'asks' | 'rolled-back';
  readonly changed: boolean;
  readonly trial: { readonly id: string; readonly leftMs: number } | undefined;
  readonly snapshotId: string | undefined;
  readonly outcome: Outcome | undefined;
}

export async function apply(world: World, args: ApplyArgs): Promise<ApplyResult | Refusal> {
  const { context, config } = world;
  if (context.memory.snapshotId === undefined) return noSnapshot(context.memory);
  const loaded = await loadRuleFiles(context.host, config, args.files.length === 0 ? {} : { files: args.files });
  if (loaded.problems.length > 0) return refused('bad-rules-file', loaded.problems.map(problemLine).join('\n'));
  return applyLoaded(world, loaded, args);
}

/** The same with rules that were read and checked. */
export async function applyLoaded(
  { context, config }: World,
  loaded: LoadedRules,
  args: ApplyArgs,
): Promise<ApplyResult | Refusal> {
  const now = await readNow(context);
  if (now.kind === 'refused') return now;
  const whole = args.all && config.source === 'files';
  const parts: UserRules = overlay(context.memory.wish, loaded.rules, loaded.sources, whole);
  const change = changeOf(now, parts, loaded);
  const nothing = { changed: false, trial: undefined, snapshotId: context.memory.snapshotId, outcome: undefined };
  if (change.diff.same) return { kind: 'apply', ...change, ...nothing };
  const cuts = args.preflight
    ? await cutsOf(context, now.live, now.native.classified, parts, args.session || undefined)
    : [];
  if (cuts.length > 0) return refused('would-cut', cutsText(cuts, now.live));
  if (args.dryRun) return { kind: 'apply', ...change, ...nothing, outcome: await preview(context, parts) };
  if (!args.yes) return { kind: 'asks', ...change, ...nothing };
  return { ...change, ...(await tryOut({ context, config }, parts, change.what, args.trialMs)) };
}

const problemLine = ({ file, line, column, code, message }: LoadedRules['problems'][number]): string =>
  line === 0 ? `${file}: ${code}: ${message}` : `${file}:${line}:${column}: ${code}: ${message}`;

interface Now {
  readonly kind: 'now';
  readonly live: SeenRulesets;
  readonly native: LiveNative;
}

async function readNow(context: PassContext): Promise<Now | Refusal> {
  const live = await readLive(context);
  if (live.kind === 'refused') return live;
  if (live.mixed !== undefined) return refused('mixed-engines', `${live.mixed}; nothing is written`);
  const native = await readLiveNative(context);
  return native.kind === 'refused' ? native : { kind: 'now', live, native };
}

function changeOf({ live, native }: Now, parts: UserRules, { sources, warnings, leftOut }: LoadedRules): Change {
  const what = [...new Set(sources.map(({ file }) => file))].join(', ');
  const partNow = (family: Family): UserPart => {
    const seen = familyOf(live, family);
    return seen === undefined ? emptyPart(family) : userPartOf(seen.classified);
  };
  const now = { ip: partNow('ip'), ip6: partNow('ip6'), native: native.part };
  return {
    what,
    diff: diffOfParts(live, native.part, parts, what),
    dropped: allRulesGone(now, parts),
    added: allRulesGone(parts, now),
    warnings,
    leftOut,
  };
}

function cutsText(cuts: readonly Cut[], live: SeenRulesets): string {
  const classified = live.families.map((each) => each.classified);
  const lines = cuts.map(({ what, verdict, place }) => {
    if (place === undefined) return `${what}: ${verdict}`;
    const { family, table, text } = seatOf(place, verdict, classified);
    return `${what}: ${verdict} by ${family} ${table}: ${text}`;
  });
  return ['these rules would cut the management of this host; nothing was changed:', ...lines].join('\n  ');
}

type Tried = Pick<ApplyResult, 'kind' | 'changed' | 'trial' | 'snapshotId' | 'outcome'>;

/** The way back first, then the rules. */
async function tryOut({ context, config }: World, parts: UserRules, what: string, trialMs: number): Promise<Tried> {
  const quiet = await neighboursAreQuiet(context);
  // With no time to confirm in, the way back is only for what cannot be loaded, and for our own death half-way.
  const id = randomBytes(4).toString('hex');
  const trial = await writeTrial(context, { id, forMs: trialMs === 0 ? OWN_DEATH_MS : trialMs, what });
  const outcome = await takeAndApply(context, parts, {
    trigger: 'apply',
    message: what,
    repair: quiet && config.repair,
  });
  if (!isWhole(outcome, parts)) {
    const back = await rollBack(context, trial, `it could not be loaded whole: ${whyNot(outcome)}`);
    return {
      kind: 'rolled-back',
      changed: back.changed,
      trial: undefined,
      snapshotId: context.memory.snapshotId,
      outcome,
    };
  }
  if (trialMs === 0) await endTrial(context);
  return {
    kind: 'apply',
    changed: true,
    trial: trialMs === 0 ? undefined : { id, leftMs: leftMs(context.host, trial) },
    snapshotId: context.memory.snapshotId,
    outcome,
  };
}

const OWN_DEATH_MS = 10_000;

/** Every rule stands; what is wrong with neighbours' rules is theirs, and a rule in a neighbour's chain waits for that neighbour. */
function isWhole({ kind, drift }: Outcome, parts: UserRules): boolean {
  return kind !== 'failed' && kind !== 'unreadable' && !drift.some((each) => isBroken(each, parts));
}

const BROKEN: ReadonlySet<string> = new Set(['waiting', 'lost', 'policy', 'unreadable']);

function isBroken({ kind, family, table, chain }: Drift, parts: UserRules): boolean {
  if (!BROKEN.has(kind)) return false;
  const home = family === 'ip' || family === 'ip6' ? parts[family].tables.get(table)?.chains.get(chain) : undefined;
  return !(kind === 'waiting' && home?.policy === 'foreign');
}

const whyNot = ({ why, drift }: Outcome): string =>
  why ?? drift.find(({ kind }) => BROKEN.has(kind))?.evidence ?? 'for no reason that was said';
