// Whose voice is it? Each row of the design's table with real programs, on iptables-nft with a real libvirtd.

import { afterEach, describe, expect, it } from 'vitest';

import { iptables, restoreFile } from './actors.ts';
import { expectSound, type Stage, wallNow } from './deed-check.ts';
import { mendwall } from './guard-process.ts';
import type { Hypervisor } from './host.ts';
import { type StageOptions, upStage } from './scenario-suite.ts';
import { CHANGED_USER_RULES, rulesOf, USER_RULES } from './user-rules.ts';
import { usersOf, type Wall, wallOf } from './yardstick.ts';

let running: Hypervisor[] = [];

/** `config` goes into mendwall.toml before the guard starts. */
async function up(config = '', options: Partial<StageOptions> = {}): Promise<Stage> {
  const stage = await upStage('nft', { ...options, config });
  running.push(stage.hypervisor);
  return stage;
}

afterEach(async () => {
  await Promise.all(running.map((hypervisor) => hypervisor.down()));
  running = [];
});

async function rulesIn({ hypervisor }: Stage, place: string): Promise<readonly string[]> {
  return (await wallNow(hypervisor)).rules.get(place) ?? [];
}

async function driftOf({ hypervisor }: Stage): Promise<readonly string[]> {
  const status = await mendwall(hypervisor, 'status', '--json');
  expect(status.stdout, `exit ${status.exitCode}: ${status.stderr}`).not.toBe('');
  const { drift } = JSON.parse(status.stdout) as { drift: { kind: string; text: string }[] };
  return drift.map(({ kind, text }) => `${kind} ${text}`.trim());
}

async function run({ hypervisor }: Stage, ...args: readonly string[]): Promise<string> {
  const result = await mendwall(hypervisor, ...args);
  expect([0, 1], `mendwall ${args.join(' ')}: ${result.stderr}${result.stdout}`).toContain(result.exitCode);
  return result.stdout;
}

const USERS: Wall = usersOf(wallOf(USER_RULES));
const DROP = '-A ADMIN -s 198.51.100.77/32 -j DROP';

describe('single rules', () => {
  it('added, deleted and replaced by hand: pending, kept by later merges, adopted by snapshot', async () => {
    const stage = await up();
    await iptables(stage.hypervisor, '-A ADMIN -s 203.0.113.9/32 -j DROP');
    await iptables(stage.hypervisor, '-D ADMIN 1');
    await stage.guard.idle();
    const left = await rulesIn(stage, 'ip filter ADMIN');
    expect(await driftOf(stage)).toEqual([
      'pending -A ADMIN -s 203.0.113.9/32 -j DROP',
      `pending ${DROP.replace('-A', '-D')}`,
    ]);
    await stage.hypervisor.sh('iptables -F');
    await stage.guard.idle();
    expect(await rulesIn(stage, 'ip filter ADMIN')).toEqual(left);
    await run(stage, 'snapshot', '--yes', '-m', 'as it is');
    expect(await driftOf(stage)).toEqual([]);
  });

  it('undone by restore', async () => {
    const stage = await up();
    await iptables(stage.hypervisor, '-D ADMIN 1');
    await stage.guard.idle();
    await run(stage, 'restore', 'latest', '--yes');
    await stage.guard.idle();
    await expectSound(stage, USERS, 'restore latest');
    expect(await driftOf(stage)).toEqual([]);
  });

  it('deleted while on_delete = "restore": back at once, and who did it is in the log', async () => {
    const stage = await up('[user]\non_delete = "restore"\n');
    await iptables(stage.hypervisor, '-D ADMIN 1');
    await stage.guard.idle();
    await expectSound(stage, USERS, 'a deletion under on_delete = restore');
    expect(await run(stage, 'log')).toMatch(/damage in ip filter.*by iptables pid \d+ <- sh pid \d+/);
  });

  it('deleted by a process known as a neighbour: damage, restored; accept means it', async () => {
    const stage = await up();
    await stage.hypervisor.sh('cp /bin/sh /run/lab/libvirtd');
    const result = await stage.hypervisor.exec('/run/lab/libvirtd', ['-c', 'iptables -w -D ADMIN 1; true']);
    expect(result.exitCode).toBe(0);
    await stage.guard.idle();
    await expectSound(stage, USERS, 'damage');
    const [pass = ''] = (await run(stage, 'log', '-n', '1')).match(/(?<=  )[0-9a-f]{7,}(?=  )/) ?? [];
    await run(stage, 'accept', ...(pass === '' ? [] : [pass]), '--yes');
    await stage.guard.idle();
    expect(await rulesIn(stage, 'ip filter ADMIN')).not.toContain(DROP);
  });
});

describe('loads', () => {
  /** Fewer than half of the snapshot's rules are in it. */
  const OTHER = `*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -p tcp -m tcp --dport 2222 -j ACCEPT\n-A FORWARD -m mark --mark 0x7 -j DROP\nCOMMIT\n`;

  it('of a quite different ruleset: replaced, neighbours put back around it, the snapshot kept; accept adopts it', async () => {
    const stage = await up();
    await stage.hypervisor.sh('iptables-restore', { input: OTHER });
    await stage.guard.idle();
    const now = await wallNow(stage.hypervisor);
    // No catch-all and no rule of before: libvirt's default place is the end.
    expect(now.rules.get('ip filter INPUT')).toEqual([
      '-A INPUT -p tcp -m tcp --dport 2222 -j ACCEPT',
      '-A INPUT -j LIBVIRT_INP',
    ]);
    expect(now.rules.get('ip filter FORWARD')).toContain('-A FORWARD -j LIBVIRT_FWI');
    expect(stage.guard.logSince(0).filter((line) => /^warning.*replaced ip filter/.test(line))).toHaveLength(1);
    expect((await mendwall(stage.hypervisor, 'status')).exitCode).toBe(1);
    await run(stage, 'accept', '--yes');
    expect(await driftOf(stage)).toEqual([]);
  });

  it('of a quite different ruleset: `restore latest` brings the old one back', async () => {
    const stage = await up();
    await stage.hypervisor.sh('iptables-restore', { input: OTHER });
    await stage.guard.idle();
    await run(stage, 'restore', 'latest', '--yes');
    await stage.guard.idle();
    await expectSound(stage, USERS, 'restore latest after replaced');
  });

  it('of a quite different ruleset by a known loader: adopted', async () => {
    const stage = await up();
    const { hypervisor } = stage;
    hypervisor.writeFile('/run/lab/other', OTHER);
    hypervisor.writeFile('/run/lab/netfilter-persistent', '#!/bin/sh\niptables-restore < /run/lab/other\ntrue\n');
    // On a busy machine the loader may have ended before /proc could be read; then it is `replaced`, and is loaded again.
    for (let tries = 0; tries < 3; tries++) {
      await run(stage, 'restore', 'latest', '--yes');
      await hypervisor.sh('sh /run/lab/netfilter-persistent');
      await stage.guard.idle();
      if ((await driftOf(stage)).length === 0) break;
    }
    expect((await rulesIn(stage, 'ip filter INPUT'))[0]).toBe('-A INPUT -p tcp -m tcp --dport 2222 -j ACCEPT');
    expect(await driftOf(stage), stage.guard.logSince(0).join('\n')).toEqual([]);
    expect(await run(stage, 'log')).toMatch(/load of ip filter, adopted as snapshot/);
  });

  it('while on_load = "restore": the snapshot is put back', async () => {
    const stage = await up('[user]\non_load = "restore"\n');
    await restoreFile(stage.hypervisor, CHANGED_USER_RULES);
    await stage.guard.idle();
    await expectSound(stage, USERS, 'a load under on_load = restore');
  });
});

describe('a policy', () => {
  it('changed by itself is pending, shown with its author, and never undone', async () => {
    const stage = await up();
    await iptables(stage.hypervisor, '-P FORWARD DROP');
    await stage.guard.idle();
    await stage.hypervisor.libvirtd.restart();
    await stage.guard.idle();
    expect((await wallNow(stage.hypervisor)).policies.get('ip filter FORWARD')).toBe('DROP');
    expect(await driftOf(stage)).toEqual(['policy -P FORWARD DROP']);
    expect(await run(stage, 'log')).toMatch(/pending in ip filter.*by iptables pid \d+/);
  });
});

describe('a rule that cannot be loaded now', () => {
  const MATCH = '-m set --match-set blocked src -j DROP';

  it('is held as waiting, the others load, a held drop is an error line, and it returns with its set', async () => {
    const stage = await up();
    const { hypervisor, guard } = stage;
    const hasIpset = (await hypervisor.exec('sh', ['-c', 'ipset create blocked hash:ip'])).exitCode === 0;
    expect(hasIpset, 'the lab needs ipset').toBe(true);
    await iptables(hypervisor, `-I INPUT 3 ${MATCH}`);
    await guard.idle();
    await run(stage, 'snapshot', '--yes');
    const whole = usersOf(await wallNow(hypervisor));
    await hypervisor.sh('nft flush ruleset; ipset destroy blocked');
    await guard.process.waitFor(/^error.*waiting ip filter INPUT.*blocked/, 10_000);
    await guard.idle();
    const without = new Map(whole.rules).set(
      'ip filter INPUT',
      whole.rules.get('ip filter INPUT')!.filter((rule) => !rule.includes('blocked')),
    );
    await expectSound(stage, { ...whole, rules: without }, 'one rule held');
    expect((await driftOf(stage)).filter((drift) => drift.startsWith('waiting'))).toHaveLength(1);
    await hypervisor.sh('ipset create blocked hash:ip');
    await iptables(hypervisor, '-A ADMIN -s 203.0.113.1/32 -j DROP'); // any next event
    await guard.idle();
    const back = new Map(whole.rules).set('ip filter ADMIN', [
      ...whole.rules.get('ip filter ADMIN')!,
      '-A ADMIN -s 203.0.113.1/32 -j DROP',
    ]);
    await expectSound(stage, { ...whole, rules: back }, 'the set is back');
    expect(rulesOf((await hypervisor.save()).ip, 'INPUT').filter((rule) => rule.includes('blocked'))).toEqual([
      `-A INPUT ${MATCH}`,
    ]);
  });
});
