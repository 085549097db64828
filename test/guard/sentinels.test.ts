import { describe, expect, it } from 'vitest';

import { runPass } from '../../src/pass.ts';
import type { PassRequest } from '../../src/pass/types.ts';
import { armSentinels, dropSentinels } from '../../src/guard/sentinels.ts';
import { init } from '../../src/verbs/init.ts';
import { openWorld, type LiveWorld } from '../verbs/fixture.ts';

const LOOK: PassRequest = {
  trigger: 'start',
  mode: 'merge',
  dryRun: false,
  scope: undefined,
  summaries: () => new Map(),
  burstOver: true,
  repair: false,
  neighboursQuiet: true,
  standDown: new Set<string>(),
  by: [],
};
/** The jump that libvirt's restart puts on top. */
const JUMP = '-A FORWARD -j LIBVIRT_FWX';

async function armed(): Promise<LiveWorld> {
  const world = await openWorld();
  const made = await init(world, { from: [], place: 'as-found', force: false, dryRun: false });
  if (made.kind === 'refused') throw new Error(made.message);
  await runPass(world.context, LOOK);
  await armSentinels(world.context);
  return world;
}

const sentinels = async (world: LiveWorld): Promise<string[]> =>
  (await world.run('iptables-save')).split('\n').filter((line) => line.startsWith(':mw-'));

describe('sentinels made ahead of need', () => {
  it('stand in each table with rules of the user, and in no other', async () => {
    const world = await armed();
    await world.run('iptables -t nat -N other');
    await runPass(world.context, LOOK);
    await armSentinels(world.context);
    expect(await sentinels(world)).toHaveLength(1);
    expect(await world.run('ip6tables-save')).not.toContain('mw-');
  });

  it('are not made twice', async () => {
    const world = await armed();
    const before = await sentinels(world);
    await runPass(world.context, LOOK);
    await armSentinels(world.context);
    expect(await sentinels(world)).toEqual(before);
  });

  it('spare the first mend its own commit and read: one read, one commit, one read back', async () => {
    const world = await armed();
    await world.run('iptables -D FORWARD -j LIBVIRT_FWX');
    await world.run('iptables -I FORWARD 1 -j LIBVIRT_FWX');
    const ran: string[] = [];
    world.fake.beforeExec(({ file }) => void ran.push(file));
    const outcome = await runPass(world.context, {
      ...LOOK,
      trigger: 'event',
      scope: [{ family: 'ip', table: 'filter' }],
      burstOver: false,
    });
    world.fake.beforeExec(undefined);
    expect(outcome.kind).toBe('mended');
    expect(ran).toEqual(['iptables-save', 'iptables-restore', 'iptables-save']);
    expect((await world.chain('FORWARD'))[0]).not.toBe(JUMP);
  });

  it('go at a clean stop, and the rules stay as they were', async () => {
    const world = await armed();
    const rules = await world.chain('FORWARD');
    await dropSentinels(world.context);
    expect(await sentinels(world)).toEqual([]);
    expect(await world.chain('FORWARD')).toEqual(rules);
  });
});
