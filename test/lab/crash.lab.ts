// The guard killed in the middle of things, and several writers at once: nobody's rule is lost or doubled.

import { afterEach, describe, expect, it } from 'vitest';

import { flush, nftFlushRuleset, restartLibvirtd, restartNetwork, restoreFile } from './actors.ts';
import { expectLibvirtSound, expectSound, type Stage, wallNow } from './deed-check.ts';
import { mendwall, startGuard } from './guard-process.ts';
import type { Hypervisor } from './host.ts';
import { seededRandom, upStage } from './scenario-suite.ts';
import { SEED } from '../generate/seed.ts';
import { usersOf } from './yardstick.ts';

const TIMES = process.env['LAB_FULL'] === '1' ? 30 : 6;
let running: Hypervisor[] = [];

async function up(engine: 'nft' | 'legacy'): Promise<Stage> {
  const stage = await upStage(engine);
  running.push(stage.hypervisor);
  return stage;
}

afterEach(async () => {
  await Promise.all(running.map((hypervisor) => hypervisor.down()));
  running = [];
});

/** Each leaves the user's rules as they were, in the end. */
const DEEDS: readonly (readonly [name: string, run: (hypervisor: Hypervisor) => Promise<void>])[] = [
  ['iptables -F', flush],
  ['nft flush ruleset', nftFlushRuleset],
  ['iptables-restore of the same file', (hypervisor) => restoreFile(hypervisor)],
  ['net-destroy and net-start', (hypervisor) => restartNetwork(hypervisor)],
  ['libvirtd restarts', restartLibvirtd],
];

describe.each(['nft', 'legacy'] as const)('on iptables-%s', (engine) => {
  it(`kill -9 in the middle of a deed, ${TIMES} times: the next guard finds its state whole and puts the rules right`, async () => {
    console.info(`kill -9 on iptables-${engine}: SEED=${SEED}`);
    const random = seededRandom(SEED);
    const { hypervisor, guard: first } = await up(engine);
    const deeds = DEEDS.filter(([name]) => engine === 'nft' || !name.startsWith('nft'));
    let guard = first;
    for (let round = 0; round < TIMES; round++) {
      const users = usersOf(await wallNow(hypervisor));
      const [name, deed] = deeds[Math.floor(random() * deeds.length)]!;
      const what = `kill number ${round + 1} during ${name}`;
      const killAfterMs = random() * 400;
      const done = deed(hypervisor);
      await new Promise((resolve) => setTimeout(resolve, killAfterMs));
      await guard.kill();
      await done;
      await hypervisor.libvirtd.quiet(); // what libvirtd was told meanwhile, it finishes
      guard = await startGuard(hypervisor);
      expect(
        guard.logSince(0).filter((line) => /damaged|internal error/.test(line)),
        what,
      ).toEqual([]);
      await guard.idle();
      await expectSound({ hypervisor, guard }, users, `${what}, ${Math.round(killAfterMs)} ms after it began`);
    }
    await expectLibvirtSound({ hypervisor, guard });
    expect((await mendwall(hypervisor, 'snapshot', 'list')).exitCode).toBe(0);
  });

  it('an admin adds and deletes rules one by one while libvirtd restarts and a rival displaces: each is there once', async () => {
    const stage = await up(engine);
    const { hypervisor, guard } = stage;
    const before = usersOf(await wallNow(hypervisor));
    const admin = hypervisor.sh(
      `for n in $(seq 1 120); do
        iptables -w -A ADMIN -s 10.9.$n.0/24 -j RETURN
        [ $((n % 3)) -ne 0 ] || iptables -w -D ADMIN -s 10.9.$n.0/24 -j RETURN
      done`,
      { timeoutMs: 120_000 },
    );
    const rival = hypervisor.sh(
      `cp /bin/sh /run/lab/libvirtd
      /run/lab/libvirtd -c 'for n in 1 2 3 4; do iptables -w -D FORWARD -j LIBVIRT_FWX; iptables -w -I FORWARD 1 -j LIBVIRT_FWX; sleep 0.6; done'`,
      { timeoutMs: 60_000 },
    );
    for (let round = 0; round < 3; round++) await restartLibvirtd(hypervisor);
    await Promise.all([admin, rival]);
    await hypervisor.libvirtd.quiet();
    await guard.idle();
    const added = Array.from({ length: 120 }, (_, index) => index + 1)
      .filter((n) => n % 3 !== 0)
      .map((n) => `-A ADMIN -s 10.9.${n}.0/24 -j RETURN`);
    const rules = new Map(before.rules).set('ip filter ADMIN', [...before.rules.get('ip filter ADMIN')!, ...added]);
    await expectSound(stage, { ...before, rules }, 'three writers at once');
  });
});
