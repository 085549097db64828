// `pause` and `resume`: maintenance. Nothing is written while it lasts; what the user changed meanwhile becomes pending.

import type { Outcome } from '../pass/types.ts';
import { passes } from './mend.ts';
import { endPause, type PauseState, readPause, writePause } from './pause-state.ts';
import { noSnapshot, type Refusal, refused, type World } from './types.ts';

export const DEFAULT_PAUSE_MS = 30 * 60_000;

export interface PauseResult {
  readonly kind: 'pause';
  readonly until: string;
}

export async function pause(
  { context }: World,
  args: { readonly forMs: number; readonly dryRun: boolean },
): Promise<PauseResult> {
  if (args.dryRun) return { kind: 'pause', until: new Date(context.host.clock.wallMs() + args.forMs).toISOString() };
  const state: PauseState = await writePause(context, args.forMs);
  const until = new Date(state.untilMs).toISOString();
  await context.journal.append({ event: 'pause', until, by: ['hand'] });
  return { kind: 'pause', until };
}

export interface ResumeResult {
  readonly kind: 'resume';
  readonly outcomes: readonly Outcome[];
}

/**
 * Ends the pause and looks at everything once: wipes are mended, other differences become pending and are in the outcome.
 * What came by a load is no exception: it is the user's experiment until `snapshot` adopts it.
 */
export async function resume(world: World, args: { readonly dryRun: boolean }): Promise<ResumeResult | Refusal> {
  const { context, config } = world;
  if ((await readPause(context)) === undefined) return refused('not-paused', 'nothing is paused');
  if (context.memory.snapshotId === undefined) return noSnapshot(context.memory);
  if (!args.dryRun) {
    await endPause(context);
    await context.journal.append({ event: 'resume', by: ['hand'] });
  }
  const outcomes = await passes(
    world,
    { mode: config.mode, dryRun: args.dryRun, trigger: 'resume', by: ['hand'] },
    { summaries: () => new Map(), native: new Map() },
  );
  return { kind: 'resume', outcomes };
}
