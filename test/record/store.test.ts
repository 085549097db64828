import { appendFileSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { HostError, type Files, type Host } from '../../src/host/host.ts';
import { snapshotId } from '../../src/record/snapshot-id.ts';
import { openStore, type LoadOutcome, type Store } from '../../src/record/store.ts';
import { content, fixture } from './fixture.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

function open() {
  const { dir, host, passMs } = fixture();
  return { dir: `${dir}/snapshots`, host, passMs, store: openStore(host, `${dir}/snapshots`) };
}

/** Takes a snapshot with a rule for `port`; its id. */
async function take(store: Store, port: number, parent?: string): Promise<string> {
  const taking = await store.save(content(port), { trigger: 'snapshot', message: `port ${port}`, parent });
  return taking.id;
}

const idOf = (outcome: LoadOutcome): string => (outcome.kind === 'snapshot' ? outcome.id : outcome.kind);

describe('the snapshot store', () => {
  test('gives back what was saved, byte for byte, with when and why', async () => {
    const { store, dir } = open();
    const saved = content(22, { neighboursState: 'partial', neighbours: { ip: 'a \udcff ü\n', ip6: '' } });
    const taking = await store.save(saved, { trigger: 'init', message: 'first', parent: undefined });
    expect(taking).toMatchObject({
      schema: 1,
      seq: 1,
      parent: null,
      trigger: 'init',
      message: 'first',
      neighbours: 'partial',
    });
    expect(taking.rules).toEqual({ ip: 1, ip6: 0 });
    expect(await store.latest()).toEqual({ kind: 'snapshot', id: taking.id, taking, content: saved });
    expect(readdirSync(dir).sort()).toEqual([taking.id, 'history.jsonl'].sort());
    expect(readFileSync(`${dir}/${taking.id}/user.v4`, 'utf8')).toBe(saved.user.ip);
  });

  test('files are 0640, folders 0750', async () => {
    const { store, dir } = open();
    const id = await take(store, 22);
    const modes = readdirSync(`${dir}/${id}`).map((name) => statSync(`${dir}/${id}/${name}`).mode & 0o777);
    expect(modes).toEqual([0o640, 0o640, 0o640, 0o640, 0o640]);
    expect(statSync(`${dir}/history.jsonl`).mode & 0o777).toBe(0o640);
    expect([statSync(dir).mode & 0o777, statSync(`${dir}/${id}`).mode & 0o777]).toEqual([0o750, 0o750]);
  });

  test('an empty store has no latest and reading it makes nothing', async () => {
    const { store, host, dir } = open();
    expect(await store.latest()).toEqual({ kind: 'unknown', ref: 'latest', known: [] });
    expect(await store.list()).toEqual({ takings: [], dropped: [] });
    expect(await host.files.exists(dir)).toBe(false);
  });

  test.each([
    ['gone', (path: string): void => rmSync(path)],
    ['empty', (path: string): void => writeFileSync(path, '')],
    ['garbage', (path: string): void => writeFileSync(path, '\u0000\u0001 not json\n')],
  ])('a history that is %s does not lose the snapshots: the newest whole one is the latest', async (_how, damage) => {
    const { store, dir } = open();
    const first = await take(store, 22);
    const second = await take(store, 23, first);
    damage(`${dir}/history.jsonl`);
    expect(idOf(await store.latest())).toBe(second);
    expect(idOf(await store.load('latest~1'))).toBe(first);
    const third = await take(store, 24, second);
    expect((await store.list()).takings.map(({ id, seq }) => [id, seq])).toEqual([
      [first, 1],
      [second, 2],
      [third, 3],
    ]);
  });

  test('the same content again only adds a history line', async () => {
    const { store, dir } = open();
    const id = await take(store, 22);
    const before = statSync(`${dir}/${id}/user.v4`).ino;
    const again = await store.save(content(22), { trigger: 'load', message: '', parent: id });
    expect([again.id, again.seq, statSync(`${dir}/${id}/user.v4`).ino]).toEqual([id, 2, before]);
    expect((await store.list()).takings.map(({ trigger }) => trigger)).toEqual(['snapshot', 'load']);
  });

  test('is addressed by id, by its first four characters, and by latest~N', async () => {
    const { store } = open();
    const ids = [await take(store, 1), await take(store, 2), await take(store, 3)];
    expect(await Promise.all(ids.map(async (id) => idOf(await store.load(id))))).toEqual(ids);
    expect(idOf(await store.load((ids[0] ?? '').slice(0, 4)))).toBe(ids[0]);
    expect([idOf(await store.load('latest')), idOf(await store.load('latest~2'))]).toEqual([ids[2], ids[0]]);
  });

  test('a ref that names nothing, two, or is none at all is a value that helps on', async () => {
    const { store, dir } = open();
    const id = await take(store, 1);
    const twin = `${id.slice(0, 4)}${id.slice(4, 5) === '0' ? '1' : '0'}${id.slice(5)}`;
    await take(store, 2);
    appendFileSync(
      `${dir}/history.jsonl`,
      `${JSON.stringify({ schema: 1, seq: 9, at: '2026-01-01T00:00:00Z', id: twin })}\n`,
    );
    expect(await store.load(id.slice(0, 4))).toEqual({ kind: 'ambiguous', ref: id.slice(0, 4), ids: [id, twin] });
    expect(await store.load('latest~7')).toMatchObject({ kind: 'unknown' });
    const absent = await store.load('00000000');
    expect(absent).toMatchObject({ kind: 'unknown', known: expect.arrayContaining([id]) });
    for (const ref of ['abc', '../etc', 'latest~', 'newest', ''])
      expect(await store.load(ref)).toEqual({ kind: 'bad-ref', ref });
  });

  test('a torn last line is dropped with a reason, and the next taking does not run into it', async () => {
    const { store, dir } = open();
    const id = await take(store, 1);
    appendFileSync(`${dir}/history.jsonl`, '{"schema":1,"seq":2,"at":"2026-');
    expect(await store.list()).toMatchObject({ takings: [{ id }], dropped: ['line 2: not a whole JSON object'] });
    expect(idOf(await store.latest())).toBe(id);
    const next = await take(store, 2);
    expect(await store.list()).toMatchObject({
      takings: [
        { id, seq: 1 },
        { id: next, seq: 2 },
      ],
      dropped: [],
    });
    expect(readFileSync(`${dir}/history.jsonl.damaged`, 'utf8')).toContain('"at":"2026-');
  });

  test('altered rules are damaged, not loaded; taking them anew heals and keeps the damaged folder', async () => {
    const { store, dir } = open();
    const id = await take(store, 1);
    writeFileSync(`${dir}/${id}/user.v4`, content(2).user.ip);
    const altered = snapshotId(content(2).user);
    expect(await store.load('latest')).toMatchObject({ kind: 'damaged', id, reason: expect.stringContaining(altered) });
    await take(store, 1);
    expect(idOf(await store.latest())).toBe(id);
    expect(readdirSync(dir).filter((name) => name.startsWith(`damaged-${id}`))).toHaveLength(1);
  });

  test('a missing file is damaged and named', async () => {
    const { store, dir } = open();
    const id = await take(store, 1);
    rmSync(`${dir}/${id}/neighbours.v6`);
    expect(await store.latest()).toMatchObject({
      kind: 'damaged',
      reason: expect.stringContaining('neighbours.v6 is missing'),
    });
  });

  test('snapshots can be had by id when the history is lost', async () => {
    const { store, dir } = open();
    const id = await take(store, 1);
    rmSync(`${dir}/history.jsonl`);
    expect(await store.load(id.slice(0, 6))).toMatchObject({ kind: 'snapshot', id, taking: { message: 'port 1' } });
  });

  test('whichever write fails, the old latest stands whole and nothing half is left', async () => {
    const { host, dir } = open();
    const first = await take(openStore(host, dir), 1);
    let calls = 0;
    for (let failAt = 1; failAt <= 40; failAt += 1) {
      calls = 0;
      const failing = openStore(
        hostFailingAt(host, () => (calls += 1) === failAt),
        dir,
      );
      const outcome = await take(failing, 2).catch((error: unknown) => error);
      if (typeof outcome === 'string') {
        expect(failAt).toBeGreaterThan(8);
        expect(idOf(await openStore(host, dir).latest())).toBe(outcome);
        return;
      }
      expect(outcome).toBeInstanceOf(HostError);
      expect(idOf(await openStore(host, dir).latest())).toBe(first);
      expect(readdirSync(dir).filter((name) => name.startsWith('.'))).toEqual([]);
    }
    throw new Error('never got through');
  });
});

/** A host whose writing calls fail when `now` says so. */
function hostFailingAt(host: Host, now: () => boolean): Host {
  const fail =
    <A extends unknown[]>(run: (...args: A) => Promise<void>) =>
    async (...args: A): Promise<void> => {
      if (now()) throw new HostError('write-failed', 'injected');
      await run(...args);
    };
  const { writeAtomic, append, makeDir, rename } = host.files;
  const files: Files = {
    ...host.files,
    writeAtomic: fail(writeAtomic),
    append: fail(append),
    makeDir: fail(makeDir),
    rename: fail(rename),
  };
  return { ...host, files };
}

describe('prune', () => {
  test('keeps the last ones and the young ones, removes the rest with their folders, says which', async () => {
    const { store, dir, passMs } = open();
    const old = [await take(store, 1), await take(store, 2), await take(store, 3)];
    passMs(40 * DAY_MS);
    const young = [await take(store, 4), await take(store, 5)];
    const outcome = await store.prune({ keepLast: 3, keepDays: 30, keepIds: [] });
    expect([...outcome.removedIds].sort()).toEqual(old.slice(0, 2).sort());
    expect(outcome.removedTakings.map(({ id }) => id)).toEqual(old.slice(0, 2));
    expect((await store.list()).takings.map(({ id }) => id)).toEqual([old[2], ...young]);
    expect(readdirSync(dir).sort()).toEqual([...young, old[2], 'history.jsonl'].sort());
  });

  test('never removes the latest, what is asked to be kept, or an id that a kept taking names', async () => {
    const { store, passMs } = open();
    const [a, b, c] = [await take(store, 1), await take(store, 2), await take(store, 3)];
    await take(store, 1);
    passMs(40 * DAY_MS);
    const outcome = await store.prune({ keepLast: 0, keepDays: 0, keepIds: [b] });
    expect(outcome.removedIds).toEqual([c]);
    expect((await store.list()).takings.map(({ id }) => id)).toEqual([b, a]);
    expect([idOf(await store.latest()), idOf(await store.load(b))]).toEqual([a, b]);
    expect(await store.prune({ keepLast: 0, keepDays: 0, keepIds: [b] })).toEqual({
      removedIds: [],
      removedTakings: [],
    });
  });

  test('clears what a crash left', async () => {
    const { store, host, dir } = open();
    const id = await take(store, 1);
    await host.files.makeDir(`${dir}/.new-0123456789abcdef`);
    await host.files.makeDir(`${dir}/.gone-0123456789abcdef`);
    await host.files.makeDir(`${dir}/fedcba9876543210`);
    expect((await store.prune({ keepLast: 9, keepDays: 9, keepIds: [] })).removedIds).toEqual(['fedcba9876543210']);
    expect(readdirSync(dir).sort()).toEqual([id, 'history.jsonl'].sort());
  });
});
