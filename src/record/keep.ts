// The state folder under a live daemon: what of it is gone is written again from memory.
// Guarantees: nothing that is there is touched; said once, as an error, with what was gone. The journal makes itself anew with
// its next line; the entries it had are lost. Does not: notice damage (a start does), or lock (callers hold the pass lock).

import { HostError, type Host } from '../host/host.ts';
import type { Memory } from './memory.ts';

export interface KeepParts {
  /** Takes the snapshot in memory once more, pending untouched. */
  saveSnapshot(memory: Memory, message: string): Promise<void>;
  saveWish(memory: Memory): Promise<void>;
  saveKnown(memory: Memory): Promise<void>;
}

/** A function that looks, and puts back. Costs three lstat(2) while all is there. Never throws HostError. */
export function openKeeper(host: Host, stateDir: string, parts: KeepParts): (memory: Memory) => Promise<boolean> {
  let complaint = '';
  const complain = (text: string): void => {
    if (text !== complaint) host.log.write('error', text);
    complaint = text;
  };
  return async (memory) => {
    const gone = await firstGone(host, stateDir, memory);
    if (gone === undefined) {
      complaint = '';
      return false;
    }
    try {
      if (gone.snapshot) await parts.saveSnapshot(memory, `${gone.path} was removed; written again from memory`);
      await parts.saveWish(memory);
      if (memory.known.ip !== undefined || memory.known.ip6 !== undefined) await parts.saveKnown(memory);
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      complain(`${gone.path} was removed, and cannot be written again: ${error.message}`);
      return false;
    }
    complain(
      `${gone.path} was removed while mendwall runs: snapshot ${memory.snapshotId}, what is pending and what is known of the neighbours are written again from memory`,
    );
    return true;
  };
}

async function firstGone(
  { files }: Host,
  stateDir: string,
  { snapshotId }: Memory,
): Promise<{ readonly path: string; readonly snapshot: boolean } | undefined> {
  if (snapshotId === undefined) return undefined;
  const folder = `${stateDir}/snapshots`;
  for (const path of [`${folder}/${snapshotId}/meta.json`, `${folder}/history.jsonl`])
    if (!(await files.exists(path))) return { path: (await topmostGone(files, path)) ?? path, snapshot: true };
  const wish = `${stateDir}/wish.json`;
  return (await files.exists(wish)) ? undefined : { path: wish, snapshot: false };
}

/** `/var/lib/mendwall` rather than the file somewhere below it. */
async function topmostGone(files: Host['files'], path: string): Promise<string | undefined> {
  const parts = path.split('/');
  for (let depth = 2; depth <= parts.length; depth++) {
    const above = parts.slice(0, depth).join('/');
    if (!(await files.exists(above))) return above;
  }
  return undefined;
}
