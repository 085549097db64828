// Follows the journal as it grows (`log -f`), also across a rotation. Polls: a watch may miss or merge what it sees, a look at
// one file's size every 200 ms costs next to nothing, and a person waits no longer than that.

import type { Host, Timer } from '../host/host.ts';
import { journalPath, lastEntries, parseEntries, readWholeLines, type JournalEntry } from './journal-files.ts';

const POLL_MS = 200;

export interface FollowHandlers {
  entry(entry: JournalEntry): void;
  /** The journal can no longer be read; called at most once, then nothing follows. */
  failed(reason: string): void;
}

export interface Following {
  close(): void;
}

/** How far the newest file was read: that many characters; its first line, to know it again; its size then. */
interface Place {
  readonly firstLine: string;
  readonly length: number;
  readonly sizeBytes: number;
}

interface News {
  readonly entries: readonly JournalEntry[];
  readonly place: Place;
}

/** Gives the newest `count` passes, then each new one once. Keeps the process alive until closed. */
export function followJournal(host: Host, dir: string, count: number, handlers: FollowHandlers): Following {
  let closed = false;
  let timer: Timer | undefined;
  async function step(place: Place | undefined): Promise<void> {
    const news = place === undefined ? await readBacklog(host, dir, count) : await readNews(host, dir, place);
    for (const entry of news.entries) if (!closed) handlers.entry(entry);
    if (!closed) timer = host.clock.after(POLL_MS, () => run(news.place));
  }
  function run(place: Place | undefined): void {
    step(place).catch((error: unknown) => {
      if (!closed) handlers.failed(String(error));
    });
  }
  run(undefined);
  return {
    close() {
      closed = true;
      timer?.cancel();
    },
  };
}

async function readBacklog(host: Host, dir: string, count: number): Promise<News> {
  const sizeBytes = await newestSize(host, dir);
  const text = await readWholeLines(host.files, dir, 0);
  return { entries: await lastEntries(host.files, dir, text, count), place: placeAfter(text, sizeBytes) };
}

async function readNews(host: Host, dir: string, place: Place): Promise<News> {
  const sizeBytes = await newestSize(host, dir);
  if (sizeBytes === place.sizeBytes) return { entries: [], place };
  const text = await readWholeLines(host.files, dir, 0);
  const isSameFile = place.length === 0 || firstLineOf(text) === place.firstLine;
  const unread = isSameFile ? text.slice(place.length) : (await restOf(host, dir, place)) + text;
  return { entries: parseEntries(unread), place: placeAfter(text, sizeBytes) };
}

/** Read before the text: a line written in between makes the next look read again instead of being missed. */
async function newestSize(host: Host, dir: string): Promise<number> {
  return (await host.files.stat(journalPath(dir, 0)))?.sizeBytes ?? 0;
}

/** The file was set aside: what of it was not read yet. '' when it is no longer there (two rotations between two looks). */
async function restOf(host: Host, dir: string, place: Place): Promise<string> {
  const older = await readWholeLines(host.files, dir, 1);
  return firstLineOf(older) === place.firstLine ? older.slice(place.length) : older;
}

function placeAfter(text: string, sizeBytes: number): Place {
  return { firstLine: firstLineOf(text), length: text.length, sizeBytes };
}

function firstLineOf(text: string): string {
  return text.slice(0, text.indexOf('\n') + 1);
}
