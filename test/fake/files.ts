// Files in memory, with the failures of real ones: a full disk, and a crash between any two steps of a write.

import { basename, dirname, join } from 'node:path/posix';
import { HostError, type Files, type FileStat, type WatchHandlers } from '../../src/host/host.ts';

export interface FakeFiles extends Files {
  /** Files by path; what a test puts in here is there. */
  readonly texts: Map<string, string>;
  /** Symbolic links by path. */
  readonly links: Map<string, string>;
  /** From now on, writes (writeAtomic, append) to paths that contain `part` fail: the disk is full. undefined: free again. */
  fillDisk(part: string | undefined): void;
  /** The process dies after so many more steps of writing: that step and all later calls never come back as done. */
  crashAfter(steps: number): void;
  /** After a crash: a new process on the same disk. */
  reboot(): void;
  /** Steps of writing so far; what crashAfter counts. */
  steps(): number;
}

/** Text answers of a path that is computed, `/proc/net/ip_tables_names`. */
export type Computed = (path: string) => string | undefined;

export class Crashed extends Error {
  constructor() {
    super('the process was killed here');
    this.name = 'Crashed';
  }
}

interface Disk {
  readonly texts: Map<string, string>;
  readonly links: Map<string, string>;
  readonly folders: Set<string>;
  readonly watchers: Map<WatchHandlers, string>;
  full: string | undefined;
  stepsDone: number;
  crashAt: number;
}

export function createFakeFiles(computed: Computed = () => undefined): FakeFiles {
  const disk: Disk = {
    texts: new Map(),
    links: new Map(),
    folders: new Set(['/']),
    watchers: new Map(),
    full: undefined,
    stepsDone: 0,
    crashAt: Infinity,
  };
  return { ...readers(disk, computed), ...writers(disk), ...controls(disk) };
}

function controls(disk: Disk): Pick<FakeFiles, 'texts' | 'links' | 'fillDisk' | 'crashAfter' | 'reboot' | 'steps'> {
  return {
    texts: disk.texts,
    links: disk.links,
    fillDisk: (part) => void (disk.full = part),
    crashAfter: (steps) => void (disk.crashAt = disk.stepsDone + steps),
    reboot: () => void (disk.crashAt = Infinity),
    steps: () => disk.stepsDone,
  };
}

type Readers = Pick<Files, 'read' | 'list' | 'exists' | 'readLink' | 'stat' | 'watch'>;

function readers(disk: Disk, computed: Computed): Readers {
  const follow = (path: string): string => disk.links.get(path) ?? path;
  return {
    read: async (path) => alive(disk, () => computed(path) ?? disk.texts.get(follow(path))),
    list: async (path) => alive(disk, () => namesIn(disk, path)),
    exists: async (path) => alive(disk, () => statOf(disk, path) !== undefined || computed(path) !== undefined),
    readLink: async (path) => alive(disk, () => disk.links.get(path)),
    stat: async (path) => alive(disk, () => statOf(disk, path)),
    watch(folder, handlers) {
      disk.watchers.set(handlers, folder);
      return { close: () => void disk.watchers.delete(handlers) };
    },
  };
}

function alive<T>(disk: Disk, act: () => T): T {
  if (disk.stepsDone >= disk.crashAt) throw new Crashed();
  return act();
}

function namesIn(disk: Disk, folder: string): string[] {
  const inside = [...disk.texts.keys(), ...disk.links.keys(), ...disk.folders].filter((path) =>
    path.startsWith(`${folder}/`),
  );
  return [...new Set(inside.map((path) => path.slice(folder.length + 1).split('/')[0]!))].sort();
}

function statOf(disk: Disk, path: string): FileStat | undefined {
  const text = disk.texts.get(path);
  const base = { uid: 0, modifiedMs: 0 };
  if (disk.links.has(path)) return { ...base, kind: 'link', sizeBytes: 0, mode: 0o777 };
  if (text !== undefined) return { ...base, kind: 'file', sizeBytes: Buffer.byteLength(text), mode: 0o640 };
  const isFolder = disk.folders.has(path) || namesIn(disk, path).length > 0;
  return isFolder ? { ...base, kind: 'folder', sizeBytes: 0, mode: 0o750 } : undefined;
}

type Writers = Pick<Files, 'writeAtomic' | 'append' | 'makeDir' | 'rename' | 'remove'>;

function writers(disk: Disk): Writers {
  return {
    writeAtomic: async (path, text) => writeAtomic(disk, path, text),
    append: async (path, line) => append(disk, path, line),
    makeDir: async (path) => step(disk, path, () => void makeFolders(disk, path)),
    rename: async (from, to) => step(disk, to, () => move(disk, from, to)),
    remove: async (path) => step(disk, path, () => removeAll(disk, path)),
  };
}

/** One step that reaches the disk whole or not at all. A crash comes after it: done, but nobody is left to hear of it. */
function step(disk: Disk, path: string, act: () => void): void {
  alive(disk, act);
  disk.stepsDone += 1;
  if (disk.stepsDone >= disk.crashAt) throw new Crashed();
  for (const [handlers, folder] of disk.watchers) if (dirname(path) === folder) handlers.changed();
}

/** As host/files.ts: a temporary file beside it, its text, the rename. */
function writeAtomic(disk: Disk, path: string, text: string): void {
  const temporary = join(dirname(path), `.${basename(path)}.1-${disk.stepsDone}.tmp`);
  step(disk, temporary, () => void disk.texts.set(temporary, ''));
  if (isFull(disk, path)) {
    disk.texts.delete(temporary);
    throw diskFull(path);
  }
  step(disk, temporary, () => void disk.texts.set(temporary, text));
  step(disk, path, () => move(disk, temporary, path));
}

function append(disk: Disk, path: string, line: string): void {
  if (isFull(disk, path)) throw diskFull(path);
  step(
    disk,
    path,
    () => void disk.texts.set(path, `${disk.texts.get(path) ?? ''}${line.endsWith('\n') ? line : `${line}\n`}`),
  );
}

const isFull = (disk: Disk, path: string): boolean => disk.full !== undefined && path.includes(disk.full);

const diskFull = (path: string): HostError =>
  new HostError('write-failed', `cannot write ${path}: the disk is full; the old content is kept`);

function makeFolders(disk: Disk, path: string): void {
  for (let folder = path; folder !== '/'; folder = dirname(folder)) disk.folders.add(folder);
}

function move(disk: Disk, from: string, to: string): void {
  const text = disk.texts.get(from);
  if (text === undefined) return moveFolder(disk, from, to);
  disk.texts.set(to, text);
  disk.texts.delete(from);
}

function moveFolder(disk: Disk, from: string, to: string): void {
  const inside = [...disk.texts].filter(([path]) => path.startsWith(`${from}/`));
  if (inside.length === 0 && !disk.folders.has(from)) throw new HostError('write-failed', `cannot write ${to}: ENOENT`);
  for (const [path, text] of inside) {
    disk.texts.delete(path);
    disk.texts.set(to + path.slice(from.length), text);
  }
  disk.folders.delete(from);
  disk.folders.add(to);
}

function removeAll(disk: Disk, path: string): void {
  const isInside = (name: string): boolean => name === path || name.startsWith(`${path}/`);
  for (const name of [...disk.texts.keys()].filter(isInside)) disk.texts.delete(name);
  for (const name of [...disk.links.keys()].filter(isInside)) disk.links.delete(name);
  for (const name of [...disk.folders].filter(isInside)) disk.folders.delete(name);
}
