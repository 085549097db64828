// Pinned drops that belong to the daemon's own nft: what others can no longer do, and that no end of a process opens a drop.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { debian13Root, DEBIAN_13_TIMEOUT_MS } from './debian-13.ts';
import { initGuard, mendwall, startGuard, type GuardProcess, writeConfig } from './guard-process.ts';
import { upHypervisor, type Hypervisor } from './host.ts';
import { report } from './netns-host.ts';
import type { LabProcess } from './place.ts';

const RULES = `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 23 -j DROP
-A FORWARD -p udp -m udp --dport 1001 -j DROP
COMMIT
`;
const DROP = 'FORWARD -p udp -m udp --dport 1001 -j DROP';
const PINNED = 'udp dport 1001 counter drop';

let hypervisor: Hypervisor;
let guard: GuardProcess;

async function up(libvirt: '11' | false): Promise<void> {
  hypervisor = await upHypervisor({ name: 'pins-owner', libvirt });
  await hypervisor.sh('iptables-restore', { input: RULES });
  await initGuard(hypervisor);
  await writeConfig(hypervisor, '[user]\npin_drops = true\npin_owner = true\n');
  guard = await startGuard(hypervisor);
}

const pins = async (): Promise<string> =>
  (await hypervisor.exec('nft', ['-s', 'list', 'table', 'ip', 'mendwall'])).stdout;
const nftPid = async (): Promise<string> => (await hypervisor.exec('pgrep', ['-f', '^nft -i'])).stdout.trim();

async function until(what: string, holds: () => Promise<boolean>): Promise<number> {
  const startMs = performance.now();
  while (!(await holds()))
    if (performance.now() - startMs > 8000) throw new Error(`not after 8 s: ${what}\n${await pins()}`);
  return Math.round(performance.now() - startMs);
}
const isOwned = async (): Promise<boolean> => (await pins()).includes('flags owner,persist');

describe('pins of an owner, with the nft of Debian 13', () => {
  let monitor: LabProcess;
  beforeAll(async () => {
    await debian13Root();
    await up('11');
    monitor = hypervisor.spawn('nft', ['monitor']);
  }, DEBIAN_13_TIMEOUT_MS);
  afterAll(() => hypervisor?.down());

  /** Transactions that took the table away and did not bring it back. */
  function lonelyDeletes(): number {
    const commits = monitor.lines.join('\n').split(/^# new generation .*$/m);
    return commits.filter((text) => /^delete table ip mendwall/m.test(text) && !/^add table ip mendwall/m.test(text))
      .length;
  }

  it('are the daemon’s alone, and `status` says what that means', async () => {
    expect(await pins()).toMatch(/^table ip mendwall \{ # progname .*\n\tflags owner,persist\n/);
    expect(await pins()).toContain(PINNED);
    const { pins: told } = JSON.parse((await mendwall(hypervisor, 'status', '--json')).stdout) as {
      pins: { owner: unknown };
    };
    expect(told.owner).toEqual({ held: true });
    const status = await mendwall(hypervisor, 'status');
    expect([status.exitCode, status.stdout]).toEqual([0, expect.stringContaining('fails as a whole')]);
    const { passes } = await guard.status();
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect((await guard.status()).passes).toBe(passes);
  });

  it('stand through a flush by anybody, who can neither change nor delete them', async () => {
    const before = await hypervisor.sh('nft -a -s list table ip mendwall');
    const refused = await hypervisor.exec('nft', ['delete', 'table', 'ip', 'mendwall']);
    expect([refused.exitCode, refused.stderr]).toEqual([1, expect.stringContaining('Operation not permitted')]);
    const saved = `table inet mine { }\n${await pins()}`;
    const load = await hypervisor.exec('nft', ['-f', '-'], { input: saved });
    expect([load.exitCode, (await hypervisor.sh('nft list tables')).includes('inet mine')]).toEqual([1, false]);
    await hypervisor.sh('nft flush ruleset');
    expect(await hypervisor.sh('nft -a -s list table ip mendwall')).toBe(before);
    await until('the rules are back', async () => (await hypervisor.sh('iptables-save')).includes(`-A ${DROP}`));
    await guard.idle();
    expect(await pins()).toContain(PINNED);
    expect(lonelyDeletes()).toBe(0);
  });

  it('follow the user’s word', async () => {
    await hypervisor.sh(`iptables -D ${DROP}`);
    await until('the pin goes with its rule', async () => !(await pins()).includes(PINNED));
    expect(await isOwned()).toBe(true);
    await hypervisor.sh(`iptables -A ${DROP}`);
    await until('the pin comes with its rule', async () => (await pins()).includes(PINNED));
    await guard.idle();
  });

  it('outlive kill -9 of their nft, and are another one’s without a moment in which they are gone', async () => {
    const pid = await nftPid();
    const mark = guard.logMark();
    await hypervisor.sh(`kill -KILL ${pid}`);
    const ms = await until('another nft holds them', async () => (await isOwned()) && (await nftPid()) !== pid);
    report(`pins: taken over ${ms} ms after kill -9 of their nft`);
    await guard.idle();
    expect(guard.logSince(mark).join('\n')).toContain('belong to nobody: nft -i ended');
    expect((await guard.status()).pins).toMatchObject({ kind: 'pinned', owner: { held: true } });
    expect([(await pins()).includes(PINNED), lonelyDeletes()]).toEqual([true, 0]);
  });

  it('outlive kill -9 of the daemon, and are the next one’s, again without a moment', async () => {
    await guard.kill();
    await until('nobody holds them', async () => /^\tflags persist$/m.test(await pins()));
    expect(await pins()).toContain(PINNED);
    guard = await startGuard(hypervisor);
    await until('the next one holds them', isOwned);
    expect([(await pins()).includes(PINNED), lonelyDeletes()]).toEqual([true, 0]);
  });

  it('do not stand in a pause, nor when the daemon has stopped, and no nft stays', async () => {
    await mendwall(hypervisor, 'pause');
    await until('they are gone', async () => (await pins()) === '');
    expect([await nftPid(), lonelyDeletes()]).toEqual(['', 1]);
    await mendwall(hypervisor, 'resume');
    await until('they are back', isOwned);
    await guard.idle();
    expect(await guard.stop()).toBe(0);
    expect([await pins(), await nftPid()]).toEqual(['', '']);
  });

  it('that a killed daemon left go with the next one that only looks, or stand without an owner when that is not asked', async () => {
    guard = await startGuard(hypervisor);
    await until('they are held', isOwned);
    await guard.kill();
    await writeConfig(hypervisor, '[user]\npin_drops = true\n');
    guard = await startGuard(hypervisor);
    await until(
      'they stand without flags',
      async () => (await pins()).includes(PINNED) && !(await pins()).includes('flags'),
    );
    expect(await guard.stop()).toBe(0);
    await hypervisor.sh('nft -f -', { input: 'table ip mendwall { flags persist; }\n' });
    await writeConfig(hypervisor, '[user]\npin_owner = true\n');
    guard = await startGuard(hypervisor, { mode: 'observe' });
    expect(await pins()).toBe('');
    expect(guard.logSince(0).join('\n')).toContain('user.pin_owner does nothing without user.pin_drops');
    await guard.stop();
  });
});

describe('pins of an owner, with an nft that has none (1.0.6)', () => {
  beforeAll(() => up(false));
  afterAll(() => hypervisor?.down());

  it('stand without one, and `status` says why', async () => {
    expect(await pins()).toContain(PINNED);
    expect(await pins()).not.toContain('flags');
    expect(await nftPid()).toBe('');
    expect((await guard.status()).pins).toMatchObject({
      kind: 'pinned',
      owner: { held: false, why: expect.stringContaining('syntax error') as unknown },
    });
    const status = await mendwall(hypervisor, 'status');
    expect([status.exitCode, status.stdout]).toEqual([
      0,
      expect.stringContaining('pins of   nobody: nft or the kernel has no `owner,persist`'),
    ]);
    expect(await guard.stop()).toBe(0);
    expect(await pins()).toBe('');
  });
});
