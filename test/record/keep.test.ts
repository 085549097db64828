// The state folder is removed under a live daemon.

import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { openMemory } from '../../src/record/memory.ts';
import { EMPTY_NATIVE } from '../../src/ruleset/nft/native-part.ts';
import { parseUserPart } from '../../src/ruleset/part-text.ts';
import type { UserPart } from '../../src/ruleset/user-part.ts';
import { filter, fixture } from './fixture.ts';

function part(rules: string, family: 'ip' | 'ip6' = 'ip'): UserPart {
  const parsed = parseUserPart(filter(rules), family, 'test');
  if (parsed.kind !== 'part') throw new Error(parsed.problems[0]?.message);
  return parsed.part;
}

async function daemon() {
  const { dir: top, host } = fixture();
  const dir = `${top}/state`;
  const logged: string[] = [];
  const files = openMemory({ ...host, log: { write: (level, text) => void logged.push(`${level} ${text}`) } }, dir);
  const { memory } = await files.load();
  const user = {
    ip: part('# mendwall: slot libvirt in INPUT\n-A INPUT -j DROP'),
    ip6: part('', 'ip6'),
    native: EMPTY_NATIVE,
  };
  const id = await files.takeSnapshot(memory, user, true, { trigger: 'init', message: '' });
  memory.known = { ip: { family: 'ip', tables: new Map() }, ip6: undefined };
  memory.wish = { ...user, ip: part('-A INPUT -j DROP\n-A INPUT -j LOG') };
  await files.saveWish(memory);
  await files.saveKnown(memory);
  return { dir, id, files, memory, logged, again: async () => (await openMemory(host, dir).load()).memory };
}

describe('the state folder', () => {
  test('that is there is left alone', async () => {
    const { files, memory, logged } = await daemon();
    expect(await files.keep(memory)).toBe(false);
    expect(logged).toEqual([]);
  });

  test.each(['', '/snapshots', '/snapshots/ID', '/snapshots/history.jsonl', '/wish.json'])(
    'without %s is written again from memory: the same snapshot, what is pending, what is known; said once',
    async (what) => {
      const { dir, id, files, memory, logged, again } = await daemon();
      const path = `${dir}${what.replace('ID', id)}`;
      rmSync(path, { recursive: true });
      expect(await files.keep(memory)).toBe(true);
      expect(logged).toEqual([expect.stringContaining(`error ${path} was removed`)]);
      const { damaged, ...found } = await again();
      expect(damaged).toBeUndefined();
      expect(found).toEqual({ ...memory });
      expect(found.snapshotId).toBe(id);
      expect(await files.keep(memory)).toBe(false);
      expect(logged).toHaveLength(1);
    },
  );

  test('that cannot be written again is said once, and tried again', async () => {
    const { dir, files, memory, logged, again, id } = await daemon();
    rmSync(dir, { recursive: true });
    writeFileSync(dir, 'in the way');
    for (const _ of [1, 2, 3]) expect(await files.keep(memory)).toBe(false);
    expect(logged).toEqual([expect.stringMatching(/^error .* cannot be written again/)]);
    rmSync(dir);
    mkdirSync(dir);
    expect(await files.keep(memory)).toBe(true);
    expect((await again()).snapshotId).toBe(id);
    expect(readdirSync(dir)).toContain('wish.json');
  });
});
