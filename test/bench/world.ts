// The private machine the measurements run on: a bridge named as libvirt's, one guest as a namespace, tools, the guard.

import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { REPOSITORY } from '../lab/namespaces.ts';
import { IP6_RULESET, NETWORK_STATUS } from './rules.ts';

/** A copy of what was built: somebody may build again while this runs. */
export const PROGRAM = '/tmp/mendwall/dist/mendwall.cjs';

/** Runs a program to its end; throws when it fails. */
export function run(file: string, args: readonly string[], input = ''): string {
  const result = spawnSync(file, args, { input, encoding: 'latin1', maxBuffer: 1 << 28 });
  if (result.status === 0) return result.stdout;
  throw new Error(`${file} ${args.join(' ')}: exit ${result.status} ${result.error?.message ?? ''}\n${result.stderr}`);
}

/** Runs a program without blocking this process; the instant its end was seen. Throws when it fails. */
export async function runUntil(file: string, args: readonly string[], input = ''): Promise<number> {
  const child = spawn(file, args, { stdio: [input === '' ? 'ignore' : 'pipe', 'ignore', 'inherit'] });
  child.stdin?.end(input);
  const code = await new Promise<number | null>((resolve, reject) => child.on('error', reject).on('exit', resolve));
  const endMs = performance.now();
  if (code !== 0) throw new Error(`${file} ${args.join(' ')}: exit ${code}`);
  return endMs;
}

/** The bridge, the guest and libvirt's word about its network. */
export function furnish(): void {
  run('sh', [
    '-ec',
    `
    ip netns add guest
    ip link add virbr0 type bridge
    ip addr add 192.168.122.1/24 dev virbr0
    ip link add vnet0 type veth peer name eth0 netns guest
    ip link set vnet0 master virbr0 up
    ip link set virbr0 up
    ip -n guest addr add 192.168.122.66/24 dev eth0
    ip -n guest link set eth0 up
    ip -n guest link set lo up
    for tool in iptables ip6tables; do
      ln -sf /usr/sbin/$tool-nft /etc/alternatives/$tool
      for part in save restore; do ln -sf /usr/sbin/$tool-nft-$part /etc/alternatives/$tool-$part; done
    done`,
  ]);
  cpSync(join(REPOSITORY, 'dist'), dirname(PROGRAM), { recursive: true });
  mkdirSync('/run/libvirt/network', { recursive: true });
  writeFileSync('/run/libvirt/network/default.xml', NETWORK_STATUS);
}

/** FORWARD as it stands, the rules' texts. */
export function forwardRules(): string[] {
  return run('iptables-save', ['-t', 'filter'])
    .split('\n')
    .filter((line) => line.startsWith('-A FORWARD '));
}

export interface Running {
  readonly pid: number;
  /** Everything it printed. */
  said(): string;
  write(line: string): void;
  waitFor(text: string, times?: number): Promise<void>;
  stop(): Promise<void>;
}

/** A long-lived program; `ends` is how it is told to stop. */
export function start(file: string, args: readonly string[], ends: 'at-eof' | 'by-signal' = 'at-eof'): Running {
  const child: ChildProcess = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (text: string) => (said += text));
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  return {
    pid: child.pid ?? 0,
    said: () => said,
    write: (line) => void child.stdin?.write(`${line}\n`),
    waitFor: async (text, times = 1) => {
      for (let waitedMs = 0; said.split(text).length <= times; waitedMs += 5) {
        if (child.exitCode !== null || waitedMs > 30_000)
          throw new Error(`${file} ${args.join(' ')} did not say "${text}":\n${said}`);
        await sleep(5);
      }
    },
    stop: async () => {
      if (ends === 'at-eof') child.stdin?.end();
      else child.kill('SIGTERM');
      await ended;
    },
  };
}

export function mendwall(...args: readonly string[]): string {
  return run(process.execPath, [PROGRAM, ...args]);
}

/** Puts exactly this IPv4 ruleset, and libvirt's IPv6 part, in place. */
export function put(ruleset: string): void {
  run('nft', ['flush', 'ruleset']);
  run('iptables-restore', [], ruleset);
  run('ip6tables-restore', [], IP6_RULESET);
}

/** Puts a ruleset in place and makes it the snapshot. */
export function load(ruleset: string): void {
  put(ruleset);
  run('sh', ['-c', 'rm -rf /var/lib/mendwall/* /run/mendwall']);
  mendwall('init');
}

/** The daemon in merge mode, at rest. */
export async function startGuard(restMs: number): Promise<Running> {
  const guard = start(process.execPath, [PROGRAM, 'run', '--mode', 'merge'], 'by-signal');
  await guard.waitFor('guarding in merge mode');
  await sleep(restMs);
  return guard;
}
