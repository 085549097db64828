// Small named documents in the state folder: what a daemon and a one-shot pass must both know (pause, contention, ...).
// Guarantees: a document is replaced whole and durably; a damaged one is an answer, not an exception, and is moved aside, never
// deleted; what another version wrote (another `schema`) counts as damaged.

import { HostError, type Host } from '../host/host.ts';
import { parseObject } from './json-lines.ts';

export type StateOutcome<T> =
  | { readonly kind: 'absent' }
  | { readonly kind: 'found'; readonly value: T }
  /** `movedTo` is undefined when it could not be moved (read-only command, full disk); it is then still at its place. */
  | { readonly kind: 'damaged'; readonly reason: string; readonly movedTo: string | undefined };

/** Tells whether an object, without its `schema`, is a whole document. */
export type Check<T> = (value: Readonly<Record<string, unknown>>) => value is Readonly<Record<string, unknown>> & T;

export interface StateFiles {
  /** Throws HostError `read-failed` when it is there and cannot be read. */
  read<T>(name: string, check: Check<T>): Promise<StateOutcome<T>>;
  /** Throws HostError `write-failed`; then the old document stands. */
  write(name: string, value: object): Promise<void>;
  /** No error when it is not there. */
  remove(name: string): Promise<void>;
}

/** The documents `<dir>/<name>.json`. The folder is made by the first `write`. */
export function openStateFiles(host: Host, dir: string): StateFiles {
  return {
    read: (name, check) => read(host, `${dir}/${name}.json`, check),
    async write(name, value) {
      await host.files.makeDir(dir);
      await host.files.writeAtomic(`${dir}/${name}.json`, `${JSON.stringify({ schema: 1, ...value }, undefined, 2)}\n`);
    },
    remove: (name) => host.files.remove(`${dir}/${name}.json`),
  };
}

/** Changes at each boot of the kernel; undefined when /proc does not say. */
export function bootId(host: Host): string | undefined {
  return host.proc.read('/proc/sys/kernel/random/boot_id')?.trim();
}

async function read<T>(host: Host, path: string, check: Check<T>): Promise<StateOutcome<T>> {
  const text = await host.files.read(path);
  if (text === undefined) return { kind: 'absent' };
  const document = parseObject(text);
  if (document === undefined) return damaged(host, path, 'it is not a whole JSON object');
  const { schema, ...value } = document;
  if (schema !== 1) return damaged(host, path, `its schema is ${JSON.stringify(schema)}, expected 1`);
  return check(value) ? { kind: 'found', value } : damaged(host, path, 'a field is missing or of another type');
}

async function damaged(host: Host, path: string, why: string): Promise<StateOutcome<never>> {
  const movedTo = `${path}.damaged-${host.clock.wallMs()}`;
  try {
    await host.files.rename(path, movedTo);
    return { kind: 'damaged', reason: `${path}: ${why}`, movedTo };
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return { kind: 'damaged', reason: `${path}: ${why}; not moved aside: ${error.message}`, movedTo: undefined };
  }
}
