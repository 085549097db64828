// A host in memory with an admin's rules, a libvirtd and mendwall's daemon in merge mode. Nothing moves unless it is told to:
// time goes by `idle`, others act between any two system calls of ours by `between`.

import { readConfig } from '../../src/config.ts';
import { openContext } from '../../src/context.ts';
import type { Config } from '../../src/config.ts';
import { createGuard, type Guard } from '../../src/guard.ts';
import { HostError } from '../../src/host/host.ts';
import type { PassContext } from '../../src/pass/types.ts';
import { init } from '../../src/verbs/init.ts';
import { fakeBus } from '../fake/bus.ts';
import { createFakeHost, type FakeHost } from '../fake/host.ts';
import type { BridgeNetwork } from '../generate/libvirt-rules.ts';
import { createFakeLibvirt, type FakeLibvirt, type Steps } from './fake-libvirt.ts';
import { type FakeProcess, startProcess } from './process.ts';

export interface RoomOptions {
  /** iptables-save text of the admin's rules; libvirt's come after `networks` were started. */
  readonly user: string;
  readonly user6?: string;
  readonly engine?: 'nft' | 'legacy';
  readonly change?: Partial<Config>;
  /** What libvirt did before init. */
  readonly before?: (libvirt: FakeLibvirt) => readonly Steps[];
  /** Networks that libvirt has a definition of from the start. */
  readonly defined?: readonly BridgeNetwork[];
  readonly place?: 'as-found' | 'above';
}

export interface Room {
  readonly machine: FakeHost;
  readonly libvirt: FakeLibvirt;
  /** /proc texts of processes that live now: `/proc/9/comm`. */
  readonly proc: Map<string, string>;
  /** The present life of the daemon; undefined when none runs. */
  guard(): Guard | undefined;
  /** The context of the present or last life. */
  context(): PassContext;
  /** Called when libvirt was asked to rebuild. */
  onAsk(act: () => void): void;
  start(): Promise<void>;
  /** kill -9. */
  kill(): void;
  /** Lets what is under way end; no time passes. */
  rest(): Promise<void>;
  /** Time goes by, and what it sets off ends. */
  idle(ms: number): Promise<void>;
}

export async function openRoom(options: RoomOptions): Promise<Room> {
  const machine = createFakeHost({ engine: options.engine ?? 'nft' });
  const libvirt = createFakeLibvirt(machine, options.defined);
  const proc = new Map([['/proc/77/comm', 'libvirtd\n']]);
  loadText(machine, 'iptables-restore', options.user);
  if (options.user6 !== undefined) loadText(machine, 'ip6tables-restore', options.user6);
  for (const steps of options.before?.(libvirt) ?? []) runAll(steps);
  let asked: () => void = () => undefined;
  let life: { readonly process: FakeProcess; readonly guard: Guard | undefined; context: PassContext } | undefined;
  let nonces = 0;

  async function open(process: FakeProcess): Promise<{ config: Config; context: PassContext }> {
    const read = await readConfig(machine.files, {
      path: '/etc/mendwall/mendwall.toml',
      explicit: false,
      overrides: [],
    });
    if (read.kind === 'problems') throw new Error(read.problems[0]?.message);
    const config = { ...read.config, mode: 'merge' as const, ...options.change };
    const { context } = await openContext(process.host, config);
    return { config, context: { ...context, nonce: () => (nonces++).toString(16).padStart(8, '0') } };
  }

  async function start(): Promise<void> {
    const process = startProcess(machine, proc);
    life = { process, guard: undefined, context: (life as { context: PassContext }).context };
    await Promise.race([process.died, begin(process)]);
  }

  async function begin(process: FakeProcess): Promise<void> {
    const { config, context } = await open(process);
    const guard = createGuard(context, {
      mode: config.mode,
      repair: config.repair,
      contention: config.contention,
      fixConntrack: false,
      pinDrops: config.pinDrops,
      repairs: config.repairs,
      pausedForMs: undefined,
      bus: libvirtdBus(() => process.isAlive() && asked()),
      procfs: config.procfs,
      spool: config.spool,
    });
    life = { process, guard, context };
    await guard.start();
  }

  async function rest(): Promise<void> {
    for (let quiet = 0; quiet < 2;) {
      await machine.clock.settle();
      quiet = life?.process.isAlive() === true && life.guard?.status().running === true ? 0 : quiet + 1;
    }
  }

  async function idle(ms: number): Promise<void> {
    const endMs = machine.clock.monoMs() + ms;
    await rest();
    for (let now = machine.clock.monoMs(); now < endMs; now = machine.clock.monoMs()) {
      await machine.clock.advance(Math.min(ms > 1000 ? 250 : 10, endMs - now));
      await rest();
    }
  }

  const first = startProcess(machine, proc);
  const opened = await open(first);
  const world = { context: opened.context, config: opened.config };
  const taken = init(world, { from: [], force: false, dryRun: false, place: options.place ?? 'as-found' });
  const [result] = await Promise.all([taken, machine.clock.advance(0).then(() => idleUntil(machine, taken))]);
  if (result.kind === 'refused') throw new Error(result.message);
  life = { process: first, guard: undefined, context: opened.context };
  return {
    machine,
    libvirt,
    proc,
    guard: () => (life?.process.isAlive() === true ? life.guard : undefined),
    context: () => (life as { context: PassContext }).context,
    onAsk: (act) => void (asked = act),
    start,
    kill: () => life?.process.kill(),
    rest,
    idle,
  };
}

async function idleUntil(machine: FakeHost, done: Promise<unknown>): Promise<void> {
  let ended = false;
  void done.finally(() => (ended = true));
  while (!ended) await machine.clock.advance(100);
}

export function loadText(machine: FakeHost, program: string, text: string): void {
  const { exitCode, stderr } = machine.kernel.foreign([program], text);
  if (exitCode !== 0) throw new Error(`${program}: ${stderr}\n${text}`);
}

export function runAll(steps: Steps): void {
  while (steps.next().done !== true);
}

/** A bus with libvirtd on it; `asked` is called for each signal sent to it. */
function libvirtdBus(asked: () => void): ReturnType<typeof fakeBus> {
  const bus = fakeBus();
  bus.answer = async ({ member, destination }) => {
    if (member === 'ListNames') return [[':1.9']];
    if (member === 'GetConnectionUnixProcessID') return [77];
    throw new HostError('bus-refused', `${destination}: ServiceUnknown`);
  };
  bus.emitTo = () => asked();
  return bus;
}
