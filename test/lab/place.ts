// One place of the lab (hypervisor, guest, outside) and how to run programs there.

import { spawn, type ChildProcess, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';

import type { ExecResult } from '../../src/host/host.ts';
import { killTree, signalProgram } from './process-tree.ts';

export interface ExecOptions {
  /** Written to stdin, which is then closed. Default: empty. */
  readonly input?: string;
  /** Killed with all its descendants after this time. Default 30_000. */
  readonly timeoutMs?: number;
  /** Added to the fixed environment (PATH, HOME, LANG, MENDWALL_PROCFS). */
  readonly env?: Readonly<Record<string, string>>;
}

/** A long-lived program inside. */
export interface LabProcess {
  /** Every line of stdout and stderr so far, in order of arrival. */
  readonly lines: readonly string[];
  /** Resolves when the program has ended. `exitCode` is 128 + signal number when a signal ended it. */
  readonly ended: Promise<{ readonly exitCode: number }>;
  /** Calls back for each later line of stdout. */
  onLine(run: (line: string) => void): void;
  /** Writes to its stdin. */
  write(text: string): void;
  /** Sends a signal to the program (not to its children). */
  signal(name: NodeJS.Signals): void;
  /** First line, old or new, that matches; rejects after `timeoutMs` (default 10_000) or when the program ends. */
  waitFor(pattern: RegExp, timeoutMs?: number): Promise<string>;
  /** SIGTERM, after 5 s SIGKILL with its descendants; resolves with the exit code. */
  stop(): Promise<number>;
}

/** How to run things in one place: in the hypervisor, in a guest, outside. */
export interface Place {
  readonly name: string;
  /** Command line that enters the place; the program and its arguments follow. */
  readonly prefix: readonly string[];
  /** Runs a program to its end. Never throws for a failed command. */
  exec(file: string, args?: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  /** Runs a `sh -e` script; resolves with its stdout, throws with its stderr when it fails. */
  sh(script: string, options?: ExecOptions): Promise<string>;
  spawn(file: string, args?: readonly string[], options?: Pick<ExecOptions, 'env'>): LabProcess;
}

/** A place that is entered by the command line `prefix`; every program there gets `environment`. */
export function placeAt(name: string, prefix: readonly string[], environment: Readonly<Record<string, string>>): Place {
  const start = (file: string, args: readonly string[], env: ExecOptions['env']): ChildProcessWithoutNullStreams =>
    spawn(prefix[0] ?? '', [...prefix.slice(1), file, ...args], { cwd: '/', env: { ...environment, ...env } });
  const exec: Place['exec'] = (file, args = [], options = {}) =>
    runToEnd(start(file, args, options.env), file, args, options);
  return {
    name,
    prefix,
    exec,
    sh: async (script, options) => {
      const result = await exec('sh', ['-ec', script], options);
      if (result.exitCode === 0) return result.stdout;
      throw new Error(`${name}: exit ${result.exitCode} of: ${script.trim()}\n${result.stderr}`);
    },
    spawn: (file, args = [], options = {}) => watch(start(file, args, options.env)),
  };
}

async function runToEnd(
  child: ChildProcess,
  file: string,
  args: readonly string[],
  options: ExecOptions,
): Promise<ExecResult> {
  const startedMs = performance.now();
  let stdout = '';
  let stderr = '';
  let timedOut = false;
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  // A program that ends without reading its input is no error of ours: its exit code tells.
  child.stdin?.on('error', (error) => (stderr += `stdin: ${error.message}\n`));
  child.stdin?.end(options.input ?? '');
  const timer = setTimeout(() => {
    timedOut = true;
    killTree(child.pid);
  }, options.timeoutMs ?? 30_000);
  const exitCode = await exitCodeOf(child);
  clearTimeout(timer);
  const durationMs = performance.now() - startedMs;
  return { command: { file, args }, exitCode, stdout, stderr, durationMs, timedOut, pid: child.pid };
}

async function exitCodeOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
}

type LineListener = (line: string) => void;

function watch(child: ChildProcessWithoutNullStreams): LabProcess {
  const lines: string[] = [];
  const anyListeners = new Set<LineListener>();
  const ended = exitCodeOf(child).then((exitCode) => ({ exitCode }));
  const out = createInterface({ input: child.stdout });
  for (const lineReader of [out, createInterface({ input: child.stderr })]) {
    lineReader.on('line', (line) => {
      lines.push(line);
      for (const listener of anyListeners) listener(line);
    });
  }
  return {
    lines,
    ended,
    onLine: (run) => void out.on('line', run),
    write: (text) => void child.stdin.write(text),
    signal: (name) => signalProgram(child.pid, name),
    waitFor: (pattern, timeoutMs = 10_000) => waitForLine(lines, anyListeners, ended, pattern, timeoutMs),
    stop: () => stopProgram(child, ended),
  };
}

async function stopProgram(child: ChildProcess, ended: LabProcess['ended']): Promise<number> {
  const again = setInterval(() => signalProgram(child.pid, 'SIGTERM'), 500);
  signalProgram(child.pid, 'SIGTERM');
  const kill = setTimeout(() => killTree(child.pid), 5_000);
  const { exitCode } = await ended;
  clearInterval(again);
  clearTimeout(kill);
  return exitCode;
}

async function waitForLine(
  lines: readonly string[],
  listeners: Set<LineListener>,
  ended: LabProcess['ended'],
  pattern: RegExp,
  timeoutMs: number,
): Promise<string> {
  const old = lines.find((line) => pattern.test(line));
  if (old !== undefined) return old;
  return new Promise((resolve, reject) => {
    const listen: LineListener = (line) => {
      if (pattern.test(line)) settle(() => resolve(line));
    };
    const settle = (how: () => void): void => {
      clearTimeout(timer);
      listeners.delete(listen);
      how();
    };
    const fail = (why: string): void =>
      settle(() => reject(new Error(`${why} before a line ${pattern}; so far:\n${lines.slice(-20).join('\n')}`)));
    const timer = setTimeout(() => fail(`${timeoutMs} ms passed`), timeoutMs);
    listeners.add(listen);
    void ended.then(({ exitCode }) => fail(`the program ended (exit ${exitCode})`));
  });
}
