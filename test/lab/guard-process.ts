// The guard as a program in a private hypervisor: the built `mendwall`, its daemon, and the control socket to ask it.

import { join } from 'node:path';

import type { ExecResult } from '../../src/host/host.ts';
import { callControl } from '../../src/host/socket.ts';
import type { DaemonStatus } from '../../src/verbs/status.ts';
import type { Hypervisor } from './host.ts';
import { REPOSITORY } from './namespaces.ts';
import type { LabProcess } from './place.ts';

const PROGRAM = join(REPOSITORY, 'dist/mendwall.cjs');
const SOCKET = '/run/mendwall/control.sock';

/** Runs one verb to its end, whatever its exit code. */
export function mendwall(hypervisor: Hypervisor, ...args: readonly string[]): Promise<ExecResult> {
  return hypervisor.exec('node', [PROGRAM, ...args], { timeoutMs: 60_000 });
}

/** The first snapshot. Throws what `init` said when it did not end well. */
export async function initGuard(hypervisor: Hypervisor): Promise<void> {
  const init = await mendwall(hypervisor, 'init', '--yes');
  if (init.exitCode !== 0) throw new Error(`mendwall init ended with ${init.exitCode}: ${init.stderr}${init.stdout}`);
}

/** The guard refuses a configuration that others may write. */
export async function writeConfig(hypervisor: Hypervisor, text: string): Promise<void> {
  await hypervisor.sh(
    'mkdir -p /etc/mendwall; cat > /etc/mendwall/mendwall.toml; chmod 0640 /etc/mendwall/mendwall.toml',
    { input: text },
  );
}

/** A running daemon. */
export interface GuardProcess {
  readonly process: LabProcess;
  /** What the daemon says of itself. Throws when it does not answer. */
  status(): Promise<DaemonStatus>;
  /** Resolves when no pass runs and nothing is waited for; throws what it waits for after `timeoutMs`. */
  idle(timeoutMs?: number): Promise<void>;
  /** Lines it has logged so far. */
  logMark(): number;
  logSince(mark: number): readonly string[];
  /** Clean stop; resolves with the exit code. */
  stop(): Promise<number>;
  /** kill -9 of the program itself, and waits for its end. */
  kill(): Promise<void>;
}

export interface GuardRun {
  /** Default `merge`. */
  readonly mode?: 'observe' | 'merge';
  /** More arguments for `mendwall run`. */
  readonly args?: readonly string[];
}

/** `mendwall run`; resolves when its first pass is over and it is at rest. */
export async function startGuard(
  hypervisor: Hypervisor,
  { mode = 'merge', args = [] }: GuardRun = {},
): Promise<GuardProcess> {
  const process = hypervisor.spawn('node', [PROGRAM, 'run', '--mode', mode, '-v', ...args]);
  await process.waitFor(/guarding in/, 20_000);
  const socket = `/proc/${hypervisor.pid}/root${SOCKET}`;
  const guard: GuardProcess = {
    process,
    status: () => askStatus(socket),
    idle: (timeoutMs = 15_000) => untilIdle(socket, timeoutMs),
    logMark: () => process.lines.length,
    logSince: (mark) => process.lines.slice(mark),
    stop: () => process.stop(),
    kill: () => killDaemon(hypervisor, process, socket),
  };
  await guard.idle();
  return guard;
}

async function askStatus(socket: string): Promise<DaemonStatus> {
  const outcome = await callControl(socket, { schema: 1, verb: 'status', args: {} }, 10_000);
  if (outcome.kind === 'answer' && outcome.answer.ok) return outcome.answer.result as DaemonStatus;
  throw new Error(`the daemon does not answer: ${JSON.stringify(outcome)}`);
}

/** An event may still be on its way from the kernel, so rest is believed when it is seen three times. */
async function untilIdle(socket: string, timeoutMs: number): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  for (let seen = 0; seen < 3;) {
    const { running, burst, timers } = await askStatus(socket);
    const busy = running || burst || timers.includes('settle') || timers.includes('libvirt');
    seen = busy ? 0 : seen + 1;
    if (busy && performance.now() > endMs) {
      throw new Error(`the guard is not at rest after ${timeoutMs} ms: ${JSON.stringify({ running, burst, timers })}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 40));
  }
}

/** The pid of the daemon as seen inside; the process the test started is the `nsenter` before it. */
async function killDaemon(hypervisor: Hypervisor, process: LabProcess, socket: string): Promise<void> {
  const { pid } = await askStatus(socket);
  await hypervisor.sh(`kill -KILL ${pid}`);
  await process.ended;
}
