// One pass at a time in a network namespace, among the daemon, a hook's `mend` and hands.
// How: flock(2) on a file in the run folder. Node has no flock, so util-linux's flock(1) takes it on our descriptor, inherited
// as its 3: the lock belongs to the open file description, so it stays with us when flock(1) ends and goes when we end,
// whatever ends us. No stale lock can be. Node opens with O_CLOEXEC: no other child of ours holds it on.
// What it does not do: keep out programs that are not mendwall. Cost: one spawned flock(1), about 3 ms; release costs no process.

import { constants } from 'node:fs';
import { open, readlink, readFile, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { execWith } from './exec.ts';
import { HostError } from './host.ts';

/** Who holds the lock, as the holder wrote it; the pid is that of the holder's own pid namespace. */
export interface LockHolder {
  readonly pid: number;
  /** What the holder is doing, e.g. `mendwall run`. */
  readonly command: string;
  /** Kernel's name of the process, up to 15 characters. */
  readonly comm: string;
}

export interface HeldLock {
  readonly kind: 'held';
  /** False when somebody removed the file: others then lock a new one under the same name, and this lock keeps out nobody. */
  stands(): Promise<boolean>;
  release(): Promise<void>;
}

export type LockOutcome =
  | HeldLock
  /** `holder` is undefined when it has not yet written who it is. */
  | { readonly kind: 'busy'; readonly holder: LockHolder | undefined };

export interface LockRequest {
  /** Existing folder for the lock file. */
  readonly runDir: string;
  /** Which lock: `pass` (one pass at a time) or `run` (one daemon at a time). */
  readonly name: 'pass' | 'run';
  /** 0: do not wait. */
  readonly waitMs: number;
  /** Shown to those who find the lock busy. */
  readonly command: string;
  /** Inode of the network namespace it is for; undefined: the one we are in. */
  readonly netns?: string | undefined;
}

/** flock(1)'s exit code when the lock is held by another, chosen by us (-E) to be told from its own failures. */
const BUSY = 75;

/**
 * Takes the lock, waiting at most `waitMs`. The lock is for one network namespace.
 * Throws HostError `lock-failed` when the file cannot be opened or flock(1) does not work.
 */
export async function acquireLock(request: LockRequest): Promise<LockOutcome> {
  const path = await lockPath(request);
  const startedMs = performance.now();
  for (;;) {
    const waitMs = Math.max(0, request.waitMs - (performance.now() - startedMs));
    const file = await openLockFile(path);
    try {
      if (!(await takeLock(file, waitMs))) {
        await file.close();
        return { kind: 'busy', holder: await readHolder(path) };
      }
      if (await isStillThere(file, path)) return await held(file, path, request.command);
      await file.close();
    } catch (error) {
      await file.close();
      throw error;
    }
  }
}

/** `<runDir>/<name>-<inode>.lock`: the inode is the network namespace's, as in `net:[4026531840]`. */
async function lockPath({ runDir, name, netns }: LockRequest): Promise<string> {
  const inode = netns ?? (await readlink('/proc/self/ns/net')).replace(/\D/g, '');
  return join(runDir, `${name}-${inode}.lock`);
}

async function openLockFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o640);
  } catch (error) {
    throw new HostError('lock-failed', `cannot open the lock file ${path}: ${String(error)}`);
  }
}

async function takeLock(file: FileHandle, waitMs: number): Promise<boolean> {
  const how = waitMs > 0 ? ['-w', (waitMs / 1000).toFixed(3)] : ['-n'];
  const command = { file: 'flock', args: ['-E', String(BUSY), ...how, '3'], timeoutMs: waitMs + 10_000 };
  const result = await execWith(command, [file.fd]);
  if (result.exitCode === 0) return true;
  if (result.exitCode === BUSY) return false;
  throw new HostError('lock-failed', `flock (util-linux) failed: ${result.stderr.trim()}`, result);
}

/** False when somebody removed or replaced the file meanwhile: others then lock another file under the same name. */
async function isStillThere(file: FileHandle, path: string): Promise<boolean> {
  const [ours, there] = [await file.stat(), await stat(path).catch(missingAsUndefined)];
  return there !== undefined && ours.ino === there.ino && ours.dev === there.dev;
}

function missingAsUndefined(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error;
  return undefined;
}

async function held(file: FileHandle, path: string, command: string): Promise<HeldLock> {
  const comm = (await readFile('/proc/self/comm', 'utf8')).trim();
  const holder: LockHolder = { pid: process.pid, command, comm };
  await file.truncate(0);
  await file.write(`${JSON.stringify(holder)}\n`, 0);
  return {
    kind: 'held',
    stands: () => isStillThere(file, path),
    async release() {
      await file.truncate(0);
      await file.close();
    },
  };
}

async function readHolder(path: string): Promise<LockHolder | undefined> {
  const text = await readFile(path, 'utf8').catch(missingAsUndefined);
  return text === undefined || !text.endsWith('\n') ? undefined : parseHolder(text);
}

/** Undefined for a text that no holder wrote: who it is stays unknown, the lock is busy all the same. */
function parseHolder(text: string): LockHolder | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isHolder(value) ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isHolder(value: unknown): value is LockHolder {
  return typeof value === 'object' && value !== null && 'pid' in value && 'command' in value && 'comm' in value;
}
