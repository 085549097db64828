// The folder where libvirt's hooks leave one file a call, and its two neighbours:
//   FOLDER       new files, written by hooks/mendwall-hook; the path unit starts a `mend` while it is not empty
//   FOLDER-held  files that were moved out of the path unit's sight because a daemon that holds the lock did not take them
//   FOLDER-bad   what was not written by the hook, for a person to look at; at most 20
// Goals: an empty FOLDER after every visit, so that the path unit cannot spin (systemd/README.md has the whole protocol).
// Guarantees: a file is taken once by one reader, and removed before its event is handed on; links are never followed.
// What it does not do: decide who may read. The lock does (systemd/README.md).

import { HostError, type FileStat, type Host } from '../host/host.ts';
import { escapeControl } from '../host/text.ts';
import { parseSpoolFile } from './spool-file.ts';
import type { GuardEvent } from './types.ts';

export const SPOOL_FOLDER = '/run/mendwall/spool';

const MAX_FILE_BYTES = 64 * 1024;
const MAX_BAD = 20;
/** As many as the hook puts into the spool at most. */
const MAX_HELD = 1000;
const WRITABLE_BY_OTHERS = 0o022;
const GRACE_STEP_MS = 25;

const heldFolder = (folder: string): string => `${folder}-held`;
const badFolder = (folder: string): string => `${folder}-bad`;

interface Found {
  readonly name: string;
  readonly path: string;
  readonly stat: FileStat;
}

/** Makes the folder when it is missing (mode 0750). Throws HostError when it cannot, or when others could write there. */
export async function openSpool(host: Host, folder: string): Promise<void> {
  await host.files.makeDir(folder);
  const stat = await host.files.stat(folder);
  if (stat?.kind !== 'folder') throw new HostError('spool-unsafe', `${folder} is not a folder: remove it`);
  if ((stat.mode & WRITABLE_BY_OTHERS) === 0) return;
  throw new HostError('spool-unsafe', `${folder} is writable by others than its owner: chmod 0750 ${folder}`);
}

/**
 * Takes what hooks have left, the oldest first, held files included; each is removed just before it is handed on, so a
 * reader that stops early leaves the rest to the next one. Something that no hook wrote is moved to FOLDER-bad, said in
 * one warning, and becomes one `look` event. A missing folder is an empty one.
 * Throws HostError when files cannot be read or removed.
 */
export async function* takeSpool(host: Host, folder: string = SPOOL_FOLDER): AsyncGenerator<GuardEvent, void> {
  const owner = (await host.files.stat(folder))?.uid ?? 0;
  const found = [...(await findIn(host, heldFolder(folder))), ...(await findIn(host, folder))].sort(byAge);
  const bad: string[] = [];
  for (const file of found) {
    const taken = await takeFile(host, file, owner);
    if (taken.kind === 'event') yield taken.event;
    if (taken.kind === 'bad') bad.push(await putAside(host, folder, file, taken.reason));
  }
  if (bad.length > 0) yield sayBad(host, folder, bad);
}

/** All that takeSpool gives, as one list. */
export async function drainSpool(host: Host, folder: string = SPOOL_FOLDER): Promise<GuardEvent[]> {
  const events: GuardEvent[] = [];
  for await (const event of takeSpool(host, folder)) events.push(event);
  return events;
}

/**
 * For a reader that found a daemon holding the lock: the daemon takes its files itself, so this only waits until the
 * folder is empty. What a hung or stopped daemon has not taken after `graceMs` is moved to FOLDER-held, where it finds
 * it when it goes on. Returns how many files were moved.
 */
export async function leaveToDaemon(host: Host, folder: string = SPOOL_FOLDER, graceMs = 500): Promise<number> {
  const untilMs = host.clock.monoMs() + graceMs;
  while ((await namesIn(host, folder)).length > 0 && host.clock.monoMs() < untilMs) await pause(host, GRACE_STEP_MS);
  return holdSpool(host, folder);
}

/** Moves all files to FOLDER-held at once. With 1000 there already they are dropped: what is there says "look" as well. */
export async function holdSpool(host: Host, folder: string = SPOOL_FOLDER): Promise<number> {
  const names = await namesIn(host, folder);
  if (names.length === 0) return 0;
  const held = heldFolder(folder);
  await host.files.makeDir(held);
  const room = MAX_HELD - (await host.files.list(held)).length;
  for (const [index, name] of names.entries())
    await moveAway(host, `${folder}/${name}`, index < room ? `${held}/${name}` : undefined);
  return names.length;
}

type Taken =
  | { readonly kind: 'event'; readonly event: GuardEvent }
  | { readonly kind: 'bad'; readonly reason: string }
  | { readonly kind: 'gone' };

async function takeFile(host: Host, { path, stat }: Found, owner: number): Promise<Taken> {
  const reason = whyNotOurs(stat, owner);
  if (reason !== undefined) return { kind: 'bad', reason };
  const text = await host.files.read(path);
  if (text === undefined) return { kind: 'gone' };
  const call = parseSpoolFile(text);
  if (call === undefined) return { kind: 'bad', reason: 'not written by the hook' };
  await host.files.remove(path);
  const { object, operation, subject } = call;
  return { kind: 'event', event: { kind: 'hook', object, operation, subject, atMs: stat.modifiedMs } };
}

function whyNotOurs(stat: FileStat, owner: number): string | undefined {
  if (stat.kind !== 'file') return `a ${stat.kind}`;
  if (stat.uid !== owner) return `owned by uid ${stat.uid}`;
  return stat.sizeBytes > MAX_FILE_BYTES ? `${stat.sizeBytes} bytes` : undefined;
}

async function putAside(host: Host, folder: string, { name, path }: Found, reason: string): Promise<string> {
  const bad = badFolder(folder);
  await host.files.makeDir(bad);
  const isFull = (await host.files.list(bad)).length >= MAX_BAD;
  await moveAway(host, path, isFull ? undefined : `${bad}/${name}`);
  return `${escapeControl(name)}: ${reason}`;
}

function sayBad(host: Host, folder: string, bad: readonly string[]): GuardEvent {
  const what = bad.length === 1 ? `a file no hook wrote` : `${bad.length} files no hook wrote`;
  host.log.write('warning', `spool: ${what} in ${folder} (${bad[0]}), moved to ${badFolder(folder)}`, { bad });
  return { kind: 'look', reason: `${what} in the spool` };
}

/** Renames, or removes when there is no target. A file that another reader took meanwhile is no error. */
async function moveAway(host: Host, from: string, to: string | undefined): Promise<void> {
  if (to === undefined) return host.files.remove(from);
  try {
    await host.files.rename(from, to);
  } catch (error) {
    if (await host.files.exists(from)) throw error;
  }
}

async function findIn(host: Host, folder: string): Promise<Found[]> {
  const found: Found[] = [];
  for (const name of await namesIn(host, folder)) {
    const path = `${folder}/${name}`;
    const stat = await host.files.stat(path);
    if (stat !== undefined) found.push({ name, path, stat });
  }
  return found;
}

/** Hidden names are somebody's files in the making; systemd's DirectoryNotEmpty= does not count them either. */
async function namesIn(host: Host, folder: string): Promise<string[]> {
  return (await host.files.list(folder)).filter((name) => !name.startsWith('.'));
}

/** By time of writing; within one tick of the file system's clock by name, which starts with the uptime. */
function byAge(a: Found, b: Found): number {
  return a.stat.modifiedMs - b.stat.modifiedMs || a.name.localeCompare(b.name, 'en', { numeric: true });
}

function pause(host: Host, ms: number): Promise<void> {
  return new Promise((resolve) => host.clock.after(ms, resolve));
}
