import { describe, expect, it } from 'vitest';
import { init, type InitArgs } from '../../src/verbs/init.ts';
import { mend } from '../../src/verbs/mend.ts';
import { BASE, openWorld, unlessRefused } from './fixture.ts';

const ARGS: InitArgs = { from: [], place: 'as-found', force: false, dryRun: false };
const MEND = { mode: 'merge', dryRun: false, trigger: 'hand', by: ['hand'] } as const;

describe('init', () => {
  it("takes the user's rules and says whose the others are", async () => {
    const world = await openWorld();
    const result = unlessRefused(await init(world, ARGS));
    expect(result.taken.map(({ table, chain, rules }) => `${table} ${chain} ${rules.length}`)).toEqual([
      'filter INPUT 1',
      'filter FORWARD 2',
      'filter web 1',
    ]);
    expect(result.left.map(({ chain, owner, rules }) => `${chain} ${owner} ${rules.length}`)).toEqual([
      'FORWARD libvirt 2',
    ]);
    expect(world.context.memory.snapshotId).toBe(result.id);
  });

  it('changes no live rule, and a pass after it is empty', async () => {
    const world = await openWorld();
    const before = await world.run('iptables-save');
    await init(world, ARGS);
    const result = unlessRefused(await mend(world, MEND));
    expect(result.outcomes.map(({ kind }) => kind)).toEqual(['unchanged']);
    expect((await world.run('iptables-save')).replace(/^#.*$/gm, '')).toBe(before.replace(/^#.*$/gm, ''));
  });

  it('refuses when there is a snapshot, unless forced', async () => {
    const world = await openWorld();
    await init(world, ARGS);
    expect(await init(world, ARGS)).toMatchObject({ kind: 'refused', code: 'snapshot-exists' });
    expect(await init(world, { ...ARGS, force: true })).toMatchObject({ kind: 'init' });
  });

  it('names with a dry run the id that the snapshot then has, and writes nothing', async () => {
    const world = await openWorld();
    const shown = unlessRefused(await init(world, { ...ARGS, dryRun: true }));
    expect(world.context.memory.snapshotId).toBeUndefined();
    expect(world.fake.files.steps()).toBe(0);
    expect(unlessRefused(await init(world, ARGS)).id).toBe(shown.id);
  });

  it("takes the rules from a file, leaves the file's foreign rules out, and IPv6 from the live rules", async () => {
    const world = await openWorld();
    world.fake.files.texts.set('/root/rules.v4', BASE.replace('--dport 22', '--dport 2222'));
    const result = unlessRefused(await init(world, { ...ARGS, from: ['/root/rules.v4'] }));
    expect(result.from).toEqual({ ip: '/root/rules.v4', ip6: 'live' });
    expect(result.taken.find(({ chain }) => chain === 'INPUT')?.rules).toEqual([
      '-A INPUT -p tcp -m tcp --dport 2222 -j ACCEPT',
    ]);
    expect(result.left).toHaveLength(1);
  });

  it('refuses a malformed file with its line, and nft syntax by name', async () => {
    const world = await openWorld();
    world.fake.files.texts.set('/root/rules.v4', '*filter\nnonsense\nCOMMIT\n');
    expect(await init(world, { ...ARGS, from: ['/root/rules.v4'] })).toMatchObject({
      code: 'bad-rules-file',
      message: expect.stringContaining('/root/rules.v4:2:1: bad-line') as string,
    });
    world.fake.files.texts.set('/etc/nftables.conf', 'flush ruleset\ntable inet filter {}\n');
    expect(await init(world, { ...ARGS, from: ['/etc/nftables.conf'] })).toMatchObject({
      code: 'bad-rules-file',
      message: expect.stringContaining('nft syntax') as string,
    });
    expect(await init(world, { ...ARGS, from: ['/root/none'] })).toMatchObject({ code: 'no-such-file' });
  });

  it("with place above puts libvirt's slot below the rules it hides, and the next mend wakes them", async () => {
    const world = await openWorld();
    await world.run('iptables -D FORWARD -d 192.168.122.10/32 -p tcp -m tcp --dport 80 -j ACCEPT');
    await world.run('iptables -I FORWARD 3 -d 192.168.122.10/32 -p tcp -m tcp --dport 80 -j ACCEPT');
    const result = unlessRefused(await init(world, { ...ARGS, place: 'above' }));
    expect(result.moved).toEqual(['ip filter FORWARD']);
    const mended = unlessRefused(await mend(world, MEND));
    expect(mended.outcomes[0]?.kind).toBe('mended');
    expect((await world.chain('FORWARD')).map((rule) => rule.split(' ').at(-1))).toEqual([
      'ACCEPT',
      'LIBVIRT_FWX',
      'LIBVIRT_FWI',
      'icmp-port-unreachable',
    ]);
  });
});
