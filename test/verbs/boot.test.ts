// `boot` in memory: which rules are loaded, and which word of a refused one is named. The lab has the rest (boot.lab.ts).

import { describe, expect, it } from 'vitest';
import { boot, type BootResult } from '../../src/verbs/boot.ts';
import { wordAtFault } from '../../src/verbs/boot-faults.ts';
import { init } from '../../src/verbs/init.ts';
import { type LiveWorld, openWorld, unlessRefused } from './fixture.ts';

async function bootedWorld(): Promise<LiveWorld> {
  const world = await openWorld();
  await init(world, { from: [], place: 'as-found', force: false, dryRun: false });
  await world.run('nft flush ruleset');
  return world.again();
}

const load = async (world: LiveWorld, dryRun = false): Promise<BootResult> =>
  unlessRefused(await boot(world, { dryRun }));

describe('boot', () => {
  it('loads rules and policies of the snapshot, and none of libvirt', async () => {
    const world = await bootedWorld();
    const loaded = await load(world);
    expect(loaded).toMatchObject({ changed: true, faults: [] });
    expect(loaded.outcome.drift.filter(({ owner }) => owner === 'user')).toEqual([]);
    const saved = await world.run('iptables-save');
    expect(saved).toMatch(/^:FORWARD DROP/m);
    expect(saved).toContain('-A web -s 10.0.0.0/8 -j ACCEPT');
    expect(saved).not.toContain('LIBVIRT');
    expect(await load(await world.again())).toMatchObject({ changed: false, faults: [] });
  });

  it('writes nothing with --dry-run', async () => {
    const world = await bootedWorld();
    const before = await world.run('iptables-save');
    expect(await load(world, true)).toMatchObject({ changed: false });
    expect(await world.run('iptables-save')).toBe(before);
  });

  it('without a snapshot says so', async () => {
    expect(await boot(await openWorld(), { dryRun: false })).toMatchObject({ code: 'no-snapshot' });
  });
});

describe('the word at fault', () => {
  it.each([
    [
      '-A INPUT -m set --match-set banned src -j DROP',
      "iptables-restore v1.8.9 (nf_tables): Set banned doesn't exist.",
      'banned',
    ],
    ['-A INPUT -m geoip --source-country DE', "Couldn't load match `geoip':No such file or directory", 'geoip'],
    ['iif "virbr0" accept', 'Interface does not exist', 'virbr0'],
    ['-A INPUT -j ACCEPT', 'line 3 failed', '-A'],
  ])('of %s', (rule, said, word) => {
    expect(wordAtFault(rule, said)).toBe(word);
  });
});
