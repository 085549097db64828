// history.jsonl: one line for each time a snapshot was taken, oldest first. It says which snapshot is the latest.

import type { Files } from '../host/host.ts';
import { readJsonLines } from './json-lines.ts';

export type NeighboursState = 'complete' | 'partial';

/** One taking of a snapshot. The same id may be taken many times. */
export interface Taking {
  readonly schema: 1;
  /** Counts up by one; starts at 1. */
  readonly seq: number;
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly id: string;
  /** Id of the snapshot before, or null. */
  readonly parent: string | null;
  /** What caused it, e.g. `init`, `snapshot`, `load`. */
  readonly trigger: string;
  /** The user's words; may be empty. */
  readonly message: string;
  readonly neighbours: NeighboursState;
  /** The user's rules by family. */
  readonly rules: { readonly ip: number; readonly ip6: number; readonly native?: number };
}

export interface History {
  /** Oldest first. */
  readonly takings: readonly Taking[];
  /** Why lines were left out; empty in a sound store. */
  readonly dropped: readonly string[];
}

/** Reads the history; empty when there is none. Throws HostError `read-failed`. */
export async function readHistory(files: Files, path: string): Promise<History> {
  const { objects, dropped } = await readJsonLines(files, path);
  const takings = objects.filter(isTaking);
  const alien = objects.length - takings.length;
  return { takings, dropped: alien === 0 ? dropped : [...dropped, `${alien} lines are not takings of schema 1`] };
}

/** Replaces the history as a whole: by a shorter one, or without its damaged lines. */
export function writeHistory(files: Files, path: string, takings: readonly Taking[]): Promise<void> {
  return files.writeAtomic(path, takings.map((taking) => `${JSON.stringify(taking)}\n`).join(''));
}

/** Adds one line. Damaged lines go first, so that the new one does not run into a torn one; they stay to be seen in `.damaged`. */
export async function addTaking(files: Files, path: string, history: History, taking: Taking): Promise<void> {
  if (history.dropped.length > 0) {
    await files.writeAtomic(`${path}.damaged`, (await files.read(path)) ?? '');
    await writeHistory(files, path, history.takings);
  }
  await files.append(path, JSON.stringify(taking));
}

/** Tells a taking by the fields everything else relies on. */
export function isTaking(
  value: Readonly<Record<string, unknown>>,
): value is Readonly<Record<string, unknown>> & Taking {
  return (
    value['schema'] === 1 &&
    typeof value['seq'] === 'number' &&
    typeof value['at'] === 'string' &&
    typeof value['id'] === 'string'
  );
}
