// One life of mendwall on a fake machine: a Host that can be killed at any instant. The machine, its files and its kernel stay;
// what was under way never comes back, as with kill -9.

import type { Clock, Files, Host } from '../../src/host/host.ts';
import type { FakeHost } from '../fake/host.ts';

export interface FakeProcess {
  readonly host: Host;
  kill(): void;
  /** Resolves when it was killed. */
  readonly died: Promise<void>;
  readonly isAlive: () => boolean;
}

/** `proc`: /proc texts besides those of the fake host, by path. */
export function startProcess(machine: FakeHost, proc: ReadonlyMap<string, string>): FakeProcess {
  let alive = true;
  let tellDeath: () => void = () => undefined;
  const died = new Promise<void>((resolve) => (tellDeath = resolve));
  const never = new Promise<never>(() => undefined);
  /** Does nothing for a dead caller, and answers none that died meanwhile. */
  const whileAlive = async <T>(act: () => Promise<T>): Promise<T> => {
    if (!alive) return never;
    const [settled] = await Promise.allSettled([act()]);
    if (!alive) return never;
    if (settled.status === 'rejected') throw settled.reason;
    return settled.value;
  };
  const clock: Clock = {
    wallMs: machine.clock.wallMs,
    monoMs: machine.clock.monoMs,
    after: (ms, run) => machine.clock.after(ms, () => void (alive && run())),
  };
  const host: Host = {
    exec: (command) => whileAlive(() => machine.exec(command)),
    lines: (command, { line, end }) =>
      machine.lines(command, { line: (text) => void (alive && line(text)), end: (why) => void (alive && end(why)) }),
    dialog: (command, { line, end }) =>
      machine.dialog(command, { line: (text) => void (alive && line(text)), end: (why) => void (alive && end(why)) }),
    files: mortalFiles(machine.files, whileAlive),
    proc: { read: (path) => proc.get(path) ?? machine.proc.read(path) },
    clock,
    log: { write: (level, message, fields) => void (alive && machine.log.write(level, message, fields)) },
  };
  function kill(): void {
    alive = false;
    tellDeath();
  }
  return { host, kill, died, isAlive: () => alive };
}

type WhileAlive = <T>(act: () => Promise<T>) => Promise<T>;

function mortalFiles(files: Files, whileAlive: WhileAlive): Files {
  return {
    read: (path) => whileAlive(() => files.read(path)),
    writeAtomic: (path, text, durability) => whileAlive(() => files.writeAtomic(path, text, durability)),
    append: (path, line, durability) => whileAlive(() => files.append(path, line, durability)),
    list: (path) => whileAlive(() => files.list(path)),
    makeDir: (path) => whileAlive(() => files.makeDir(path)),
    rename: (from, to) => whileAlive(() => files.rename(from, to)),
    remove: (path) => whileAlive(() => files.remove(path)),
    exists: (path) => whileAlive(() => files.exists(path)),
    readLink: (path) => whileAlive(() => files.readLink(path)),
    stat: (path) => whileAlive(() => files.stat(path)),
    watch: (folder, handlers) => files.watch(folder, handlers),
  };
}
