// The last stage of a pass: what it means for the memory, one line in the journal, the outcome.

import { HostError } from '../host/host.ts';
import { lostTablesDrift } from '../merge/lost-tables.ts';
import type { Ending } from './ending.ts';
import type { NativeEnding } from './native.ts';
import { withNativeEnding } from './native-outcome.ts';
import { lostTablesAfter } from './lost-tables.ts';
import { openGuests } from './open-guests.ts';
import { outcomeOf } from './outcome.ts';
import { pinDrops } from './pin.ts';
import { droppedBetween, lostAfter, remember, rememberNative } from './remember.ts';
import type { Outcome, PassContext, PassRequest } from './types.ts';

/** Ends a pass. Throws HostError when a new snapshot cannot be written. */
export async function record(
  context: PassContext,
  request: PassRequest,
  ending: Ending,
  native: NativeEnding,
): Promise<Outcome> {
  const before = context.memory.snapshot;
  const lost = lostAfter(context, request, ending);
  const tables = lostTablesDrift(await lostTablesAfter(context, request, ending, native));
  const adopted =
    ending.kind === 'seen'
      ? await remember(context, request, ending, native, lost)
      : await rememberNative(context, request, native);
  const dropped = adopted === undefined ? [] : droppedBetween(before, context.memory.snapshot);
  if (request.burstOver && request.mode === 'merge' && !request.dryRun) {
    // First, so that no drop is pinned above what they open.
    const seen = ending.kind === 'seen' ? await openGuests(context, request, ending, native) : undefined;
    await pinDrops(context, context.memory.wish, seen);
  }
  const whole = { ...native, drift: [...native.drift, ...tables] };
  const outcome = withNativeEnding(outcomeOf(context, request, ending, { adopted, dropped, lost }), context, whole);
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

function isWorthALine(outcome: Outcome, request: PassRequest): boolean {
  if (outcome.changed || outcome.adopted !== undefined || outcome.kind === 'failed' || outcome.kind === 'unreadable')
    return true;
  // Inside an open burst a decision is not final.
  if (!request.burstOver) return false;
  // A rewrite that needed no mending is told, too, with who did it.
  if ((outcome.by.length > 0 && request.summaries !== undefined) || outcome.kind === 'would-mend') return true;
  return outcome.tables.some((table) => !['kept', 'wait'].includes(table.decision));
}
