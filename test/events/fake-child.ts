// A Host whose children are played by the test, on vitest's fake timers.

import { vi } from 'vitest';
import { realClock } from '../../src/host/clock.ts';
import type { Command, Host, LineHandlers } from '../../src/host/host.ts';

/** A child that `lines` started. */
export interface FakeChild {
  readonly command: Command;
  readonly pid: number;
  closed: boolean;
  say(...lines: string[]): void;
  end(reason: string): void;
}

export interface FakeHost {
  readonly host: Host;
  /** All children so far; the last one runs. */
  readonly children: readonly FakeChild[];
  /** The one that was started last. */
  child(): FakeChild;
  /** Contents of /proc files, by path, and of links. */
  readonly proc: Map<string, string>;
}

/** Call vi.useFakeTimers() first. Doors that the event sources do not use throw when touched. */
export function fakeHost(): FakeHost {
  const children: FakeChild[] = [];
  const proc = new Map<string, string>();
  const names = (folder: string): string[] =>
    [...proc.keys()].filter((path) => path.startsWith(`${folder}/`)).map((path) => path.slice(folder.length + 1));
  const files = { list: async (path: string) => names(path), readLink: async (path: string) => proc.get(path) };
  const parts: Partial<Host> = {
    clock: realClock,
    files: files as unknown as Host['files'],
    proc: { read: (path) => proc.get(path) },
    lines(command, handlers) {
      const child = createChild(command, 100 + children.length, handlers);
      children.push(child);
      return { pid: child.pid, close: () => void (child.closed = true) };
    },
  };
  const child = (): FakeChild => {
    const last = children.at(-1);
    if (last === undefined) throw new Error('no child was started');
    return last;
  };
  return { host: parts as Host, children, child, proc };
}

function createChild(command: Command, pid: number, handlers: LineHandlers): FakeChild {
  return {
    command,
    pid,
    closed: false,
    say: (...lines) => lines.forEach((line) => handlers.line(line)),
    end: (reason) => handlers.end(reason),
  };
}

/** Lets fake time and the promises in it go on. */
export const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
