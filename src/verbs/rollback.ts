// `confirm` and `rollback`: how a trial ends. `apply` begins one (verbs/apply.ts).
// Guarantees: until the rules before stand again the trial stays on record, so that a rollback that was cut short is done again;
// nothing of the applied rules is lost: their snapshot stays in the history, and what was pending before is pending again.

import { runPass } from '../pass.ts';
import type { Outcome, PassContext } from '../pass/types.ts';
import { handRequest } from './hand.ts';
import { withOpenPolicies } from './open-policies.ts';
import { endTrial, leftMs, readTrial, rulesBefore, type Trial } from './trial-state.ts';
import { type Refusal, refused, type World } from './types.ts';

export interface ConfirmResult {
  readonly kind: 'confirm';
  readonly changed: boolean;
  readonly what: string;
  readonly snapshotId: string | undefined;
}

/** The rules on trial stay. */
export async function confirm(
  { context }: World,
  args: { readonly dryRun: boolean },
): Promise<ConfirmResult | Refusal> {
  const trial = await readTrial(context);
  if (trial === undefined) return nothingOnTrial(context);
  // Too late is too late, also where nobody has rolled back yet: the one who waits for the end must not be surprised.
  if (leftMs(context.host, trial) === 0)
    return refused('trial-over', `the time to confirm ${trial.what} is over; it is rolled back: \`mendwall rollback\``);
  const { snapshotId } = context.memory;
  if (args.dryRun) return { kind: 'confirm', changed: false, what: trial.what, snapshotId };
  await endTrial(context);
  await context.journal.append({ event: 'confirm', id: trial.id, what: trial.what, by: ['hand'] });
  return { kind: 'confirm', changed: true, what: trial.what, snapshotId };
}

/** A script that confirms what was just rolled back must fail; where nothing was on trial there is nothing to do. */
const JUST_MS = 60 * 60_000;

async function nothingOnTrial({ journal, host }: PassContext): Promise<Refusal> {
  const ended = (await journal.last(200)).findLast(({ event }) => event === 'confirm' || event === 'rollback');
  const isFresh = host.clock.wallMs() - Date.parse(String(ended?.['at'])) < JUST_MS;
  return ended?.['event'] === 'rollback' && isFresh
    ? refused(
        'trial-over',
        `nothing waits to be confirmed: ${String(ended['what'])} was rolled back (${String(ended['why'])})`,
      )
    : refused('nothing-on-trial', 'nothing waits to be confirmed');
}

export interface RollbackArgs {
  readonly dryRun: boolean;
  /** Only when its time is over (the clock that `apply` starts, the daemon). */
  readonly due: boolean;
}

export interface RollbackResult {
  readonly kind: 'rollback';
  readonly changed: boolean;
  readonly what: string;
  /** ms that the trial still has; with `due`. */
  readonly leftMs: number;
  readonly snapshotId: string | undefined;
  readonly outcome: Outcome | undefined;
}

/** The rules before the trial again, merged around today's neighbours. */
export async function rollback(world: World, args: RollbackArgs): Promise<RollbackResult | Refusal> {
  const { context } = world;
  const trial = await readTrial(context);
  if (trial === undefined)
    return refused(
      'nothing-on-trial',
      'nothing is on trial; `mendwall restore latest~1` goes back one snapshot, `mendwall snapshot list` shows them',
    );
  const left = leftMs(context.host, trial);
  if (args.dryRun || (args.due && left > 0)) return resultOf(context, trial, left, undefined);
  const why = args.due ? 'it was not confirmed in time' : 'asked for by hand';
  return resultOf(context, trial, left, await rollBack(context, trial, why));
}

function resultOf(
  { memory }: PassContext,
  { what }: Trial,
  left: number,
  outcome: Outcome | undefined,
): RollbackResult {
  return {
    kind: 'rollback',
    changed: outcome?.changed ?? false,
    what,
    leftMs: left,
    snapshotId: memory.snapshotId,
    outcome,
  };
}

/** Puts the rules before a trial back and ends it; it stays open when they could not be written. */
export async function rollBack(context: PassContext, trial: Trial, why: string): Promise<Outcome> {
  const { memory, files, host, journal } = context;
  const notes: string[] = [];
  const { snapshot, wish } = rulesBefore(trial, notes);
  for (const note of notes) host.log.write('warning', note);
  const tried = memory.wish;
  memory.waiting = [];
  delete memory.waitingNative;
  const message = `before ${trial.what}: ${why}`;
  await files.takeSnapshot(memory, snapshot, memory.known.ip !== undefined, { trigger: 'rollback', message });
  memory.wish = withOpenPolicies(wish, tried);
  memory.replaced = trial.before.replaced;
  await files.saveWish(memory);
  const outcome = await runPass(context, { ...handRequest('merge', { trigger: 'rollback' }), authority: 'snapshot' });
  if (outcome.kind === 'failed' || outcome.kind === 'unreadable') return outcome;
  await endTrial(context);
  await journal.append({
    event: 'rollback',
    id: trial.id,
    what: trial.what,
    why,
    snapshot: memory.snapshotId,
    by: ['hand'],
  });
  return outcome;
}
