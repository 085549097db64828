// An in-memory netfilter: takes the commands we and the neighbours run, answers with the texts and exit codes of
// iptables 1.8.9, holds both engines side by side, and tells listeners what each transaction did.
// Goals: passes, guards and properties run in microseconds, with a foreign commit at any point somebody chooses.
// Guarantees: whatever parity-scenarios.ts lists behaves as the real programs do; test/lab/parity.lab.ts compares them.
// Does not: check rule text (any option passes), detect jump loops, count packets by itself, or model hashes of legacy.

import type { Author, Commit, TableChange } from '../../src/events/types.ts';
import type { Family } from '../../src/ruleset/types.ts';
import { programOf } from './command-line.ts';
import { tableChanges, monitorLines } from './monitor.ts';
import type { Effect } from './nft-commit.ts';
import { runCommand } from './run-command.ts';
import { runNft } from './run-nft.ts';
import { runRestore } from './run-restore.ts';
import { runSave } from './run-save.ts';
import { emptyStore, printTable, NFT_TABLE_ORDER, type Engine, type FakeStore } from './store.ts';

/** What a program gave. */
export interface Ran {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RanCommand extends Ran {
  readonly file: string;
  readonly args: readonly string[];
  readonly input: string;
  readonly pid: number;
  /** False: run by kernel.foreign, on behalf of a neighbour or an admin. */
  readonly ours: boolean;
}

export interface SeenCommit {
  readonly commit: Commit;
  /** As `nft monitor` prints them, the generation line last. */
  readonly lines: readonly string[];
}

/** Who runs a foreign command, as /proc would tell. Default: a shell script nobody knows. */
export interface ForeignAuthor {
  readonly parents?: Author['parents'];
  readonly unit?: string;
}

export interface KernelOptions {
  /** What `iptables` without a suffix is. Default nft. */
  readonly engine?: Engine;
  /** ipsets that exist. */
  readonly sets?: readonly string[];
  /** Match extensions that cannot be loaded. */
  readonly unknownMatches?: readonly string[];
  readonly wallMs?: () => number;
}

/** State shared by the runners of single programs. Tests use FakeKernel. */
export interface KernelState {
  readonly stores: Record<Engine, FakeStore>;
  readonly engine: Engine;
  readonly sets: Set<string>;
  readonly unknownMatches: Set<string>;
  generation: number;
  nextPid: number;
  /** Called between the read and the commit of a transaction of ours. */
  window: (() => void) | undefined;
  readonly oneShots: (() => void)[];
  readonly failures: ('lost-race' | 'killed')[];
  readonly nativeTables: Set<string>;
  wallMs(): number;
  /** One kernel transaction: a new generation, and word of it to everybody. `elsewhere`: native tables were touched too. */
  emit(author: Author, parts: Parts, elsewhere: boolean): void;
  legacyTouched(): void;
}

/** One run of one program: who runs it. */
export interface Run {
  readonly state: KernelState;
  readonly author: Author;
  readonly ours: boolean;
}

export interface FakeKernel {
  /** Runs a command as mendwall itself would. Programs that are not of netfilter give exit code 127. */
  run(file: string, args: readonly string[], input?: string): RanCommand;
  /** Runs a command as somebody else: `foreign(['iptables', '-A', 'FORWARD', '-j', 'DROP'])`. */
  foreign(argv: readonly string[], input?: string, author?: ForeignAuthor): RanCommand;
  /** Once, in the next transaction of ours, between its read and its commit. On legacy the lock puts it before the read. */
  beforeCommit(act: () => void): void;
  /** The same in every transaction of ours, until called with undefined. */
  inEveryWindow(act: (() => void) | undefined): void;
  /** The next transaction of ours fails in the kernel; nothing changes. `killed`: the program dies without a word. */
  failNextCommit(how?: 'lost-race' | 'killed'): void;
  onCommit(listener: (seen: SeenCommit) => void): () => void;
  /** After each legacy program that takes the xtables lock. */
  onLegacyLock(listener: () => void): () => void;
  /** All commands so far, in order. */
  readonly commands: RanCommand[];
  /** `iptables-save` text without comment lines; '' when nothing is there. */
  save(family?: Family, engine?: Engine): string;
  /** Adds to a rule's counters; `index` is 1-based. */
  count(family: Family, table: string, chain: string, index: number, packets: number, bytes: number): void;
  generation(): number;
  /** Sets that `-m set` finds; may be changed at any time. */
  readonly sets: Set<string>;
  /** Called with each process before its program runs; the fake host shows them in /proc. */
  onProcess(listener: (author: Author) => void): void;
}

export function createFakeKernel(options: KernelOptions = {}): FakeKernel {
  const commits = new Set<(seen: SeenCommit) => void>();
  const locks = new Set<() => void>();
  const processes: ((author: Author) => void)[] = [];
  const state = createState(options, commits, locks);
  const commands: RanCommand[] = [];

  function execute(file: string, args: readonly string[], input: string, ours: boolean, by: ForeignAuthor): RanCommand {
    const author = authorOf(state, [file, ...args], ours, by);
    for (const listener of processes) listener(author);
    const ran = { ...dispatch({ state, author, ours }, file, args, input), file, args, input, pid: author.pid, ours };
    commands.push(ran);
    return ran;
  }

  return {
    run: (file, args, input = '') => execute(file, args, input, true, {}),
    foreign: ([file = '', ...args], input = '', author = {}) => execute(file, args, input, false, author),
    beforeCommit: (act) => void state.oneShots.push(act),
    inEveryWindow: (act) => void (state.window = act),
    failNextCommit: (how = 'lost-race') => void state.failures.push(how),
    onCommit: (listener) => subscribe(commits, listener),
    onLegacyLock: (listener) => subscribe(locks, listener),
    onProcess: (listener) => void processes.push(listener),
    commands,
    save: (family = 'ip', engine = state.engine) => saveText(state, family, engine),
    count: (family, table, chain, index, packets, bytes) =>
      countPackets(state, family, table, chain, index, packets, bytes),
    generation: () => state.generation,
    sets: state.sets,
  };
}

function subscribe<T>(listeners: Set<T>, listener: T): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

function createState(
  options: KernelOptions,
  commits: ReadonlySet<(seen: SeenCommit) => void>,
  locks: ReadonlySet<() => void>,
): KernelState {
  const state: KernelState = {
    stores: { nft: emptyStore(), legacy: emptyStore() },
    engine: options.engine ?? 'nft',
    sets: new Set(options.sets),
    unknownMatches: new Set(options.unknownMatches ?? ['nosuch', 'geoip']),
    generation: 1,
    nextPid: 1000,
    window: undefined,
    oneShots: [],
    failures: [],
    nativeTables: new Set(),
    wallMs: options.wallMs ?? Date.now,
    emit: (author, parts, elsewhere) => announce(state, commits, author, parts, elsewhere),
    legacyTouched: () => locks.forEach((listener) => listener()),
  };
  return state;
}

/** What a transaction did, by family. */
export type Parts = readonly (readonly [Family, readonly Effect[]])[];

function announce(
  state: KernelState,
  commits: ReadonlySet<(seen: SeenCommit) => void>,
  author: Author,
  parts: Parts,
  elsewhere: boolean,
): void {
  const generation = ++state.generation;
  const changes: TableChange[] = parts.flatMap(([family, effects]) => tableChanges(family, effects));
  const body = parts.flatMap(([family, effects]) => monitorLines(family, effects));
  const lines = [...body, `# new generation ${generation} by process ${author.pid} (${author.comm})`];
  for (const listener of [...commits])
    listener({ commit: { generation, author, changes, native: [], elsewhere }, lines });
}

/** The kernel keeps 15 characters of a program's name. */
function authorOf(state: KernelState, cmdline: readonly string[], ours: boolean, by: ForeignAuthor): Author {
  const pid = state.nextPid++;
  const comm = cmdline[0]!.slice(cmdline[0]!.lastIndexOf('/') + 1).slice(0, 15);
  const parents = by.parents ?? [
    ours ? { pid: 1, comm: 'node', cmdline: ['mendwall', 'run'] } : { pid: 2, comm: 'sh', cmdline: ['sh'] },
  ];
  return { pid, comm, cmdline, parents, ...(by.unit === undefined ? {} : { unit: by.unit }) };
}

function dispatch(run: Run, file: string, args: readonly string[], input: string): Ran {
  const program = programOf(file, run.state.engine);
  if (program === undefined) return isNft(file) ? runNft(run, args) : notFound(file);
  if (program.tool === 'save') return runSave(run, program, args);
  return program.tool === 'restore' ? runRestore(run, program, args, input) : runCommand(run, program, args);
}

const isNft = (file: string): boolean => file === 'nft' || file.endsWith('/nft');

const notFound = (file: string): Ran => ({ exitCode: 127, stdout: '', stderr: `spawn ${file} ENOENT` });

function saveText(state: KernelState, family: Family, engine: Engine): string {
  const tables = state.stores[engine][family];
  const order = engine === 'nft' ? NFT_TABLE_ORDER : [...tables.keys()].reverse();
  return order
    .flatMap((name) => tables.get(name) ?? [])
    .map((table) => printTable(table, false))
    .join('');
}

function countPackets(
  state: KernelState,
  family: Family,
  table: string,
  chain: string,
  index: number,
  packets: number,
  bytes: number,
): void {
  const rule = state.stores[state.engine][family].get(table)?.chains.get(chain)?.rules[index - 1];
  if (rule === undefined) throw new Error(`no rule ${index} in ${family} ${table} ${chain}`);
  rule.packets += packets;
  rule.bytes += bytes;
}
