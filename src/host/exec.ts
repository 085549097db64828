// Runs other programs. The only file that imports execa; execa is loaded when the first program is started.
// Guarantees: no shell, ever; a fixed environment (LC_ALL=C, PATH) plus what the command names; output is byte for byte
// (host/text.ts); a failed command, a failed start, a timeout and too much output are results, not exceptions.
// Cost, median of 3 x 200 runs of /bin/true on Node 20.20, bundled: child_process.spawn 1.0-1.3 ms, exec 1.4-1.5 ms. Output is
// collected here and not by execa: for 8 MB that is 13 ms instead of 18. 49 MB in lines: 90 ms.

import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import type { execa as Execa, Result } from 'execa';
import type { Command, Dialog, ExecResult, LineHandlers, LineStream } from './host.ts';
import { decodeText, encodeText } from './text.ts';

const DEFAULT_TIMEOUT_MS = 30_000;
/** Above what 100,000 rules print (`nft -j`: 40 MB, the monitor's burst: 49 MB); a string in V8 may hold 512 MiB. */
const LARGEST_OUTPUT_BYTES = 480 * 1024 * 1024;
/** Between asking the child's process group to end (SIGTERM) and ending it (SIGKILL). */
const GRACE_MS = 5_000;
/** How much of a long-lived child's stderr is kept for the reason of its end. */
const KEPT_STDERR_BYTES = 4096;
/** As timeout(1) and the shell have them. */
const TIMED_OUT = 124;
const START_FAILED = 127;
const SIGNAL_BASE = 128;
const FIXED_ENV = { LC_ALL: 'C', PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' };
const NEWLINE = 0x0a;

const OPTIONS = {
  extendEnv: false,
  reject: false,
  encoding: 'buffer',
  buffer: false,
} as const;

let loading: Promise<typeof Execa> | undefined;

/** Kept by ourselves: an `import()` resolves its specifier again each time, 1 ms under a loader such as tsx. */
function loadExeca(): Promise<typeof Execa> {
  loading ??= import('execa').then(({ execa }) => execa);
  return loading;
}

/**
 * Runs one program to its end. Never rejects. `exitCode` is the program's own; 124 when it ran out of time; 128 + n when
 * signal n ended it; 127 when it could not be started. What went wrong apart from the program's own words is the last line of `stderr`.
 * A command still running when mendwall exits is left to finish: a half-read iptables-restore commits nothing or all.
 */
export function exec(command: Command): Promise<ExecResult> {
  return execWith(command, []);
}

/** As `exec`, and the child gets our open `descriptors` as its 3, 4, ... (no other child does: Node opens with O_CLOEXEC). */
export async function execWith(command: Command, descriptors: readonly number[]): Promise<ExecResult> {
  const execa = await loadExeca();
  const startedMs = performance.now();
  const child = execa(command.file, command.args, {
    ...OPTIONS,
    cleanup: false,
    // A process group of its own: what a wrapper started (iptables behind a shell script) ends with it when time is up.
    detached: true,
    env: { ...FIXED_ENV, ...command.env },
    ...(command.input === undefined ? {} : { input: encodeText(command.input) }),
    // execa's types name only 3 to 9; Node takes any open descriptor.
    stdio: [command.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe', ...(descriptors as readonly 3[])],
  });
  const tooMuch = (): void => void signalGroup(child.pid, 'SIGKILL');
  const stdout = collect(child.stdout, tooMuch);
  const stderr = collect(child.stderr, tooMuch);
  const limit = limitTime(child, command.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  const result = await child;
  const timedOut = limit.done();
  const trouble = stdout.overflowed() ? `printed more than ${LARGEST_OUTPUT_BYTES} bytes` : troubleOf(result);
  return {
    command,
    exitCode: timedOut ? TIMED_OUT : exitCodeOf(result),
    stdout: stdout.text(),
    stderr: withTrouble(stderr.text(), timedOut ? limit.reason : trouble),
    durationMs: performance.now() - startedMs,
    timedOut,
    pid: child.pid,
  };
}

/**
 * Starts a long-lived program and hands over its stdout line by line, as soon as the bytes arrive (no timeout applies).
 * `end` is called exactly once, also after `close`, then with the reason `closed`; no line is delivered after `close`.
 * The child is ended when mendwall ends, except by kill -9: then its next write ends it (SIGPIPE).
 */
export function lines(command: Command, handlers: LineHandlers): LineStream {
  return followed(command, handlers, false);
}

/** As `lines`, and the child's stdin stays open for `write`. It ends when mendwall ends, by kill -9 too if it minds its stdin. */
export function dialog(command: Command, handlers: LineHandlers): Dialog {
  return followed(command, handlers, true);
}

function followed(command: Command, handlers: LineHandlers, talks: boolean): Dialog {
  const stream: OpenStream = { pid: undefined, closed: false, unsent: '', kill: () => undefined };
  stream.send = (text) => (stream.unsent += text);
  void followChild(command, handlers, stream, talks).then((reason) => handlers.end(stream.closed ? 'closed' : reason));
  return {
    get pid() {
      return stream.pid;
    },
    write: (text) => stream.send?.(text),
    close() {
      stream.closed = true;
      stream.kill();
    },
  };
}

interface OpenStream {
  pid: number | undefined;
  closed: boolean;
  /** Written before the child was there. */
  unsent: string;
  send?: (text: string) => void;
  kill(): void;
}

/** Runs until the child has ended; the reason for people. Never rejects. */
async function followChild(
  command: Command,
  handlers: LineHandlers,
  stream: OpenStream,
  talks: boolean,
): Promise<string> {
  const execa = await loadExeca();
  if (stream.closed) return 'closed';
  const child = execa(command.file, command.args, {
    ...OPTIONS,
    env: { ...FIXED_ENV, ...command.env },
    ...(command.input === undefined ? {} : { input: encodeText(command.input) }),
    stdio: [command.input === undefined && !talks ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  stream.pid = child.pid;
  // A dialog holds something for us, which another one can have only when it has ended: also when it hangs.
  stream.kill = () => void child.kill(talks ? 'SIGKILL' : 'SIGTERM');
  if (talks) openInput(stream, child.stdin as Writable);
  const split = lineSplitter((text) => {
    if (!stream.closed) handlers.line(text);
  });
  child.stdout.on('data', split);
  const complaint = keepTail(child.stderr);
  return endReason(command, await child, complaint());
}

/** What is written to a child that has ended is lost; `end` says that it has. */
function openInput(stream: OpenStream, stdin: Writable): void {
  stdin.on('error', () => undefined);
  stream.send = (text) => void stdin.write(encodeText(text));
  if (stream.unsent !== '') stream.send(stream.unsent);
}

interface Child {
  readonly pid?: number | undefined;
  readonly stdout: Readable;
  readonly stderr: Readable;
}

/**
 * Ends the child and all it started (SIGTERM, then SIGKILL after 5 s) and stops reading when time is up. Not execa's own
 * timeout: that one waits for the pipes, which a grandchild (a hook's background process) may hold open for ever.
 */
function limitTime(child: Child, timeoutMs: number): { done(): boolean; readonly reason: string } {
  let timedOut = false;
  let last: NodeJS.Timeout | undefined;
  const timer = setTimeout(() => {
    timedOut = true;
    signalGroup(child.pid, 'SIGTERM');
    last = setTimeout(() => signalGroup(child.pid, 'SIGKILL'), GRACE_MS);
    child.stdout.destroy();
    child.stderr.destroy();
  }, timeoutMs);
  const done = (): boolean => {
    clearTimeout(timer);
    // The child has ended; only what it started may still need the SIGKILL, and mendwall does not stay up for that.
    if (groupIsEmpty(child.pid)) clearTimeout(last);
    else last?.unref();
    return timedOut;
  };
  return { done, reason: `killed after ${timeoutMs} ms` };
}

/** kill(2) with a negative pid; a group that is gone needs nothing. As long as one member lives its number is not given anew. */
function signalGroup(pid: number | undefined, signal: NodeJS.Signals | 0): boolean {
  if (pid === undefined) return false;
  try {
    return process.kill(-pid, signal);
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ESRCH' || error.code === 'EPERM')) return false;
    throw error;
  }
}

const groupIsEmpty = (pid: number | undefined): boolean => !signalGroup(pid, 0);

/** Cuts chunks into lines. Bytes of an unfinished line are kept as they came and joined once, when its end arrives. */
function lineSplitter(deliver: (text: string) => void): (chunk: Buffer) => void {
  let unfinished: Buffer[] = [];
  return (chunk) => {
    const cut = chunk.lastIndexOf(NEWLINE);
    if (cut < 0) {
      unfinished.push(chunk);
      return;
    }
    const whole = Buffer.concat([...unfinished, chunk.subarray(0, cut)]);
    unfinished = cut + 1 < chunk.length ? [chunk.subarray(cut + 1)] : [];
    for (const line of decodeText(whole).split('\n')) deliver(line);
  };
}

function collect(stream: Readable, tooMuch: () => void): { text(): string; overflowed(): boolean } {
  const chunks: Buffer[] = [];
  let size = 0;
  stream.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size > LARGEST_OUTPUT_BYTES) tooMuch();
    else chunks.push(chunk);
  });
  const overflowed = (): boolean => size > LARGEST_OUTPUT_BYTES;
  // A cut text is worse than none: nobody may take it for the whole.
  return { overflowed, text: () => (overflowed() ? '' : decodeText(Buffer.concat(chunks))) };
}

function keepTail(stream: Readable): () => string {
  let tail = Buffer.alloc(0);
  stream.on('data', (chunk: Buffer) => {
    tail = Buffer.concat([tail, chunk]).subarray(-KEPT_STDERR_BYTES);
  });
  return () => decodeText(tail).trim();
}

type Ended = Pick<Result, 'exitCode' | 'signal' | 'originalMessage'>;

function exitCodeOf(result: Ended): number {
  if (result.exitCode !== undefined) return result.exitCode;
  return result.signal === undefined ? START_FAILED : SIGNAL_BASE + constants.signals[result.signal];
}

function troubleOf(result: Ended): string | undefined {
  if (result.signal !== undefined) return `ended by ${result.signal}`;
  return result.exitCode === undefined ? `cannot start: ${result.originalMessage ?? 'no reason given'}` : undefined;
}

function withTrouble(stderr: string, trouble: string | undefined): string {
  if (trouble === undefined) return stderr;
  return `${stderr}${stderr === '' || stderr.endsWith('\n') ? '' : '\n'}${trouble}\n`;
}

function endReason(command: Command, result: Ended, complaint: string): string {
  const how = troubleOf(result) ?? `exit code ${exitCodeOf(result)}`;
  return `${command.file}: ${complaint === '' ? how : `${how}: ${complaint}`}`;
}
