// Which snapshots may go. The latest, those asked to be kept and all that the shortened history still names stay.

import type { Host } from '../host/host.ts';
import { writeHistory, type Taking } from './history.ts';
import { ID_LENGTH } from './snapshot-id.ts';

/** A taking stays when any of the rules says so. */
export interface PrunePolicy {
  /** The newest takings; at least 1 is kept whatever this says. */
  readonly keepLast: number;
  /** Takings of the last so many days. */
  readonly keepDays: number;
  /** Ids that something else relies on: the parents of what is pending, a snapshot waiting to be confirmed. */
  readonly keepIds: readonly string[];
}

export interface PruneOutcome {
  /** Ids whose folders are gone, in no order. */
  readonly removedIds: readonly string[];
  readonly removedTakings: readonly Taking[];
}

const DAY_MS = 24 * 60 * 60 * 1000;

/**
 * `takings` is the history, also where its file is lost: what nobody names is removed. Shortens the history first, then removes the folders it no longer names; a crash between leaves folders for the next time.
 * Throws HostError `write-failed`.
 */
export async function pruneStore(
  host: Host,
  dir: string,
  historyPath: string,
  takings: readonly Taking[],
  policy: PrunePolicy,
): Promise<PruneOutcome> {
  const kept = keptTakings(takings, policy, host.clock.wallMs());
  const removedTakings = takings.filter((taking) => !kept.includes(taking));
  if (removedTakings.length > 0) await writeHistory(host.files, historyPath, kept);
  const removedIds = await removeUnnamed(host, dir, new Set([...kept.map(({ id }) => id), ...policy.keepIds]));
  return { removedIds, removedTakings };
}

/** The takings that stay, in their order. Of an id in `keepIds` its last taking stays. */
export function keptTakings(takings: readonly Taking[], policy: PrunePolicy, nowMs: number): Taking[] {
  const newest = new Set(takings.slice(-Math.max(1, policy.keepLast)));
  const asked = new Set(policy.keepIds.map((id) => takings.findLast((taking) => taking.id === id)));
  const sinceMs = nowMs - policy.keepDays * DAY_MS;
  return takings.filter((taking) => newest.has(taking) || asked.has(taking) || Date.parse(taking.at) >= sinceMs);
}

async function removeUnnamed(host: Host, dir: string, named: ReadonlySet<string>): Promise<string[]> {
  const removed: string[] = [];
  for (const name of await host.files.list(dir)) {
    // Matches `.new-3f0a...` and `.gone-3f0a...`: what a crash in a save or in this function left.
    if (/^\.(?:new|gone)-/.test(name)) await host.files.remove(`${dir}/${name}`);
    if (!isId(name) || named.has(name)) continue;
    // Under its own name a half-removed folder would look like a snapshot.
    await host.files.rename(`${dir}/${name}`, `${dir}/.gone-${name}`);
    await host.files.remove(`${dir}/.gone-${name}`);
    removed.push(name);
  }
  return removed;
}

function isId(name: string): boolean {
  return name.length === ID_LENGTH && /^[0-9a-f]+$/.test(name);
}
