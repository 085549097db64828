// libvirt's nwfilter beside a guard in merge mode: it re-inserts its jumps at fixed places 1, 2, 3, and must find them so.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { restoreFile } from './actors.ts';
import { type Stage, wallNow } from './deed-check.ts';
import { mendwall } from './guard-process.ts';
import { type Engine } from './host.ts';
import { upStage } from './scenario-suite.ts';
import { LAB_FILTER } from './tcg-guest.ts';
import { rulesOf, USER_RULES, userLines } from './user-rules.ts';

const JUMPS = ['-A FORWARD -j libvirt-in', '-A FORWARD -j libvirt-out', '-A FORWARD -j libvirt-in-post'];

async function untilTrue(test: () => Promise<boolean>, timeoutMs: number): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!(await test()) && performance.now() < endMs) await new Promise((resolve) => setTimeout(resolve, 100));
}

/** Everything of nwfilter's, place by place. */
async function filterRules(stage: Stage): Promise<Record<string, readonly string[]>> {
  const { rules } = await wallNow(stage.hypervisor);
  return Object.fromEntries([...rules].filter(([place]) => /libvirt-|[FH][IO]-vnet/.test(place)));
}

/** nwfilter's jumps on top in its own order, then the user's rules in theirs, libvirt's jumps among them. */
async function expectOrder(stage: Stage, what: string): Promise<void> {
  const log = stage.guard.logSince(Math.max(0, stage.guard.logMark() - 10)).join('\n');
  const { rules } = await wallNow(stage.hypervisor);
  const [forward, input] = [rules.get('ip filter FORWARD')!, rules.get('ip filter INPUT')!];
  expect(forward.slice(0, 3), `${what}\n${forward.join('\n')}\n${log}`).toEqual(JUMPS);
  expect(input[0], what).toBe('-A INPUT -j libvirt-host-in');
  const users = [...userLines(forward.join('\n')), ...userLines(input.join('\n'))];
  expect(users, what).toEqual([...rulesOf(USER_RULES.ip, 'FORWARD'), ...rulesOf(USER_RULES.ip, 'INPUT')]);
  expect(new Set(forward).size, what).toBe(forward.length);
}

describe.each(['nft', 'legacy'] as const)('a guest with an L3 filter on iptables-%s', (engine: Engine) => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await upStage(engine, { nwfilter: true });
    await stage.hypervisor.startTcgGuest('filtered', undefined, LAB_FILTER);
    await stage.hypervisor.libvirtd.quiet(600);
    await stage.guard.idle();
  });
  afterAll(() => stage.hypervisor.down());

  it('starts: its jumps keep their order, the user rules stay below libvirt-in-post', () =>
    expectOrder(stage, 'guest start'));

  it('a user rule pushed down by it is no fight: two more starts, and at most one repair each', async () => {
    const { hypervisor, guard } = stage;
    const mark = guard.logMark();
    for (const name of ['second', 'third']) {
      await hypervisor.startTcgGuest(name, undefined, LAB_FILTER);
      await hypervisor.libvirtd.quiet(600);
      await guard.idle();
      await expectOrder(stage, `${name} start`);
      await hypervisor.stopTcgGuest(name);
      await hypervisor.libvirtd.quiet(600);
      await guard.idle();
      await expectOrder(stage, `${name} stop`);
    }
    expect(guard.logSince(mark).filter((line) => line.includes('contended'))).toEqual([]);
    expect(guard.logSince(mark).filter((line) => /displaced/.test(line)).length).toBeLessThanOrEqual(2);
  });

  it.each([
    ['SIGHUP', (at: Stage) => at.hypervisor.libvirtd.sighup()],
    ['Reloaded', (at: Stage) => at.hypervisor.reloaded()],
    ['libvirtd restart', (at: Stage) => at.hypervisor.libvirtd.restart()],
  ] as const)('survives %s', async (name, deed) => {
    const before = await filterRules(stage);
    await deed(stage);
    await stage.hypervisor.libvirtd.quiet(800);
    await stage.guard.idle();
    await expectOrder(stage, name);
    expect(await filterRules(stage)).toEqual(before);
  });

  it.each([
    ['iptables -F', (at: Stage) => at.hypervisor.sh('iptables -w -F')],
    ['iptables-restore of the admin’s file', (at: Stage) => restoreFile(at.hypervisor)],
  ] as const)('the filter returns after %s', async (name, deed) => {
    const before = await filterRules(stage);
    await deed(stage);
    await stage.guard.idle();
    await untilTrue(async () => JSON.stringify(await filterRules(stage)) === JSON.stringify(before), 8_000);
    await stage.guard.idle();
    expect(await filterRules(stage), stage.guard.logSince(Math.max(0, stage.guard.logMark() - 10)).join('\n')).toEqual(
      before,
    );
    await expectOrder(stage, name);
  });

  it('and nothing is left over when the guest stops', async () => {
    await stage.hypervisor.stopTcgGuest('filtered');
    await stage.hypervisor.libvirtd.quiet(600);
    await stage.guard.idle();
    await expectOrder(stage, 'guest stop');
    expect(Object.keys(await filterRules(stage)).filter((place) => place.includes('vnet'))).toEqual([]);
    expect((await mendwall(stage.hypervisor, 'mend', '--mode', 'merge')).stdout).toBe('unchanged\n');
  });
});
