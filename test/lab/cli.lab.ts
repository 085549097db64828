// The built program as a person runs it: real iptables, a network namespace, a state and run folder of its own. Needs root.

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BASE } from '../verbs/fixture.ts';

const TOP = join(dirname(fileURLToPath(import.meta.url)), '../..');
const PROGRAM = join(TOP, 'dist/mendwall.cjs');
const HOOK = join(TOP, 'hooks/mendwall-hook');

interface Ran {
  readonly exitCode: number;
  readonly out: string;
  readonly err: string;
}

let folder: string;
let keeper: ChildProcess;
let daemons: ChildProcess[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mwc-'));
  daemons = [];
  keeper = spawn('unshare', ['--net', 'sh', '-c', 'ip link set lo up; echo ready; exec cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  if (keeper.stdout !== null) await once(keeper.stdout, 'data');
  expect((await sh('iptables-restore', BASE)).exitCode).toBe(0);
});

afterEach(async () => {
  for (const daemon of daemons) daemon.kill('SIGKILL');
  const ended = once(keeper, 'exit');
  keeper.stdin?.end();
  await ended;
  rmSync(folder, { recursive: true });
});

const inside = (...command: readonly string[]): string[] => ['-t', String(keeper.pid), '--net', ...command];

/** A line for bash inside, where `$M` is mendwall with its options. */
async function sh(line: string, input = ''): Promise<Ran> {
  const child = spawn('nsenter', inside('bash', '--norc', '-c', line), { env: environment() });
  const told = { out: '', err: '' };
  child.stdout.on('data', (data: Buffer) => (told.out += data.toString()));
  child.stderr.on('data', (data: Buffer) => (told.err += data.toString()));
  child.stdin.on('error', () => undefined); // A program that reads no input may have ended: EPIPE.
  child.stdin.end(input);
  const [exitCode] = (await once(child, 'close')) as [number];
  return { exitCode, ...told };
}

function environment(): Record<string, string> {
  const program = `${process.execPath} ${PROGRAM} --state ${folder}/state --config ${folder}/mendwall.toml`;
  return {
    PATH: process.env['PATH'] ?? '',
    LC_ALL: 'C',
    M: program,
    MENDWALL_RUN: `${folder}/run`,
    XTABLES_LOCKFILE: `${folder}/xtables.lock`,
  };
}

const mendwall = (line: string): Promise<Ran> => sh(`$M ${line}`);
const rules = async (): Promise<string> =>
  (await sh("iptables-save | grep -v -e '^#' -e ':mw-'; ip6tables-save | grep -v -e '^#' -e ':mw-'")).out;
const displace = (): Promise<Ran> => sh('iptables -I FORWARD 1 -j LIBVIRT_FWX; iptables -D FORWARD 3');

/** The daemon, when it has said that it guards. */
async function startDaemon(...args: readonly string[]): Promise<ChildProcess> {
  const words = ['--state', `${folder}/state`, '--config', `${folder}/mendwall.toml`];
  const daemon = spawn('nsenter', inside(process.execPath, PROGRAM, 'run', ...args, ...words), {
    env: environment(),
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  daemons.push(daemon);
  for await (const data of daemon.stderr ?? []) if (String(data).includes('guarding in')) break;
  daemon.stderr?.resume();
  return daemon;
}

async function until(what: () => Promise<boolean>): Promise<void> {
  for (const endMs = performance.now() + 10_000; !(await what());) {
    if (performance.now() > endMs) throw new Error('it did not become so in 10 s');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe('the command line on real iptables', () => {
  it('goes from init over drift to mended, with the exit codes of each', async () => {
    expect((await mendwall('init')).exitCode).toBe(0);
    expect((await mendwall('init')).exitCode).toBe(5);
    expect(await mendwall('diff')).toMatchObject({ exitCode: 0, out: '' });
    expect((await mendwall('status')).exitCode).toBe(3);
    const before = await rules();
    await displace();
    expect((await mendwall('diff')).exitCode).toBe(1);
    expect((await mendwall('status')).exitCode).toBe(1);
    expect((await mendwall('mend')).exitCode).toBe(1);
    expect(await rules()).not.toBe(before);
    expect(await mendwall('mend --mode merge')).toMatchObject({
      exitCode: 0,
      out: expect.stringMatching(/^mended ip filter/) as string,
    });
    expect(await rules()).toBe(before);
    expect(await mendwall('mend --mode merge')).toMatchObject({ exitCode: 0, out: 'unchanged\n' });
  });

  it('takes a snapshot, lists it, and restores the one before', async () => {
    await mendwall('init');
    const before = await rules();
    await sh('iptables -A INPUT -s 10.1.1.1 -j DROP');
    expect(await mendwall('snapshot -m "one more"')).toMatchObject({
      exitCode: 0,
      out: expect.stringContaining('10.1.1.1') as string,
    });
    expect((await mendwall('snapshot list')).out).toContain('one more');
    expect((await mendwall('restore latest~1')).exitCode).toBe(5);
    expect((await mendwall('restore latest~1 --yes')).exitCode).toBe(0);
    expect(await rules()).toBe(before);
  });

  it('prints snapshots that plain iptables-restore loads', async () => {
    await mendwall('init');
    const { out } = await mendwall('snapshot show --json');
    const { user } = JSON.parse(out) as { user: { ip: string; ip6: string } };
    expect(await sh('iptables-restore --test', user.ip)).toMatchObject({ exitCode: 0, err: '' });
    expect(await sh('ip6tables-restore --test', user.ip6)).toMatchObject({ exitCode: 0, err: '' });
  });

  it('changes nothing with a dry run of any writing command', async () => {
    await mendwall('init');
    await mendwall('pause');
    await displace();
    await sh('iptables -A INPUT -s 10.1.1.1 -j DROP');
    const seen = async (): Promise<string> =>
      (await rules()) + (await sh(`cd ${folder}; find state -type f | sort | xargs sha256sum`)).out;
    const before = await seen();
    for (const line of [
      'init --force -n',
      'snapshot -n',
      'restore latest -n',
      'mend -n --mode merge',
      'accept -n',
      'pause -n',
      'resume -n',
      'snapshot prune -n',
      `hooks install -n --folder ${folder}/hooks`,
      `hooks remove -n --folder ${folder}/hooks`,
    ]) {
      const { err } = await mendwall(line);
      expect(err, line).not.toContain('internal error');
      expect(await seen(), line).toBe(before);
    }
  });

  it('takes an accepted wipe as meant', async () => {
    await mendwall('init');
    await sh('iptables -F');
    expect((await mendwall('mend --mode merge')).exitCode).toBe(0);
    expect((await rules()).includes('--dport 22')).toBe(true);
    expect((await mendwall('accept')).exitCode).toBe(0);
    expect((await rules()).includes('--dport 22')).toBe(false);
    expect(await mendwall('mend --mode merge')).toMatchObject({ out: 'unchanged\n' });
  });

  it('ends with 4 and the name of who holds the lock', async () => {
    await mendwall('init');
    const holder = sh(`flock $MENDWALL_RUN/pass-$(readlink /proc/self/ns/net | tr -dc 0-9).lock sleep 2`);
    await new Promise((resolve) => setTimeout(resolve, 200));
    const told = await mendwall('mend --wait 0.2');
    expect(told).toMatchObject({ exitCode: 4, out: '' });
    expect(told.err).toContain('holds the lock; nothing was done');
    expect((await mendwall('mend')).exitCode).toBe(0);
    await holder;
  });

  it('tells others than root that it needs root, with 7 and one line', async () => {
    await mendwall('init');
    await sh(`chmod 0755 ${folder}`);
    for (const line of [
      'status',
      'diff',
      'explain tcp to 10.1.1.1',
      'log',
      'mend',
      'snapshot',
      'restore latest',
      'run',
      'pause',
      'accept',
    ]) {
      // The program itself must be readable for them.
      const copy = `${folder}/program`;
      const told = await sh(
        `rm -rf ${copy}; cp -r ${dirname(PROGRAM)} ${copy}; chmod -R a+rX ${copy}; M="\${M/${PROGRAM.replaceAll('/', '\\/')}/${`${copy}/mendwall.cjs`.replaceAll('/', '\\/')}}"; setpriv --reuid 65534 --regid 65534 --clear-groups $M ${line}`,
      );
      expect(told.err.trimEnd().split('\n'), line).toHaveLength(1);
      expect(told, line).toMatchObject({ exitCode: 7, out: '' });
    }
  });

  it('ends quietly when nobody reads on', async () => {
    await sh(
      'for i in $(seq 1 3000); do echo "-A INPUT -s 10.9.$((i/250)).$((i%250)) -j DROP"; done | { echo "*filter"; cat; echo COMMIT; } | iptables-restore --noflush',
    );
    await mendwall('init -q');
    await sh('iptables -F INPUT');
    for (const line of ['diff', 'snapshot show', 'log'])
      expect(await sh(`$M ${line} | head -1`)).toMatchObject({ exitCode: 0, err: '' });
  });

  it('mends for what a hook left in the spool, names the hook, and leaves the spool empty', async () => {
    await mendwall('init');
    const hook = `mkdir -p -m 0750 $MENDWALL_RUN/spool; install -m 0755 ${HOOK} ${folder}/network; MENDWALL_SPOOL=$MENDWALL_RUN/spool ${folder}/network default started begin -`;
    await displace();
    await sh(hook);
    const told = await mendwall('mend --trigger spool --mode merge');
    expect(told).toMatchObject({
      exitCode: 0,
      out: expect.stringContaining('libvirt hook network started default') as string,
    });
    expect((await sh('ls $MENDWALL_RUN/spool')).out).toBe('');
    await sh(hook);
    await startDaemon();
    expect(await mendwall('mend --trigger spool')).toMatchObject({ exitCode: 0, out: '' });
  });

  it('follows the log until it is interrupted', async () => {
    await mendwall('init');
    const following = sh('timeout --signal=INT 3 $M log -f -n 0');
    await new Promise((resolve) => setTimeout(resolve, 800));
    await mendwall('pause --for 1m');
    expect(await following).toMatchObject({ err: '', out: expect.stringMatching(/paused until [^\n]+\n$/) as string });
  });

  it('works in a namespace of ip-netns by name, with folders of its own', async () => {
    const name = `mwc${process.pid}`;
    try {
      expect(
        (await sh(`ip netns add ${name} && ip netns exec ${name} iptables -A INPUT -s 10.7.7.7 -j DROP`)).exitCode,
      ).toBe(0);
      const told = await sh(
        `${process.execPath} ${PROGRAM} --config ${folder}/mendwall.toml --state ${folder}/other --netns ${name} init -v`,
      );
      expect(told).toMatchObject({ exitCode: 0, out: expect.stringContaining('10.7.7.7') as string });
      expect((await sh(`${process.execPath} ${PROGRAM} --netns ${name}x status`)).exitCode).toBe(2);
    } finally {
      await sh(`ip netns del ${name}`);
    }
  });
});

describe('the command line with a daemon', () => {
  it('lets it do the writing, and the daemon goes on guarding', async () => {
    await mendwall('init');
    await startDaemon('--mode', 'merge');
    expect((await mendwall('status')).exitCode).toBe(0);
    expect((await mendwall('run')).exitCode).toBe(4);
    await sh('iptables -A INPUT -s 10.1.1.1 -j DROP');
    expect((await mendwall('snapshot --json')).out).toContain('10.1.1.1');
    const before = await rules();
    await displace();
    await until(async () => (await rules()) === before);
    expect(await mendwall('diff')).toMatchObject({ exitCode: 0 });
    expect((await mendwall('restore latest~1 --yes')).exitCode).toBe(0);
    expect(await rules()).not.toContain('10.1.1.1');
    expect((await mendwall('log')).out).toContain('(restore)');
  });

  it('pauses it, and resume mends what happened meanwhile', async () => {
    await mendwall('init');
    await startDaemon('--mode', 'merge');
    const before = await rules();
    expect((await mendwall('pause --for 1h')).exitCode).toBe(0);
    await displace();
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(await rules()).not.toBe(before);
    expect((await mendwall('status')).out).toMatch(/^paused +until/m);
    expect((await mendwall('resume')).exitCode).toBe(0);
    expect(await rules()).toBe(before);
  });

  it('says that a hung one does not answer, with 4, and reads the configuration again at SIGHUP', async () => {
    await mendwall('init');
    const daemon = await startDaemon();
    daemon.kill('SIGSTOP');
    const told = await mendwall('mend');
    expect(told).toMatchObject({ exitCode: 4, err: expect.stringContaining('did not answer in 5 s') as string });
    daemon.kill('SIGCONT');
    await sh(`echo 'mode = "merge"' > ${folder}/mendwall.toml`);
    expect((await mendwall('status')).out).toMatch(/^mode +observe/m);
    daemon.kill('SIGHUP');
    await until(async () => /^mode +merge/m.test((await mendwall('status')).out));
  });

  it('stops at SIGTERM with 0 and leaves every rule', async () => {
    await mendwall('init');
    const daemon = await startDaemon('--mode', 'merge');
    const before = await rules();
    const ended = once(daemon, 'exit');
    daemon.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
    expect(await rules()).toBe(before);
    expect((await mendwall('status')).exitCode).toBe(3);
    expect((await sh(`ls ${folder}/run/control.sock`)).exitCode).not.toBe(0);
  });
});
