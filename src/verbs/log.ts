// `log`: the journal's entries, each with a short name that `accept` takes. Reading needs neither the daemon nor the lock.

import type { JournalEntry } from '../record/journal-files.ts';
import { textHash } from '../record/snapshot-id.ts';
import { type Refusal, refused, type World } from './types.ts';

/** Seven hex digits made of the entry itself: the same whenever it is read. */
export function entryId(entry: JournalEntry): string {
  return textHash(JSON.stringify(entry)).slice(0, 7);
}

export interface LogEntry {
  readonly id: string;
  readonly entry: JournalEntry;
}

export const named = (entry: JournalEntry): LogEntry => ({ id: entryId(entry), entry });

/** The newest `count` entries, oldest first. */
export async function lastEntries({ context }: World, count: number): Promise<LogEntry[]> {
  return (await context.journal.last(count)).map(named);
}

const SEARCHED = 10_000;

/** The entry that `log` shows under this name, or its beginning. */
export async function findEntry(
  { context }: World,
  name: string,
): Promise<{ readonly kind: 'entry'; readonly entry: JournalEntry } | Refusal> {
  const found = (await context.journal.last(SEARCHED)).filter((entry) => entryId(entry).startsWith(name.toLowerCase()));
  const [entry] = found;
  if (entry === undefined || name === '')
    return refused('unknown-pass', `there is no pass ${name}; \`mendwall log\` shows their names in the second column`);
  return found.length > 1
    ? refused('ambiguous-pass', `${name} begins more than one name: ${found.map(entryId).join(', ')}`)
    : { kind: 'entry', entry };
}
