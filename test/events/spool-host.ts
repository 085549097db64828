// A Host for spool tests: real files in a folder of its own, real clock unless replaced, log lines kept.

import { mkdtempSync, mkdirSync, readdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { realClock } from '../../src/host/clock.ts';
import { realFiles } from '../../src/host/files.ts';
import { HostError, type Files, type Host } from '../../src/host/host.ts';

export interface SpoolBench {
  readonly host: Host;
  readonly spool: string;
  readonly logged: readonly string[];
  /** A file as the hook writes it, renamed into the spool; `ageMs` before now. */
  put(name: string, text: string, ageMs?: number): void;
  names(folder?: 'held' | 'bad'): string[];
  remove(): void;
}

/** `files` replaces single doors. */
export function openBench(files: Partial<Files> = {}): SpoolBench {
  const root = mkdtempSync(join(tmpdir(), 'mendwall-spool-'));
  const spool = join(root, 'spool');
  mkdirSync(spool, { mode: 0o750 });
  const logged: string[] = [];
  const never = (): never => {
    throw new HostError('unexpected', 'the spool runs no program');
  };
  const host: Host = {
    exec: never,
    lines: never,
    dialog: never,
    proc: { read: () => undefined },
    files: { ...realFiles({ ownFolders: [root] }), ...files },
    clock: realClock,
    log: { write: (level, message) => void logged.push(`${level}: ${message}`) },
  };
  return {
    host,
    spool,
    logged,
    put: (name, text, ageMs = 0) => {
      const seconds = (Date.now() - ageMs) / 1000;
      writeFileSync(join(root, 'new'), text);
      utimesSync(join(root, 'new'), seconds, seconds);
      renameSync(join(root, 'new'), join(spool, name));
    },
    names: (folder) => namesIn(folder === undefined ? spool : `${spool}-${folder}`),
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
}

/** The bytes hooks/mendwall-hook writes. */
export function hookFile(object: string, subject: string, operation: string): string {
  return ['mendwall-hook-1', object, subject, operation, 'begin', '-', ''].join('\0');
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
