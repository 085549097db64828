import { beforeEach, describe, expect, it } from 'vitest';
import { accept } from '../../src/verbs/accept.ts';
import { diff } from '../../src/verbs/diff.ts';
import { init } from '../../src/verbs/init.ts';
import { entryId, lastEntries } from '../../src/verbs/log.ts';
import { mend } from '../../src/verbs/mend.ts';
import { restore } from '../../src/verbs/restore.ts';
import { snapshot } from '../../src/verbs/snapshot.ts';
import { listSnapshots, pruneSnapshots, showSnapshot } from '../../src/verbs/snapshots.ts';
import { status } from '../../src/verbs/status.ts';
import { type LiveWorld, openWorld, unlessRefused } from './fixture.ts';

const TAKE = { message: 'm', dryRun: false, yes: false };
const MEND = { mode: 'merge', dryRun: false, trigger: 'hand', by: ['hand'] } as const;
const DIFF = { a: 'latest', b: 'live', owner: undefined, all: false };
const NEW_RULE = '-A INPUT -s 10.1.1.1/32 -j DROP';

let world: LiveWorld;

beforeEach(async () => {
  world = await openWorld();
  await init(world, { from: [], place: 'as-found', force: false, dryRun: false });
});

describe('snapshot', () => {
  it('adopts what was added, and ends pending', async () => {
    await world.run(`iptables ${NEW_RULE}`);
    await mend(world, MEND);
    const result = unlessRefused(await snapshot(world, TAKE));
    expect(result).toMatchObject({ kind: 'snapshot', changed: true, dropped: [], added: [{ text: NEW_RULE }] });
    expect(unlessRefused(await mend(world, MEND)).outcomes[0]?.drift).toEqual([]);
  });

  it('asks before it drops a rule, and drops it on yes', async () => {
    await world.run('iptables -D INPUT 1');
    expect(await snapshot(world, TAKE)).toMatchObject({ kind: 'asks', changed: false, dropped: [{ chain: 'INPUT' }] });
    expect((await listSnapshots(world)).snapshots).toHaveLength(1);
    expect(await snapshot(world, { ...TAKE, yes: true })).toMatchObject({ kind: 'snapshot', changed: true });
    expect((await listSnapshots(world)).snapshots).toHaveLength(2);
  });

  it('says that nothing changed when the rules are those of the latest', async () => {
    expect(await snapshot(world, TAKE)).toMatchObject({ kind: 'snapshot', changed: false });
  });

  it("keeps the neighbours' places although they stand displaced now", async () => {
    await world.run('iptables -I FORWARD 1 -j LIBVIRT_FWX');
    await world.run('iptables -D FORWARD 3');
    await snapshot(world, TAKE);
    await mend(world, MEND);
    expect((await world.chain('FORWARD'))[0]).toContain('--dport 80');
  });

  it('keeps a rule that waits where it stood', async () => {
    const rule = '-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT';
    await world.run(`iptables -D ${rule.slice(3)}`);
    world.context.memory.waiting = [{ family: 'ip', table: 'filter', chain: 'INPUT', text: rule, why: 'no such set' }];
    expect(await snapshot(world, TAKE)).toMatchObject({ kind: 'snapshot', dropped: [] });
  });

  it('is listed newest first, shown by the beginning of its id, and pruned', async () => {
    await world.run(`iptables ${NEW_RULE}`);
    const { id } = unlessRefused(await snapshot(world, { ...TAKE, message: 'second' }));
    const { snapshots } = await listSnapshots(world);
    expect(snapshots.map(({ message }) => message)).toEqual(['second', 'from the live rules']);
    expect(unlessRefused(await showSnapshot(world, id.slice(0, 6))).user.ip).toContain(NEW_RULE);
    expect(await showSnapshot(world, 'ffff')).toMatchObject({ code: 'unknown-snapshot' });
    expect(await showSnapshot(world, 'newest')).toMatchObject({ code: 'bad-snapshot-name' });
    const shown = await pruneSnapshots(world, { dryRun: true, keepLast: 1, keepDays: 0 });
    expect(shown).toMatchObject({ changed: false, removed: [snapshots[1]?.id] });
    expect(await pruneSnapshots(world, { dryRun: false, keepLast: 1, keepDays: 0 })).toMatchObject({
      changed: true,
      removed: shown.removed,
    });
    expect((await listSnapshots(world)).snapshots.map((each) => each.id)).toEqual([id]);
  });
});

describe('restore', () => {
  beforeEach(async () => {
    await world.run(`iptables ${NEW_RULE}`);
    await world.run('iptables -D FORWARD -j REJECT --reject-with icmp-port-unreachable');
  });

  it("asks before it takes live rules out; on yes the user's rules are exactly the snapshot's", async () => {
    expect(await restore(world, { ref: 'latest', dryRun: false, yes: false })).toMatchObject({
      kind: 'asks',
      dropped: [{ text: NEW_RULE }],
      returned: [{ chain: 'FORWARD' }],
    });
    const result = unlessRefused(await restore(world, { ref: 'latest', dryRun: false, yes: true }));
    expect(result.outcome?.drift).toEqual([]);
    expect(await world.chain('INPUT')).toHaveLength(1);
    expect(unlessRefused(await diff(world, DIFF)).same).toBe(true);
  });

  it("takes the user's added chain out, and leaves libvirt's rules alone", async () => {
    await world.run('iptables -N mine');
    await world.run('iptables -A mine -j DROP');
    const before = (await world.chain('FORWARD')).filter((rule) => rule.includes('LIBVIRT'));
    await restore(world, { ref: 'latest', dryRun: false, yes: true });
    const live = await world.run('iptables-save');
    expect(live).not.toContain(':mine');
    expect((await world.chain('FORWARD')).filter((rule) => rule.includes('LIBVIRT'))).toEqual(before);
  });

  it('shows the edits with a dry run and writes nothing, files included', async () => {
    const [before, steps, wish] = [
      await world.run('iptables-save'),
      world.fake.files.steps(),
      world.context.memory.wish,
    ];
    const result = unlessRefused(await restore(world, { ref: 'latest', dryRun: true, yes: false }));
    expect(result.outcome?.tables.flatMap(({ edits }) => edits)).toHaveLength(2);
    expect([await world.run('iptables-save'), world.fake.files.steps(), world.context.memory.wish]).toEqual([
      before,
      steps,
      wish,
    ]);
  });

  it('makes a new snapshot whose parent is the one before', async () => {
    const first = world.context.memory.snapshotId;
    const { id } = unlessRefused(await snapshot(world, { ...TAKE, yes: true }));
    await restore(world, { ref: 'latest~1', dryRun: false, yes: true });
    const [latest] = (await listSnapshots(world)).snapshots;
    expect(latest).toMatchObject({ id: first, parent: id, trigger: 'restore' });
  });
});

describe('accept', () => {
  it('takes a wipe that was undone as meant', async () => {
    await world.run('iptables -F INPUT');
    await world.run('iptables -F FORWARD');
    await world.run('iptables -F web');
    expect(unlessRefused(await mend(world, MEND)).outcomes[0]?.changed).toBe(true);
    expect(await world.chain('INPUT')).toHaveLength(1);
    const shown = unlessRefused(await accept(world, { pass: undefined, dryRun: true }));
    expect(shown.changed).toBe(false);
    const result = unlessRefused(await accept(world, { pass: undefined, dryRun: false }));
    expect(result.reversed).toEqual(shown.reversed);
    expect(await world.chain('INPUT')).toEqual([]);
    expect(await world.chain('FORWARD')).toEqual(['-A FORWARD -j LIBVIRT_FWX', '-A FORWARD -j LIBVIRT_FWI']);
    expect(unlessRefused(await mend(world, MEND)).outcomes[0]?.drift).toEqual([]);
  });

  it('keeps what became pending since that pass', async () => {
    await world.run('iptables -F');
    await mend(world, MEND);
    await world.run(`iptables ${NEW_RULE}`);
    expect(await accept(world, { pass: undefined, dryRun: false })).toMatchObject({ kind: 'accept' });
    expect(await world.chain('INPUT')).toContain(NEW_RULE);
  });

  it('takes a replaced ruleset as it stands', async () => {
    world.context.memory.replaced = ['ip filter'];
    await world.run(`iptables ${NEW_RULE}`);
    const result = unlessRefused(await accept(world, { pass: undefined, dryRun: false }));
    expect(result.what).toContain('ip filter');
    expect(world.context.memory.replaced).toEqual([]);
    expect(await world.chain('INPUT')).toContain(NEW_RULE);
  });

  it('refuses when nothing was undone, and a name that log does not show', async () => {
    expect(await accept(world, { pass: undefined, dryRun: false })).toMatchObject({ code: 'nothing-to-accept' });
    expect(await accept(world, { pass: 'fffffff', dryRun: false })).toMatchObject({ code: 'unknown-pass' });
  });

  it('finds a pass by the name that log shows', async () => {
    await world.run('iptables -F');
    await mend(world, MEND);
    const entries = await lastEntries(world, 10);
    const pass = entries.find(({ entry }) => entry['event'] === 'pass' && entry['changed'] === true);
    expect(pass?.id).toBe(entryId(pass?.entry ?? { schema: 1, at: '' }));
    expect(await accept(world, { pass: pass?.id, dryRun: true })).toMatchObject({ kind: 'accept' });
  });
});

describe('diff', () => {
  it('is empty on the untouched host, whatever is compared', async () => {
    expect(unlessRefused(await diff(world, DIFF)).same).toBe(true);
    expect(unlessRefused(await diff(world, { ...DIFF, all: true })).same).toBe(true);
    expect(unlessRefused(await diff(world, { ...DIFF, owner: 'libvirt' })).same).toBe(true);
  });

  it('shows an added rule, and a displacement by the place of the neighbour', async () => {
    await world.run('iptables -I FORWARD 1 -j LIBVIRT_FWX');
    const result = unlessRefused(await diff(world, DIFF));
    expect(result.same).toBe(false);
    expect(result.families[0]?.b.lines.map(({ text }) => text)).toContain("# libvirt's rules");
  });

  it('does not tell a table that is not in the kernel from an empty one', async () => {
    await world.run('iptables-restore --noflush', '*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n');
    expect(unlessRefused(await diff(world, DIFF)).same).toBe(true);
  });

  it('shows a policy that changed', async () => {
    await world.run('iptables -P INPUT DROP');
    const result = unlessRefused(await diff(world, DIFF));
    expect(result.families[0]?.b.lines.map(({ text }) => text)).toContain(':INPUT DROP');
  });

  it('compares a file of one family with that family alone', async () => {
    world.fake.files.texts.set('/root/a.v4', `*filter\n:INPUT ACCEPT [0:0]\n${NEW_RULE}\nCOMMIT\n`);
    const result = unlessRefused(await diff(world, { ...DIFF, a: '/root/a.v4' }));
    expect(result.families.map(({ family, same }) => [family, same])).toEqual([['ip', false]]);
    expect(await diff(world, { ...DIFF, a: '/root/none' })).toMatchObject({ code: 'no-such-file' });
  });
});

describe('status', () => {
  it('counts drift and owners, and writes nothing', async () => {
    await world.run(`iptables ${NEW_RULE}`);
    await world.run('iptables -I FORWARD 1 -j LIBVIRT_FWX');
    const steps = world.fake.files.steps();
    const result = await status(world, undefined);
    expect(result.drift.map(({ kind }) => kind).sort()).toEqual(['displaced', 'pending', 'stale']);
    expect(result.owners.map(({ owner, rules }) => [owner, rules.ip])).toEqual([
      ['user', 5],
      ['libvirt', 3],
    ]);
    expect(world.fake.files.steps()).toBe(steps);
  });

  it('says that rules cannot be read instead of that there are none', async () => {
    world.fake.answer('iptables-save', () => ({ stdout: "# Table `nat' is incompatible, use 'nft' tool.\n" }));
    const result = await status(world, undefined);
    expect(result.unreadable).toContain('incompatible');
    expect(result.drift).toMatchObject([{ kind: 'unreadable', family: 'ip' }]);
  });
});
