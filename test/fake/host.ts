// A whole Host in memory: the fake kernel behind exec and lines, files, virtual time, the log as a list.
// A test that wants a foreign commit between two system calls says so with beforeExec; inside one, with kernel.beforeCommit.

import type { Author } from '../../src/events/types.ts';
import type {
  Command,
  ExecResult,
  Host,
  LineHandlers,
  LineStream,
  Log,
  LogLevel,
  ProcReader,
} from '../../src/host/host.ts';
import { createFakeClock, type FakeClock } from './clock.ts';
import { createFakeFiles, type FakeFiles } from './files.ts';
import { createFakeKernel, type FakeKernel, type KernelOptions, type KernelState } from './kernel.ts';

export interface LoggedLine {
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** How another program answers: what is left out is exit code 0 and empty. undefined: not this command. */
export type Answer = (command: Command) => Partial<Pick<ExecResult, 'exitCode' | 'stdout' | 'stderr'>> | undefined;

/** A child that the code under test reads line by line. */
export interface FakeChild {
  readonly command: Command;
  readonly pid: number;
  print(line: string): void;
  /** The child ends by itself. */
  end(reason: string): void;
  readonly isOpen: () => boolean;
}

export interface FakeHost extends Host {
  readonly kernel: FakeKernel;
  readonly files: FakeFiles;
  readonly clock: FakeClock;
  readonly logged: LoggedLine[];
  /** Programs that are not of netfilter (`ipset`, `virsh`); asked in the order they were given, before the kernel. */
  answer(file: string, answer: Answer): void;
  /** Called before each command of ours; a foreign command run here lands between two of our system calls. */
  beforeExec(act: ((command: Command) => void) | undefined): void;
  /** Called after each command of ours has answered and before our code sees the answer. */
  afterExec(act: ((result: ExecResult) => void) | undefined): void;
  /** Children started with lines(), open or not. `nft monitor` and `inotifywait` print by themselves. */
  readonly children: FakeChild[];
  /** False: `nft monitor` and `inotifywait` do not exist (exit at once). */
  hasMonitors: boolean;
}

export type FakeHostOptions = Pick<KernelOptions, 'engine' | 'sets' | 'unknownMatches'>;

export function createFakeHost(options: FakeHostOptions = {}): FakeHost {
  const clock = createFakeClock();
  const kernel = createFakeKernel({ ...options, wallMs: clock.wallMs });
  const processes = createProcesses(kernel);
  const files = createFakeFiles((path) => processes.file(path));
  const logged: LoggedLine[] = [];
  const answers: { file: string; answer: Answer }[] = [];
  const hooks: { before?: (command: Command) => void; after?: (result: ExecResult) => void } = {};
  const children: FakeChild[] = [];

  async function exec(command: Command): Promise<ExecResult> {
    await turn();
    hooks.before?.(command);
    const result = runOne(command, answers, kernel, clock);
    hooks.after?.(result);
    await turn();
    return result;
  }

  const host: FakeHost = {
    kernel,
    files,
    clock,
    logged,
    children,
    exec,
    proc: processes.reader,
    log: collect(logged),
    hasMonitors: true,
    lines: (command, handlers) => startChild(host, processes, command, handlers),
    dialog: (command, handlers) => ({ ...startChild(host, processes, command, handlers), write: () => undefined }),
    answer: (file, answer) => void answers.push({ file, answer }),
    beforeExec: (act) => setOrDelete(hooks, 'before', act),
    afterExec: (act) => setOrDelete(hooks, 'after', act),
  };
  return host;
}

/** A real child process takes at least one turn of the event loop. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function setOrDelete<K extends string, V>(target: { [key in K]?: V }, key: K, value: V | undefined): void {
  if (value === undefined) delete target[key];
  else target[key] = value;
}

const collect = (logged: LoggedLine[]): Log => ({
  write: (level, message, fields = {}) => void logged.push({ level, message, fields }),
});

function runOne(
  command: Command,
  answers: readonly { file: string; answer: Answer }[],
  kernel: FakeKernel,
  clock: FakeClock,
): ExecResult {
  const startedMs = clock.monoMs();
  const answered = answers
    .filter(({ file }) => file === command.file)
    .map(({ answer }) => answer(command))
    .find((found) => found !== undefined);
  const ran = answered === undefined ? kernel.run(command.file, command.args, command.input ?? '') : undefined;
  return {
    command,
    exitCode: ran?.exitCode ?? answered?.exitCode ?? 0,
    stdout: ran?.stdout ?? answered?.stdout ?? '',
    stderr: ran?.stderr ?? answered?.stderr ?? '',
    durationMs: clock.monoMs() - startedMs,
    timedOut: false,
    pid: ran?.pid,
  };
}

interface Processes {
  readonly reader: ProcReader;
  file(path: string): string | undefined;
  /** A pid for a child that stays. */
  start(argv: readonly string[]): number;
  listens(pid: number): void;
}

/** /proc as far as authors and listeners are read from it. */
function createProcesses(kernel: FakeKernel): Processes {
  const texts = new Map<string, string>();
  let childPid = 500;
  const add = (pid: number, comm: string, cmdline: readonly string[], parentPid: number): void => {
    texts.set(`/proc/${pid}/stat`, `${pid} (${comm}) S ${parentPid} ${pid} 0`);
    texts.set(`/proc/${pid}/cmdline`, cmdline.map((word) => `${word}\0`).join(''));
  };
  kernel.onProcess((author) => addAuthor(author, add, texts));
  const read = (path: string): string | undefined => texts.get(path);
  return {
    reader: { read },
    file: (path) => namesFile(kernel, path) ?? texts.get(path),
    start(argv) {
      add(++childPid, argv[0] ?? '', argv, 1);
      return childPid;
    },
    listens: (pid) => void texts.set(`/proc/${pid}/net/netlink`, netlinkLine(pid)),
  };
}

/** Protocol 12, groups with NFNLGRP_NFTABLES; the socket's inode is the pid. */
const netlinkLine = (pid: number): string =>
  `0000000000000000 12  ${pid}      00000140 0        0        0     2        0        ${pid}\n`;

function addAuthor(
  author: Author,
  add: (pid: number, comm: string, cmdline: readonly string[], parentPid: number) => void,
  texts: Map<string, string>,
): void {
  const line = [{ pid: author.pid, comm: author.comm, cmdline: author.cmdline ?? [] }, ...author.parents];
  for (const [index, process] of line.entries())
    add(process.pid, process.comm, process.cmdline, line[index + 1]?.pid ?? 0);
  if (author.unit !== undefined) texts.set(`/proc/${author.pid}/cgroup`, `0::/system.slice/${author.unit}\n`);
}

const NAMES_FILE = { '/proc/net/ip_tables_names': 'ip', '/proc/net/ip6_tables_names': 'ip6' } as const;

/** The tables that legacy has loaded. */
function namesFile(kernel: FakeKernel, path: string): string | undefined {
  const family = NAMES_FILE[path as keyof typeof NAMES_FILE];
  if (family === undefined) return undefined;
  const tables = kernel.save(family, 'legacy').matchAll(/^\*(\S+)$/gm); // "*filter"
  return [...tables].map(([, name]) => `${name}\n`).join('');
}

function startChild(host: FakeHost, processes: Processes, command: Command, handlers: LineHandlers): LineStream {
  const pid = processes.start([command.file, ...command.args]);
  let open = true;
  const child: FakeChild = {
    command,
    pid,
    isOpen: () => open,
    print: (line) => void (open && handlers.line(line)),
    end: (reason) => finish(reason),
  };
  const stop = connect(host, processes, child);
  /** The child is told at once, and said to have ended a turn later, once. */
  function finish(reason: string): void {
    if (!open) return;
    open = false;
    stop();
    setImmediate(() => handlers.end(reason));
  }
  host.children.push(child);
  return { pid, close: () => finish('closed') };
}

/** Lets a monitor print what the kernel does. It listens from the start: the blind time is a test's business. */
function connect(host: FakeHost, processes: Processes, child: FakeChild): () => void {
  if (!host.hasMonitors) {
    setImmediate(() => child.end(`spawn ${child.command.file} ENOENT`));
    return () => undefined;
  }
  if (child.command.file === 'nft') {
    processes.listens(child.pid);
    host.files.texts.set(`/proc/${child.pid}/fd/3`, '');
    host.files.links.set(`/proc/${child.pid}/fd/3`, `socket:[${child.pid}]`);
    return host.kernel.onCommit(({ lines }) => lines.forEach(child.print));
  }
  return child.command.file === 'inotifywait'
    ? host.kernel.onLegacyLock(() => child.print('xtables.lock'))
    : () => undefined;
}

export type { FakeKernel, KernelState };
