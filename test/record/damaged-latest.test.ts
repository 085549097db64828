// The latest snapshot is torn: an older whole one stands in for it, said with both ids, and the torn one stays as it is.

import { mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { openMemory } from '../../src/record/memory.ts';
import { openStore } from '../../src/record/store.ts';
import { EMPTY_NATIVE } from '../../src/ruleset/nft/native-part.ts';
import { parseUserPart } from '../../src/ruleset/part-text.ts';
import { ruleTexts, type UserPart } from '../../src/ruleset/user-part.ts';
import { filter, fixture } from './fixture.ts';

const ruleFor = (port: number): string => `-A INPUT -p tcp -m tcp --dport ${port} -j ACCEPT`;

function partFor(port: number, family: 'ip' | 'ip6' = 'ip'): UserPart {
  const parsed = parseUserPart(filter(port === 0 ? '' : ruleFor(port)), family, 'test');
  if (parsed.kind !== 'part') throw new Error(parsed.problems[0]?.message);
  return parsed.part;
}

const rulesOf = (part: UserPart): string[] => ruleTexts(part.tables.get('filter')?.chains.get('INPUT')?.items ?? []);

/** Three snapshots taken one after the other; their ids, oldest first. */
async function three() {
  const { dir, host } = fixture();
  const files = openMemory(host, dir);
  const { memory } = await files.load();
  const ids: string[] = [];
  for (const port of [1, 2, 3])
    ids.push(
      await files.takeSnapshot(memory, { ip: partFor(port), ip6: partFor(0, 'ip6'), native: EMPTY_NATIVE }, true, {
        trigger: 'snapshot',
        message: '',
      }),
    );
  const [first = '', second = '', third = ''] = ids;
  return {
    host,
    dir,
    snapshots: `${dir}/snapshots`,
    files,
    memory,
    first,
    second,
    third,
    load: () => openMemory(host, dir).load(),
  };
}

describe('a latest snapshot that is not whole', () => {
  test.each([
    ['user.v4', 'cut', (path: string): void => truncateSync(path, 40)],
    ['user.v6', 'gone', (path: string): void => rmSync(path)],
    ['meta.json', 'empty', (path: string): void => writeFileSync(path, '')],
    ['user.v4', 'no file', (path: string): void => (rmSync(path), void mkdirSync(path))],
  ])('with %s %s gives way to the newest whole one, with both ids said', async (name, _how, damage) => {
    const { load, snapshots, second, third } = await three();
    rmSync(`${snapshots}/../wish.json`);
    damage(`${snapshots}/${third}/${name}`);
    const { memory, notes } = await load();
    expect(memory.snapshotId).toBe(second);
    expect(rulesOf(memory.wish.ip)).toEqual([ruleFor(2)]);
    expect(memory.damaged).toMatchObject([{ id: third }]);
    expect(notes).toHaveLength(1);
    expect(notes[0]).toContain(third);
    expect(notes[0]).toContain(second);
  });

  test('leaves what was wanted last, where that is still known: its rules are pending against the older one', async () => {
    const { load, snapshots, second, third } = await three();
    truncateSync(`${snapshots}/${third}/user.v4`, 40);
    const { memory } = await load();
    expect([memory.snapshotId, rulesOf(memory.snapshot.ip), rulesOf(memory.wish.ip)]).toEqual([
      second,
      [ruleFor(2)],
      [ruleFor(3)],
    ]);
  });

  test('several in a row are skipped, and with none whole there is no snapshot, but each is named', async () => {
    const { load, snapshots, first, second, third } = await three();
    for (const id of [third, second]) truncateSync(`${snapshots}/${id}/user.v4`, 40);
    expect((await load()).memory.snapshotId).toBe(first);
    truncateSync(`${snapshots}/${first}/user.v4`, 40);
    const { memory, notes } = await load();
    expect(memory.snapshotId).toBeUndefined();
    expect(memory.damaged?.map(({ id }) => id)).toEqual([third, second, first]);
    expect(notes.every((note) => note.includes('no snapshot is whole'))).toBe(true);
  });

  test('is never overwritten: taken anew, its folder is set aside', async () => {
    const { host, dir, load, snapshots, third } = await three();
    truncateSync(`${snapshots}/${third}/user.v4`, 40);
    const torn = readFileSync(`${snapshots}/${third}/user.v4`, 'utf8');
    const { memory } = await load();
    const reason = { trigger: 'snapshot', message: '' };
    const id = await openMemory(host, dir).takeSnapshot(
      memory,
      { ip: partFor(3), ip6: partFor(0, 'ip6'), native: EMPTY_NATIVE },
      true,
      reason,
    );
    expect([id, memory.damaged]).toEqual([third, undefined]);
    const [aside = ''] = readdirSync(snapshots).filter((name) => name.startsWith(`damaged-${third}`));
    expect(readFileSync(`${snapshots}/${aside}/user.v4`, 'utf8')).toBe(torn);
    expect((await load()).memory.snapshotId).toBe(third);
  });

  test('a pruning keeps it, and the one that stands in for it', async () => {
    const { host, load, snapshots, second, third } = await three();
    truncateSync(`${snapshots}/${third}/user.v4`, 40);
    const { memory } = await load();
    await openStore(host, snapshots).prune({ keepLast: 1, keepDays: 0, keepIds: [memory.snapshotId ?? ''] });
    expect(readdirSync(snapshots).sort()).toEqual([second, third, 'history.jsonl'].sort());
  });
});

describe('a history whose last line is torn', () => {
  test('does not make an older snapshot the latest: its folder says when it was taken', async () => {
    const { load, snapshots, third } = await three();
    const path = `${snapshots}/history.jsonl`;
    truncateSync(path, readFileSync(path).length - 30);
    const { memory, notes } = await load();
    expect(memory.snapshotId).toBe(third);
    expect(notes.join('\n')).toContain('not a whole JSON object');
  });

  test('that is gone costs no snapshot at the next pruning', async () => {
    const { host, load, snapshots, first, second, third } = await three();
    rmSync(`${snapshots}/history.jsonl`);
    expect((await load()).memory.snapshotId).toBe(third);
    const { removedIds } = await openStore(host, snapshots).prune({ keepLast: 5, keepDays: 5, keepIds: [] });
    expect(removedIds).toEqual([]);
    expect(readdirSync(snapshots).sort()).toEqual([first, second, third].sort());
  });
});
