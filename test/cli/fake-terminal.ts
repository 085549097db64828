// A terminal without a process: arguments in, text and an exit code out, on a host in memory. The lock is a real one (it is
// taken by a real program), in a folder of its own.

import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runCommandLine } from '../../src/cli/program.ts';
import type { Terminal } from '../../src/host/terminal.ts';
import { createFakeHost, type FakeHost } from '../fake/host.ts';
import { BASE, eagerClock } from '../verbs/fixture.ts';

export interface Told {
  readonly exitCode: number;
  readonly out: string;
  readonly err: string;
}

export interface FakeTerminal {
  readonly host: FakeHost;
  /** Runs one command line. `change` replaces parts of the terminal for this one. */
  run(line: string, change?: Partial<Terminal>): Promise<Told>;
  /** A command as somebody else would run it. */
  sh(line: string): Promise<string>;
  close(): void;
}

const TOP = join(dirname(fileURLToPath(import.meta.url)), '../..');

/** Root on a host whose kernel holds BASE. */
export async function openFakeTerminal(): Promise<FakeTerminal> {
  const host = createFakeHost();
  await host.exec({ file: 'iptables-restore', args: [], input: BASE });
  const runDir = mkdtempSync(join(tmpdir(), 'mwc-'));
  mkdirSync(join(runDir, 'spool'));
  const clock = eagerClock(host.clock);
  // The files that come with the package are there on every host.
  const hook = join(TOP, 'hooks/mendwall-hook');
  host.files.texts.set(hook, readFileSync(hook, 'utf8'));

  async function run(line: string, change: Partial<Terminal> = {}): Promise<Told> {
    const told = { out: '', err: '' };
    const terminal: Terminal = {
      args: line.split(' ').filter((word) => word !== ''),
      // Never the bus of the machine.
      env: { MENDWALL_RUN: runDir, DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${runDir}/no-bus` },
      uid: 0,
      packageDir: TOP,
      isTerminal: { in: false, out: false },
      out: (text) => void (told.out += text),
      err: (text) => void (told.err += text),
      readInput: () => Promise.resolve(''),
      confirm: () => Promise.resolve(false),
      page: (text) => Promise.resolve(void (told.out += text)),
      hand: () => Promise.resolve(127),
      later: () => Promise.resolve(true),
      onSignals: () => undefined,
      makeHost: () => ({ ...host, clock, close: () => Promise.resolve() }),
      netns: { list: () => Promise.resolve({ found: [], unready: [] }), open: () => Promise.resolve(undefined) },
      ...change,
    };
    const exitCode = await runCommandLine(terminal);
    return { exitCode, ...told };
  }

  async function sh(line: string): Promise<string> {
    const [file = '', ...args] = line.split(' ');
    const result = await host.exec({ file, args });
    if (result.exitCode !== 0) throw new Error(`${line}: ${result.stderr}`);
    return result.stdout;
  }
  return { host, run, sh, close: () => rmSync(runDir, { recursive: true }) };
}
