// Child processes for tests that kill: a TypeScript entry bundled to one file that node starts at once.

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { buildSync } from 'esbuild';

/** Bundles TypeScript source (its imports relative to the repository's root) into `folder`; returns the path of the program. */
export function bundle(source: string, folder: string): string {
  const outfile = join(folder, 'child.cjs');
  const stdin = { contents: source, resolveDir: process.cwd(), loader: 'ts' } as const;
  buildSync({ stdin, outfile, bundle: true, platform: 'node', format: 'cjs', logLevel: 'error' });
  return outfile;
}

export interface TestChild {
  readonly process: ChildProcess;
  /** Lines printed so far. */
  readonly lines: string[];
  /** Resolves with the first line. */
  firstLine(): Promise<string>;
  /** Sends the signal and waits until the process is gone. */
  kill(signal: NodeJS.Signals): Promise<void>;
}

export function start(program: string, args: readonly string[]): TestChild {
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines: string[] = [];
  const reader = createInterface({ input: child.stdout });
  const closed = once(reader, 'close');
  reader.on('line', (line) => lines.push(line));
  return {
    process: child,
    lines,
    firstLine: async () => lines[0] ?? String((await once(reader, 'line'))[0]),
    async kill(signal) {
      const gone = child.exitCode === null ? once(child, 'exit') : undefined;
      child.kill(signal);
      await gone;
      await closed;
    },
  };
}
