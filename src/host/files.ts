// Files and folders. Text is byte for byte (host/text.ts).
// Guarantees: writeAtomic leaves the old file or the new one, whole, at any crash, kill -9, power loss or full disk;
// under the folders named as our own a symbolic link is refused, not followed; files 0640, folders 0750, whatever the umask.
// What it does not do: lock (host/lock.ts), or keep readers from seeing an old version.

import { constants } from 'node:fs';
import * as fs from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { HostError, type Durability, type Files } from './host.ts';
import { statOf, watchFolder } from './stat-and-watch.ts';
import { decodeText, encodeText } from './text.ts';

const FILE_MODE = 0o640;
const FOLDER_MODE = 0o750;
const { O_APPEND, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;
/** `/dev/fd/63`, `/dev/stdin`: a pipe that the caller was handed. */
const HANDED = /^\/(?:dev\/(?:fd\/|stdin$)|proc\/)/;

export interface FilesOptions {
  /** Folders (absolute paths) that only we write: below them symbolic links are refused. */
  readonly ownFolders: readonly string[];
}

/** Files as the Host has them, on node:fs. All methods reject with HostError (`read-failed`, `write-failed`), never otherwise. */
export function realFiles(options: FilesOptions): Files {
  const isOwn = (path: string): boolean => options.ownFolders.some((folder) => path.startsWith(`${folder}/`));
  return {
    read: (path) => reading(path, () => readText(path, isOwn(path))),
    writeAtomic: (path, text, durability) => writing(path, () => writeAtomic(path, text, durability ?? 'durable')),
    append: (path, line, durability) => writing(path, () => append(path, line, durability ?? 'durable')),
    list: (path) => reading(path, async () => (await unlessMissing(() => fs.readdir(path)))?.sort() ?? []),
    makeDir: (path) => writing(path, () => makeDir(path)),
    rename: (from, to) => writing(to, () => rename(from, to)),
    remove: (path) => writing(path, () => fs.rm(path, { recursive: true, force: true })),
    exists: (path) => reading(path, async () => (await unlessMissing(() => fs.lstat(path))) !== undefined),
    readLink: (path) => reading(path, () => readLink(path)),
    stat: (path) => reading(path, () => unlessMissing(() => statOf(path))),
    watch: watchFolder,
  };
}

/** A pipe or device in a file's place would keep the reader waiting for ever, so it is an error. */
async function readText(path: string, isOwn: boolean): Promise<string | undefined> {
  const handed = HANDED.test(path);
  return unlessMissing(async () => {
    const file = await fs.open(path, O_RDONLY | (isOwn ? O_NOFOLLOW : 0) | (handed ? 0 : O_NONBLOCK));
    try {
      const stats = await file.stat();
      if (!handed && !stats.isFile() && !stats.isDirectory()) throw new Error('it is a pipe or a device, not a file');
      return decodeText(await file.readFile());
    } finally {
      await file.close();
    }
  });
}

let temporaryCount = 0;

async function writeAtomic(path: string, text: string, durability: Durability): Promise<void> {
  temporaryCount += 1;
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}-${temporaryCount}.tmp`);
  try {
    await writeNew(temporary, text, durability);
    await fs.rename(temporary, path);
  } catch (error) {
    await fs.rm(temporary, { force: true });
    throw error;
  }
  if (durability === 'durable') await syncFolder(dirname(path));
}

async function writeNew(path: string, text: string, durability: Durability): Promise<void> {
  const file = await fs.open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, FILE_MODE);
  try {
    await file.chmod(FILE_MODE);
    await file.writeFile(encodeText(text));
    if (durability === 'durable') await file.sync();
  } finally {
    await file.close();
  }
}

/** One write(2) of the whole line: with O_APPEND lines of several writers do not mix. The newline is added. */
async function append(path: string, line: string, durability: Durability): Promise<void> {
  const isNew = (await unlessMissing(() => fs.lstat(path))) === undefined;
  const file = await fs.open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, FILE_MODE);
  try {
    if (isNew) await file.chmod(FILE_MODE);
    await file.writeFile(encodeText(line.endsWith('\n') ? line : `${line}\n`));
    if (durability === 'durable') await file.sync();
  } finally {
    await file.close();
  }
  if (isNew && durability === 'durable') await syncFolder(dirname(path));
}

/** Each level by itself: mkdir's own `recursive` leaves the mode of the levels between to the umask. */
async function makeDir(path: string): Promise<void> {
  if ((await unlessMissing(() => fs.stat(path))) !== undefined) return;
  await makeDir(dirname(path));
  await fs.mkdir(path, { recursive: true });
  await fs.chmod(path, FOLDER_MODE);
  await syncFolder(dirname(path));
}

async function rename(from: string, to: string): Promise<void> {
  await fs.rename(from, to);
  await syncFolder(dirname(to));
}

/** A rename is on the disk only when its folder is (fsync(2)). */
async function syncFolder(path: string): Promise<void> {
  const folder = await fs.open(path, O_RDONLY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function readLink(path: string): Promise<string | undefined> {
  try {
    return await fs.readlink(path);
  } catch (error) {
    if (isMissing(error) || errnoOf(error) === 'EINVAL') return undefined;
    throw error;
  }
}

async function unlessMissing<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** ESRCH: a file of a process that ended between open and read (proc(5)). */
function isMissing(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'ESRCH'].includes(errnoOf(error));
}

function errnoOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

const HINTS: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full: free some space (`df -h`, `mendwall snapshot prune`) and try again',
  EDQUOT: 'the disk quota is used up: free some space and try again',
  EROFS: 'the file system is mounted read-only',
  EACCES: 'permission denied: run as root',
  EPERM: 'not permitted: run as root',
  EISDIR: 'it is a folder, not a file',
  ELOOP: 'it is a symbolic link, which is refused here: replace it by a real file',
};

function reading<T>(path: string, run: () => Promise<T>): Promise<T> {
  return translated('read-failed', `cannot read ${path}`, run);
}

function writing<T>(path: string, run: () => Promise<T>): Promise<T> {
  return translated('write-failed', `cannot write ${path}`, run);
}

async function translated<T>(code: string, what: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    const hint = HINTS[errnoOf(error)] ?? (error instanceof Error ? error.message : String(error));
    const kept = code === 'write-failed' ? '; the old content is kept' : '';
    throw new HostError(code, `${what}: ${hint}${kept}`);
  }
}
