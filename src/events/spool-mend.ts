// The one-shot's side of the spool: what `mend --trigger spool` does when the path unit starts it.
// Guarantees: the spool was empty when it was last looked at, whatever was found, so the path unit cannot spin on old
// files; new ones are a new trigger. No file is taken without the lock.
// What it does not do: lock, or run a pass. Both are given to it.

import type { Host } from '../host/host.ts';
import { drainSpool, holdSpool, leaveToDaemon, SPOOL_FOLDER } from './spool-folder.ts';
import type { GuardEvent } from './types.ts';

/** `mine`: we hold the pass lock now. `daemon`: a running daemon serves this spool. `busy`: another command holds it. */
export type SpoolLock = 'mine' | 'daemon' | 'busy';

export interface SpoolWork {
  /** Takes the pass lock, waiting a bounded time for a command that holds it but not for a daemon. The caller lets it go. */
  lock(): Promise<SpoolLock>;
  /** One pass for what the hooks said. */
  pass(events: readonly GuardEvent[]): Promise<void>;
}

/** `held` is the number of files moved out of the path unit's sight for the next reader. */
export type SpoolOutcome =
  | { readonly kind: 'mended'; readonly passes: number }
  | { readonly kind: 'left-to-daemon'; readonly held: number }
  | { readonly kind: 'busy'; readonly held: number };

/** So that one run ends; what comes later starts the next. */
const MAX_PASSES = 10;

/**
 * Takes what is in the spool and runs a pass for it, again while more has come during the pass. An error of `pass` goes
 * to the caller: the files it was for are gone, and the next hook tries again.
 */
export async function mendFromSpool(host: Host, work: SpoolWork, folder: string = SPOOL_FOLDER): Promise<SpoolOutcome> {
  const lock = await work.lock();
  if (lock === 'daemon') {
    const held = await leaveToDaemon(host, folder);
    // Not taken in all that time: hung, or ended since. In the second case it is our work after all.
    if (held === 0 || (await work.lock()) !== 'mine') return { kind: 'left-to-daemon', held };
  }
  if (lock === 'busy') return { kind: 'busy', held: await holdSpool(host, folder) };
  for (let passes = 0; passes < MAX_PASSES; passes += 1) {
    const events = await drainSpool(host, folder);
    if (events.length === 0) return { kind: 'mended', passes };
    await work.pass(events);
  }
  return { kind: 'mended', passes: MAX_PASSES };
}
