// The real netfilter in a network namespace of its own, driven with plain child processes.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface RealKernel {
  run(
    this: void,
    file: string,
    args: readonly string[],
    input: string,
  ): { exitCode: number; stdout: string; stderr: string };
  /** The same with its commit (sendmsg) held back by strace; `act` runs meanwhile. */
  runDelayed(
    this: void,
    file: string,
    args: readonly string[],
    input: string,
    act: () => void,
  ): Promise<{ exitCode: number; stderr: string }>;
  /** Pid of the process that keeps the namespace. */
  readonly pid: number;
  close(): void;
}

/** A new namespace, kept by one child of ours until close(). Needs root. */
export async function openRealKernel(): Promise<RealKernel> {
  const folder = mkdtempSync(join(tmpdir(), 'mwf-'));
  const keeper = spawn('unshare', ['--net', 'sh', '-c', 'echo ready; exec cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await once(keeper.stdout, 'data');
  const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', XTABLES_LOCKFILE: join(folder, 'lock') };

  function run(
    file: string,
    args: readonly string[],
    input: string,
  ): { exitCode: number; stdout: string; stderr: string } {
    const ran = spawnSync('nsenter', ['-t', String(keeper.pid), '--net', file, ...args], {
      input,
      env,
      encoding: 'utf8',
    });
    return { exitCode: ran.status ?? 128, stdout: ran.stdout, stderr: ran.stderr };
  }

  const HOLD = ['strace', '-o', '/dev/null', '-e', 'trace=sendmsg', '-e', 'inject=sendmsg:delay_enter=300000'];

  async function runDelayed(
    file: string,
    args: readonly string[],
    input: string,
    act: () => void,
  ): Promise<{ exitCode: number; stderr: string }> {
    const child = spawn('nsenter', ['-t', String(keeper.pid), '--net', ...HOLD, file, ...args], {
      env,
      stdio: ['pipe', 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => void (stderr += chunk));
    child.stdin.end(input);
    await new Promise((resolve) => setTimeout(resolve, 150));
    act();
    const [exitCode] = (await once(child, 'close')) as [number];
    return { exitCode, stderr };
  }

  return {
    run,
    runDelayed,
    pid: keeper.pid!,
    close: () => {
      keeper.stdin.end(); // cat ends, and with it the namespace
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export interface RealMonitor {
  /** Generation before anything that is to be seen. */
  readonly firstGeneration: number;
  /** All lines until now; waits for those under way. */
  linesSoFar(): Promise<readonly string[]>;
  close(): void;
}

/** `nft monitor` in the kernel's namespace, listening. It says nothing when it is ready, so a table is made until it is seen. */
export async function openMonitor(real: RealKernel): Promise<RealMonitor> {
  const child = spawn('nsenter', ['-t', String(real.pid), '--net', 'nft', 'monitor'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => void (text += chunk));

  /** A table of our own comes and goes; once it is seen, all before it is. The generation of its going. */
  async function mark(): Promise<number> {
    const before = text.length;
    for (;;) {
      real.run('nft', ['add', 'table', 'inet', 'mwf_mark'], '');
      real.run('nft', ['delete', 'table', 'inet', 'mwf_mark'], '');
      await new Promise((resolve) => setTimeout(resolve, 20));
      const found = /delete table inet mwf_mark\n# new generation (\d+) /.exec(text.slice(before)); // # new generation 7 by process 1 (nft)
      if (found !== null) return Number(found[1]);
    }
  }

  const firstGeneration = await mark();
  text = '';
  return {
    firstGeneration,
    async linesSoFar() {
      await mark();
      return text.slice(0, text.indexOf('add table inet mwf_mark')).split('\n').slice(0, -1);
    },
    close: () => void child.kill(),
  };
}
