// The doors to the machine, as one record. Built once in main.ts; tests pass a fake.
// Goals: every stage that does I/O takes a Host, so that no stage imports node:fs, node:child_process or a clock.
// Guarantees: `exec` never throws for a failed command (the result says so); it never goes through a shell.

/** One program to run. `args` is an argument vector; there is no shell. */
export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  /** Written to the program's stdin, which is then closed. Default: empty stdin. */
  readonly input?: string;
  /** Killed after this time; the result then has `timedOut: true`. Default 30_000. */
  readonly timeoutMs?: number;
  /** Added to the fixed environment (LC_ALL=C, PATH). */
  readonly env?: Readonly<Record<string, string>>;
}

/** What running a command gave. A failure to start has the same shape: exitCode 127 and the reason in stderr. */
export interface ExecResult {
  readonly command: Command;
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly durationMs: number;
  readonly timedOut: boolean;
  readonly pid: number | undefined;
}

/** A long-lived child whose stdout is read line by line (`nft monitor`, `inotifywait`). */
export interface LineStream {
  readonly pid: number | undefined;
  close(): void;
}

/** A long-lived child that is told things line by line, too (`nft -i`). */
export interface Dialog extends LineStream {
  /** To its stdin; what comes before the start waits for it. Never throws. */
  write(text: string): void;
}

export interface LineHandlers {
  line(text: string): void;
  /** The child ended, for whatever reason; called once. `reason` is for people. */
  end(reason: string): void;
}

/**
 * `durable` (the default): on the disk when the promise resolves.
 * `quick`: no flush; in the page cache, which survives kill -9 of ours but not a power loss.
 */
export type Durability = 'durable' | 'quick';

/** What stands at a path, the link itself and not what it points to (lstat(2)). */
export interface FileStat {
  readonly kind: 'file' | 'folder' | 'link' | 'other';
  readonly sizeBytes: number;
  readonly uid: number;
  /** Permission bits, e.g. 0o640. */
  readonly mode: number;
  /** Wall time of the last change of its content, ms since 1970, with fractions. */
  readonly modifiedMs: number;
}

export interface WatchHandlers {
  /** Names in the folder changed, or may have. May come late, twice or not at all: a hint to list it. */
  changed(): void;
  /** The watch is dead (folder gone, no inotify watches left) and will not call again; called at most once. */
  failed(reason: string): void;
}

export interface Watch {
  close(): void;
}

export interface Files {
  /** Text of a file, or undefined when it does not exist. Other errors throw. */
  read(path: string): Promise<string | undefined>;
  /** Whole file replaced atomically and durably: temp file beside it, fsync, rename, fsync of the folder. Mode 0640. */
  writeAtomic(path: string, text: string, durability?: Durability): Promise<void>;
  /** One line added with O_APPEND and fsync. */
  append(path: string, line: string, durability?: Durability): Promise<void>;
  /** Names in a folder, sorted; empty when it does not exist. */
  list(path: string): Promise<string[]>;
  makeDir(path: string): Promise<void>;
  /** Rename, then fsync of the target's folder. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file or a folder with all in it; no error when it is not there. */
  remove(path: string): Promise<void>;
  exists(path: string): Promise<boolean>;
  /** Where a symbolic link points, or undefined. */
  readLink(path: string): Promise<string | undefined>;
  /** What stands at a path, or undefined when nothing does. Links are not followed. */
  stat(path: string): Promise<FileStat | undefined>;
  /** Watches the names in a folder (inotify(7)). Never throws: a folder that cannot be watched is `failed`. */
  watch(folder: string, handlers: WatchHandlers): Watch;
}

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Wall time in ms since 1970; for people and journals only. */
  wallMs(): number;
  /** Monotonic ms; for durations and timers. */
  monoMs(): number;
  after(ms: number, run: () => void): Timer;
}

export type LogLevel = 'debug' | 'info' | 'notice' | 'warning' | 'error';

/** One event a line. `fields` reach the JSON form only; `message` must be complete for a person. */
export interface Log {
  write(level: LogLevel, message: string, fields?: Readonly<Record<string, unknown>>): void;
}

/**
 * Small pseudo files below /proc, read at once: the process that made a change is gone some milliseconds later, so the
 * turn must not be given up between the event and the read.
 */
export interface ProcReader {
  /** The first 16 KiB; undefined when it cannot be read, for whatever reason (gone, another owner). Never throws. */
  read(path: string): string | undefined;
}

/** One method call on the D-Bus system bus. `body` must fit `signature` (`u` and `[0]`). */
export interface BusCall {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly signature?: string;
  readonly body?: readonly unknown[];
  /** The call is rejected after this time. Default 5_000. */
  readonly timeoutMs?: number;
  /** False: do not start the destination's service for this call. Default true. */
  readonly autoStart?: boolean;
}

/** Which signals are wanted, and from whom. What is not named is not compared. */
export interface SignalRule {
  /** The well-known name that should send it, e.g. `org.libvirt`. */
  readonly name: string;
  /** `owner`: from the present owner of `name` only. `anybody`: from whomever; BusSignal.fromOwner then tells. */
  readonly from: 'owner' | 'anybody';
  readonly interface: string;
  readonly member?: string;
  readonly path?: string;
  /** The path itself or any path below it. */
  readonly pathNamespace?: string;
  /** Value of the first argument, a string. */
  readonly arg0?: string;
}

export interface BusSignal {
  /** Unique name of the sender, as the bus wrote it: cannot be forged. */
  readonly sender: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly body: readonly unknown[];
  /** Whether the sender owned the rule's `name` when it sent this. */
  readonly fromOwner: boolean;
}

/** `up` after `down`: signals were missed, anything may have changed. `reason` is for people. */
export type BusState =
  { readonly kind: 'up'; readonly uniqueName: string } | { readonly kind: 'down'; readonly reason: string };

/**
 * The D-Bus system bus. Reconnects by itself; a call while it is down is rejected at once.
 * Rejections are HostError: `bus-down`, `bus-timeout`, `bus-lost` (connection ended under the call), `bus-refused` (the
 * bus or the service answered with an error; its D-Bus name starts the message).
 */
export interface Bus {
  /** Starts connecting; resolves when the first attempt has ended, well or not. Never rejects. Again: the same promise. */
  connect(): Promise<void>;
  /** Ends it for good: calls under way are rejected, no handler is called any more. */
  close(): Promise<void>;
  state(): BusState;
  /** Calls back now with the present state, then at each change. */
  onState(handler: (state: BusState) => void): Watch;
  /** Resolves to the arguments of the answer. */
  call(call: BusCall): Promise<readonly unknown[]>;
  /** Resolves when the bus will deliver the signals, or at once while it is down; kept over reconnects. Never rejects. */
  subscribe(rule: SignalRule, handler: (signal: BusSignal) => void): Promise<Watch>;
  /** Unique name of the present owner of a well-known name; undefined when nobody owns it. */
  owner(name: string): Promise<string | undefined>;
  /** Sends a signal to this one connection; nobody else receives it. Throws `bus-down`. */
  emitTo(destination: string, signal: Omit<BusCall, 'destination' | 'timeoutMs' | 'autoStart'>): void;
}

export interface Host {
  exec(command: Command): Promise<ExecResult>;
  lines(command: Command, handlers: LineHandlers): LineStream;
  dialog(command: Command, handlers: LineHandlers): Dialog;
  readonly files: Files;
  readonly proc: ProcReader;
  readonly clock: Clock;
  readonly log: Log;
}

/** Thrown by host/ and apply/ only: an operation on the machine that could not be done. */
export class HostError extends Error {
  readonly code: string;
  readonly result: ExecResult | undefined;
  constructor(code: string, message: string, result?: ExecResult) {
    super(message);
    this.name = 'HostError';
    this.code = code;
    this.result = result;
  }
}
