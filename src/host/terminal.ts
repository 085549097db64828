// The process as a program of the command line: arguments, standard streams, the pager, the one question that may be asked.
// Guarantees: text is byte for byte (host/text.ts); a question is asked only when both ends are a terminal.
// What it does not do: end the process (main.ts does), parse, decide.

import { spawn, type SpawnOptions } from 'node:child_process';
import { open } from 'node:fs/promises';
import { type NetnsDoor, realNetns } from './netns.ts';
import { realHost, type RealHost, type RealHostOptions } from './real.ts';
import { decodeText, encodeText } from './text.ts';

export interface Terminal {
  /** Arguments after the program's name. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Effective user id; 0 is root. */
  readonly uid: number;
  /** Folder that holds `hooks/` and `docs/`. */
  readonly packageDir: string;
  readonly isTerminal: { readonly in: boolean; readonly out: boolean; readonly err?: boolean };
  out(text: string): void;
  err(text: string): void;
  /** All of standard input. */
  readInput(): Promise<string>;
  /** Asks on the terminal; only `y` and `yes` are a yes. Without a terminal, or without an answer in `withinMs`: false. */
  confirm(question: string, withinMs?: number): Promise<boolean>;
  /** Shows a text through the pager when standard output is a terminal, else writes it. */
  page(text: string): Promise<void>;
  /** Runs a program with our own standard streams; its exit code (127: it could not be started). */
  hand(file: string, args: readonly string[]): Promise<number>;
  /**
   * Runs this program again after so many seconds, with these arguments, in a session of its own: the end of the terminal, of
   * this process and of its parent does not end it. What it says is added to the file `logPath`. False: it could not be started.
   */
  later(seconds: number, args: readonly string[], logPath: string): Promise<boolean>;
  /** Calls `run` at each of these signals until the process ends. */
  onSignals(names: readonly NodeJS.Signals[], run: (name: NodeJS.Signals) => void): void;
  makeHost(options: RealHostOptions): RealHost;
  readonly netns: NetnsDoor;
}

/** The terminal of this process. */
export function realTerminal(packageDir: string): Terminal {
  const isTerminal = {
    in: process.stdin.isTTY === true,
    out: process.stdout.isTTY === true,
    err: process.stderr.isTTY === true,
  };
  return {
    args: process.argv.slice(2),
    env: process.env,
    uid: process.geteuid?.() ?? 0,
    packageDir,
    isTerminal,
    out: (text) => void process.stdout.write(encodeText(text)),
    err: (text) => void process.stderr.write(encodeText(text)),
    readInput,
    confirm: (question, withinMs) =>
      isTerminal.in && isTerminal.out ? askOnTerminal(question, withinMs) : Promise.resolve(false),
    page: (text) => (isTerminal.out ? page(text) : Promise.resolve(void process.stdout.write(encodeText(text)))),
    hand: (file, args) => finish(file, args, { stdio: 'inherit' }),
    later,
    onSignals: (names, run) => {
      for (const name of names) process.on(name, run);
    },
    makeHost: realHost,
    netns: realNetns(),
  };
}

async function readInput(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk as Uint8Array));
  return decodeText(Buffer.concat(chunks));
}

function askOnTerminal(question: string, withinMs: number | undefined): Promise<boolean> {
  if (process.stdin.readableEnded) return Promise.resolve(false);
  process.stderr.write(`${question} [y/N] `);
  return new Promise((resolve) => {
    const done = (yes: boolean): void => {
      clearTimeout(timer);
      process.stdin.off('data', read).off('end', none);
      process.stdin.pause();
      resolve(yes);
    };
    const read = (answer: Buffer): void => done(/^\s*y(?:es)?\s*$/i.test(answer.toString())); // `y`, `Yes`
    const none = (): void => done(false);
    const timer = withinMs === undefined ? undefined : setTimeout(none, withinMs);
    // A stream that was paused after the question before does not flow again by a listener alone.
    process.stdin.on('data', read).on('end', none).resume();
  });
}

/** `sleep` counts on the monotonic clock, and a shell that sleeps takes less memory than Node does. */
const LATER = 'trap "" HUP INT QUIT; sleep "$1"; shift; exec "$@"';

async function later(seconds: number, args: readonly string[], logPath: string): Promise<boolean> {
  const log = await open(logPath, 'a', 0o640);
  try {
    const self = [process.execPath, ...process.execArgv, process.argv[1] ?? ''];
    const child = spawn('/bin/sh', ['-c', LATER, 'mendwall-later', String(seconds), ...self, ...args], {
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
    });
    child.unref();
    return await new Promise((resolve) => {
      child.once('error', () => resolve(false));
      child.once('spawn', () => resolve(true));
    });
  } finally {
    await log.close();
  }
}

/** As git does: `$PAGER`, else less, which ends at once for a text that fits the screen (-F) and keeps colours (-R). */
async function page(text: string): Promise<void> {
  const pager = process.env['PAGER'] ?? 'less -FRX';
  if (pager === '' || pager === 'cat') return void process.stdout.write(encodeText(text));
  // The pager's own words are the user's, so the user's shell reads them, as for every program that pages.
  const code = await finish('sh', ['-c', pager], { stdio: ['pipe', 'inherit', 'inherit'] }, text);
  if (code === 127) process.stdout.write(encodeText(text));
}

function finish(file: string, args: readonly string[], options: SpawnOptions, input?: string): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(file, args, options);
    child.once('error', () => resolve(127));
    child.once('close', (code) => resolve(code ?? 1));
    // A pager that was left early closes its end: nobody reads the rest.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input === undefined ? undefined : encodeText(input));
  });
}
