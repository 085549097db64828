// `mend`: one pass now. The user's rules first, at once; then, when something of a neighbour's is missing and the
// neighbour is quiet, that too.

import { carryOut, lostNow } from '../guard/owner-repairs.ts';
import { describeAction, describeRepairs, ownerActions } from '../merge/owner-actions.ts';
import { isLibvirts } from '../owners/index.ts';
import { runPass } from '../pass.ts';
import type { Mode, Outcome, PassRequest } from '../pass/types.ts';
import { handRequest, neighboursAreQuiet, readOnly } from './hand.ts';
import { type PauseState, readPause } from './pause-state.ts';
import { noSnapshot, type Refusal, type World } from './types.ts';

export interface MendArgs {
  /** Undefined: that of whoever runs it, the daemon's own or the configuration's. */
  readonly mode?: Mode | undefined;
  readonly dryRun: boolean;
  /** What asked for it, for the journal: `hand`, `spool`. */
  readonly trigger: string;
  readonly by: readonly string[];
}

export interface MendResult {
  readonly kind: 'mend';
  readonly mode: Mode;
  /** Passes, in order; what is left is that of the last. */
  readonly outcomes: readonly Outcome[];
  /** What was done by `[repair]` for neighbours that have lost rules, or would be; each with its trouble, if there was any. */
  readonly repairs: readonly string[];
  /** Set when a pause kept it from writing. */
  readonly paused: PauseState | undefined;
}

export async function mend(world: World, args: MendArgs): Promise<MendResult | Refusal> {
  const { memory } = world.context;
  if (memory.snapshotId === undefined) return noSnapshot(memory);
  const paused = await readPause(world.context);
  const mode = args.mode ?? world.config.mode;
  const dryRun = args.dryRun || paused !== undefined;
  const outcomes = await passes(world, { ...args, dryRun });
  if (dryRun || mode === 'observe')
    return { kind: 'mend', mode, outcomes, repairs: wouldRepair(world, outcomes), paused };
  const repairs = await repairOwners(world);
  const after = repairs.length === 0 ? [] : await passes(world, args);
  return { kind: 'mend', mode, outcomes: [...outcomes, ...after], repairs, paused };
}

function wouldRepair({ config }: World, outcomes: readonly Outcome[]): string[] {
  const lost = outcomes.at(-1)?.drift.filter(({ kind }) => kind.startsWith('foreign-')) ?? [];
  return describeRepairs(
    lost.map(({ owner }) => owner),
    config.repairs,
  );
}

/** Once each; whether it helped shows in the pass after it. */
async function repairOwners({ context, config }: World): Promise<string[]> {
  const said: string[] = [];
  for (const action of ownerActions(lostNow(context), config.repairs)) {
    const trouble = await carryOut(context, action);
    said.push(trouble === undefined ? describeAction(action) : `${describeAction(action)}: ${trouble}`);
  }
  return said;
}

/** The passes of one mend. */
export async function passes(
  { context, config }: World,
  args: MendArgs,
  more: Partial<PassRequest> = {},
): Promise<Outcome[]> {
  const using = args.dryRun ? readOnly(context) : context;
  const request = handRequest(args.mode ?? config.mode, {
    dryRun: args.dryRun,
    trigger: args.trigger,
    by: args.by,
    ...more,
  });
  const first = await runPass(using, request);
  if (!needsSecond(first, context.memory.known.ip === undefined)) return [first];
  const quiet = await neighboursAreQuiet(context);
  if (!quiet) return [first];
  const second = await runPass(using, { ...request, repair: config.repair, neighboursQuiet: true });
  return second.changed || second.kind !== first.kind || second.drift.length !== first.drift.length
    ? [first, second]
    : [first];
}

/** Rules of libvirt's are missing, or the neighbours' part was never seen whole. */
function needsSecond(outcome: Outcome, unknown: boolean): boolean {
  if (outcome.kind === 'unreadable' || outcome.kind === 'failed') return false;
  return unknown || outcome.drift.some((drift) => drift.kind.startsWith('foreign-') && isLibvirts(drift.owner));
}
