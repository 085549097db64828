import { beforeEach, describe, expect, it } from 'vitest';
import { init } from '../../src/verbs/init.ts';
import { mend, type MendArgs } from '../../src/verbs/mend.ts';
import { pause, resume } from '../../src/verbs/pause.ts';
import { type LiveWorld, openWorld, unlessRefused } from './fixture.ts';

const ARGS: MendArgs = { mode: 'merge', dryRun: false, trigger: 'hand', by: ['hand'] };
const targets = async (world: LiveWorld): Promise<string[]> =>
  (await world.chain('FORWARD')).map((rule) => rule.split(' -j ')[1]?.split(' ')[0] ?? '');

let world: LiveWorld;

beforeEach(async () => {
  world = await openWorld();
  await init(world, { from: [], place: 'as-found', force: false, dryRun: false });
});

async function displace(): Promise<void> {
  await world.run('iptables -I FORWARD 1 -j LIBVIRT_FWX');
  await world.run('iptables -D FORWARD 3');
}

describe('mend', () => {
  it('refuses without a snapshot', async () => {
    const bare = await openWorld();
    expect(await mend(bare, ARGS)).toMatchObject({ kind: 'refused', code: 'no-snapshot' });
  });

  it('puts a displaced rule back, and finds nothing the second time', async () => {
    await displace();
    expect(await targets(world)).toEqual(['LIBVIRT_FWX', 'ACCEPT', 'LIBVIRT_FWI', 'REJECT']);
    const result = unlessRefused(await mend(world, ARGS));
    expect(result.outcomes.map(({ kind }) => kind)).toEqual(['mended']);
    expect(await targets(world)).toEqual(['ACCEPT', 'LIBVIRT_FWX', 'LIBVIRT_FWI', 'REJECT']);
    expect(unlessRefused(await mend(world, ARGS)).outcomes.map(({ kind, changed }) => [kind, changed])).toEqual([
      ['unchanged', false],
    ]);
  });

  it.each([{ dryRun: true }, { mode: 'observe' as const }])('writes no rule with %o', async (how) => {
    await displace();
    const before = await world.run('iptables-save');
    const result = unlessRefused(await mend(world, { ...ARGS, ...how }));
    expect(result.outcomes[0]).toMatchObject({ kind: 'would-mend', changed: false });
    expect(result.outcomes[0]?.tables.flatMap(({ edits }) => edits)).toHaveLength(2);
    expect(await world.run('iptables-save')).toBe(before);
  });

  it('writes nothing at all, journal included, with a dry run', async () => {
    await displace();
    const steps = world.fake.files.steps();
    await mend(world, { ...ARGS, dryRun: true });
    expect(world.fake.files.steps()).toBe(steps);
  });

  it("after a flush brings back the user's rules at once, then libvirt's jumps once it is quiet", async () => {
    await world.run('iptables -F');
    const result = unlessRefused(await mend(world, ARGS));
    expect(result.outcomes.map(({ kind }) => kind)).toEqual(['mended', 'mended']);
    expect(await targets(world)).toEqual(['ACCEPT', 'LIBVIRT_FWX', 'LIBVIRT_FWI', 'REJECT']);
    expect(result.outcomes.at(-1)?.drift).toEqual([]);
  });

  it('keeps a single added rule as pending, also for the next process', async () => {
    await world.run('iptables -A INPUT -s 10.1.1.1/32 -j DROP');
    expect(unlessRefused(await mend(world, ARGS)).outcomes[0]?.drift.map(({ kind, text }) => [kind, text])).toEqual([
      ['pending', '-A INPUT -s 10.1.1.1/32 -j DROP'],
    ]);
    const next = await world.again();
    expect(unlessRefused(await mend(next, ARGS)).outcomes[0]?.drift).toHaveLength(1);
    expect(await next.chain('INPUT')).toHaveLength(2);
  });
});

describe('pause', () => {
  it('keeps mend from writing until resume, which mends and says what changed', async () => {
    await pause(world, { forMs: 60_000, dryRun: false });
    await displace();
    await world.run('iptables -A INPUT -s 10.1.1.1/32 -j DROP');
    const paused = unlessRefused(await mend(await world.again(), ARGS));
    expect(paused.paused).toBeDefined();
    expect(paused.outcomes[0]?.changed).toBe(false);
    const result = unlessRefused(await resume(world, { dryRun: false }));
    expect(result.outcomes[0]?.changed).toBe(true);
    expect(result.outcomes.at(-1)?.drift.map(({ kind }) => kind)).toEqual(['pending']);
    expect(await resume(world, { dryRun: false })).toMatchObject({ kind: 'refused', code: 'not-paused' });
  });

  it('ends by its time and by a reboot', async () => {
    await pause(world, { forMs: 60_000, dryRun: false });
    await world.fake.clock.advance(61_000);
    expect(unlessRefused(await mend(await world.again(), ARGS)).paused).toBeUndefined();
    await pause(world, { forMs: 60_000, dryRun: false });
    world.fake.files.texts.set(
      '/var/lib/mendwall/pause.json',
      (world.fake.files.texts.get('/var/lib/mendwall/pause.json') ?? '').replace(
        /"bootId": "[^"]*"/,
        '"bootId": "another"',
      ),
    );
    expect(unlessRefused(await mend(await world.again(), ARGS)).paused).toBeUndefined();
  });

  it('takes a whole ruleset that was loaded meanwhile as pending, not as a snapshot', async () => {
    const id = world.context.memory.snapshotId;
    await pause(world, { forMs: 60_000, dryRun: false });
    await world.run(
      'iptables-restore',
      '*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:web - [0:0]\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n-A INPUT -s 10.1.1.1/32 -j DROP\n-A FORWARD -s 10.2.2.2/32 -j DROP\n-A web -s 10.0.0.0/8 -j ACCEPT\nCOMMIT\n',
    );
    const result = unlessRefused(await resume(world, { dryRun: false }));
    expect(world.context.memory.snapshotId).toBe(id);
    expect(
      result.outcomes.at(-1)?.drift.some(({ kind, text }) => kind === 'pending' && text.includes('10.1.1.1')),
    ).toBe(true);
    expect(await world.chain('INPUT')).toHaveLength(2);
  });
});
