// The real Host, with every command run in a network namespace of its own and with an xtables lock of its own.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command, Host } from '../../src/host/host.ts';
import { realHost } from '../../src/host/real.ts';

export interface NetnsHost {
  readonly host: Host;
  /** /proc/net of the namespace. */
  readonly procNet: string;
  /** The lock file that iptables-legacy takes here; it is not there before the first use. */
  readonly lockPath: string;
  /** Runs a `bash -e` script; resolves with its stdout, throws with its stderr when it fails. */
  sh(script: string, input?: string): Promise<string>;
  close(): Promise<void>;
}

/** A new namespace, which ends with close() or with this process. Needs root. */
export async function openNetns(): Promise<NetnsHost> {
  const folder = mkdtempSync(join(tmpdir(), 'mwk-'));
  const lockPath = join(folder, 'xtables.lock');
  const keeper = spawn('unshare', ['--net', 'sh', '-c', 'echo ready; exec cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await once(keeper.stdout, 'data');
  const real = realHost({ ownFolders: [folder], logLevel: 'error' });
  const inside = (command: Command): Command => ({
    ...command,
    file: 'nsenter',
    args: ['-t', String(keeper.pid), '--net', command.file, ...command.args],
    env: { ...command.env, XTABLES_LOCKFILE: lockPath },
  });
  const host: Host = {
    ...real,
    exec: (command) => real.exec(inside(command)),
    lines: (command, handlers) => real.lines(inside(command), handlers),
  };

  async function sh(script: string, input = ''): Promise<string> {
    const result = await host.exec({ file: 'bash', args: ['-ec', script], input });
    if (result.exitCode !== 0) throw new Error(`exit ${result.exitCode}: ${script}\n${result.stderr}`);
    return result.stdout;
  }

  async function close(): Promise<void> {
    const ended = once(keeper, 'exit');
    keeper.stdin.end();
    await ended;
    await real.close();
    rmSync(folder, { recursive: true });
  }
  return { host, procNet: `/proc/${keeper.pid}/net`, lockPath, sh, close };
}

/** Shows a measurement beside the tests' names. */
export const report = (text: string): void => void process.stdout.write(`${text}\n`);

/** A ruleset for iptables-restore: `count` rules in FORWARD besides four others. */
export function rulesetOf(count = 0, port = 22): string {
  const extra = Array.from(
    { length: count },
    (_, at) => `-A FORWARD -s 10.${at >> 16}.${(at >> 8) & 255}.${at & 255} -j ACCEPT`,
  );
  return [
    '*filter',
    ':INPUT ACCEPT [0:0]',
    ':FORWARD DROP [0:0]',
    ':OUTPUT ACCEPT [0:0]',
    ':MYCH - [0:0]',
    `-A INPUT -p tcp -m tcp --dport ${port} -m comment --comment "delete table ip filter" -j ACCEPT`,
    '-A FORWARD -i eth0 -j MYCH',
    '-A FORWARD -o eth0 -j ACCEPT',
    '-A MYCH -s 10.0.0.0/8 -j DROP',
    ...extra,
    'COMMIT',
    '',
  ].join('\n');
}
