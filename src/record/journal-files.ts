// The files of the journal and how to read them: `journal.jsonl` is being written, `journal.1.jsonl` is the one before, ...

import type { Files } from '../host/host.ts';
import { parseJsonLines } from './json-lines.ts';

/** One pass as its writer wrote it; `schema` and `at` (ISO 8601, UTC) are always there. */
export type JournalEntry = Readonly<Record<string, unknown>> & { readonly schema: 1; readonly at: string };

/** `age` 0 is the file being written. */
export function journalPath(dir: string, age: number): string {
  return age === 0 ? `${dir}/journal.jsonl` : `${dir}/journal.${age}.jsonl`;
}

/** Text of one journal file up to its last newline: the line being written is not there yet. '' when there is no file. */
export async function readWholeLines(files: Files, dir: string, age: number): Promise<string> {
  const text = (await files.read(journalPath(dir, age))) ?? '';
  return text.slice(0, text.lastIndexOf('\n') + 1);
}

/** The passes of one journal text, oldest first; other lines are left out. */
export function parseEntries(text: string): JournalEntry[] {
  return parseJsonLines(text).objects.filter(isEntry);
}

/** The newest `count` passes, oldest first. `newest`: text of the file being written, read by the caller. */
export async function lastEntries(files: Files, dir: string, newest: string, count: number): Promise<JournalEntry[]> {
  let entries = parseEntries(newest);
  for (let age = 1; entries.length < count; age += 1) {
    const older = await files.read(journalPath(dir, age));
    if (older === undefined) break;
    entries = [...parseEntries(older), ...entries];
  }
  return count === 0 ? [] : entries.slice(-count);
}

function isEntry(value: Readonly<Record<string, unknown>>): value is JournalEntry {
  return value['schema'] === 1 && typeof value['at'] === 'string';
}
