import { appendFileSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { HostError } from '../../src/host/host.ts';
import { JOURNAL_LIMITS, openJournal, type Journal } from '../../src/record/journal.ts';
import { fixture } from './fixture.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
const SMALL = { ...JOURNAL_LIMITS, fileBytes: 500, keepFiles: 3 };

async function passes(journal: Journal, from: number, to: number): Promise<void> {
  for (let n = from; n <= to; n += 1) await journal.append({ kind: 'pass', n });
}

const numbers = (entries: readonly Readonly<Record<string, unknown>>[]): unknown[] =>
  entries.map((entry) => entry['n']);

describe('the journal', () => {
  test('gives the last passes, oldest first, with schema and time', async () => {
    const { dir, host } = fixture();
    const journal = openJournal(host, `${dir}/state`);
    expect(await journal.last(5)).toEqual([]);
    await passes(journal, 1, 4);
    expect(numbers(await journal.last(3))).toEqual([2, 3, 4]);
    expect(await journal.last(0)).toEqual([]);
    expect((await journal.last(1))[0]).toMatchObject({
      schema: 1,
      at: expect.stringMatching(/Z$/),
      kind: 'pass',
      n: 4,
    });
    expect(statSync(`${dir}/state/journal.jsonl`).mode & 0o777).toBe(0o640);
  });

  test('stays within its size, in numbered files, and reads across them', async () => {
    const { dir, host } = fixture();
    const journal = openJournal(host, dir, SMALL);
    await passes(journal, 1, 100);
    const names = readdirSync(dir).sort();
    expect(names).toEqual(['journal.1.jsonl', 'journal.2.jsonl', 'journal.3.jsonl', 'journal.jsonl']);
    for (const name of names) expect(statSync(`${dir}/${name}`).size).toBeLessThanOrEqual(500);
    const all = numbers(await journal.last(1000));
    expect(all.at(-1)).toBe(100);
    expect(all).toEqual(Array.from(all, (_, index) => 101 - all.length + index));
    expect(numbers(await journal.last(12))).toEqual([89, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100]);
  });

  test('a torn line is left out and the next pass is not', async () => {
    const { dir, host } = fixture();
    await passes(openJournal(host, dir), 1, 2);
    appendFileSync(`${dir}/journal.jsonl`, '{"schema":1,"at":"2026');
    const journal = openJournal(host, dir);
    expect(numbers(await journal.last(9))).toEqual([1, 2]);
    await passes(journal, 3, 4);
    expect(numbers(await journal.last(9))).toEqual([1, 2, 3, 4]);
  });

  test('a pass after a failed write starts on a line of its own', async () => {
    const { dir, host } = fixture();
    let full = false;
    const files = {
      ...host.files,
      async append(path: string, line: string): Promise<void> {
        if (!full) return host.files.append(path, line, 'quick');
        appendFileSync(path, line.slice(0, 10));
        throw new HostError('write-failed', 'injected: the disk is full');
      },
    };
    const journal = openJournal({ ...host, files }, dir);
    await passes(journal, 1, 1);
    full = true;
    await expect(passes(journal, 2, 2)).rejects.toThrow('disk is full');
    full = false;
    await passes(journal, 3, 3);
    expect(numbers(await journal.last(9))).toEqual([1, 3]);
  });

  test('is followed: the last ones, then each new one once, across a rotation', async () => {
    const { dir, host } = fixture();
    const journal = openJournal(host, dir, SMALL);
    await passes(journal, 1, 5);
    const seen: unknown[] = [];
    const failures: string[] = [];
    const following = openJournal(host, dir, SMALL).follow(2, {
      entry: (entry) => seen.push(entry['n']),
      failed: (reason) => failures.push(reason),
    });
    await expect.poll(() => seen).toEqual([4, 5]);
    await passes(journal, 6, 7);
    await expect.poll(() => seen).toEqual([4, 5, 6, 7]);
    await passes(journal, 8, 14);
    expect(readdirSync(dir)).toContain('journal.1.jsonl');
    await expect.poll(() => seen).toEqual([4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
    following.close();
    await passes(journal, 15, 15);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect([seen.at(-1), failures]).toEqual([14, []]);
  });

  test('a follower waits for a journal that is not there yet', async () => {
    const { dir, host } = fixture();
    const seen: unknown[] = [];
    const journal = openJournal(host, dir);
    const following = journal.follow(5, {
      entry: (entry) => seen.push(entry['n']),
      failed: (reason) => seen.push(reason),
    });
    await passes(journal, 1, 1);
    await expect.poll(() => seen).toEqual([1]);
    following.close();
  });
});

describe('kept texts', () => {
  test('come back byte for byte, and the same text is kept once', async () => {
    const { dir, host } = fixture();
    const journal = openJournal(host, dir);
    const text = '*filter\n-A INPUT -m comment --comment "\udcff ü" -j DROP\nCOMMIT\n';
    const ref = await journal.keepText(text);
    const inode = statSync(`${dir}/journal/${ref}.rules`).ino;
    expect(await journal.keepText(text)).toBe(ref);
    expect(statSync(`${dir}/journal/${ref}.rules`).ino).toBe(inode);
    expect(await journal.readText(ref)).toBe(text);
    expect(readFileSync(`${dir}/journal/${ref}.rules`).includes(0xff)).toBe(true);
    expect(await journal.keepText(text.replace('\udcff', '\udcfe'))).not.toBe(ref);
    expect(await journal.readText('0'.repeat(32))).toBeUndefined();
  });

  test('go when they are too old, counted from their last use', async () => {
    const { dir, host, passMs } = fixture();
    const journal = openJournal(host, dir);
    const [used, idle] = [await journal.keepText('used'), await journal.keepText('idle')];
    passMs(2 * DAY_MS);
    const touched = statSync(`${dir}/journal/${used}.rules`).ino;
    await journal.keepText('used');
    expect(statSync(`${dir}/journal/${used}.rules`).ino).not.toBe(touched);
    expect(await journal.pruneTexts()).toEqual([]);
    passMs(29 * DAY_MS);
    expect((await journal.pruneTexts()).sort()).toEqual([used, idle].sort());
    expect(readdirSync(`${dir}/journal`)).toEqual([]);
  });

  test('go, oldest first, when they are too many bytes', async () => {
    const { dir, host } = fixture();
    const journal = openJournal(host, dir, { ...JOURNAL_LIMITS, textsMaxBytes: 25 });
    const refs: string[] = [];
    for (const letter of ['a', 'b', 'c', 'd']) {
      refs.push(await journal.keepText(letter.repeat(10)));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect((await journal.pruneTexts()).sort()).toEqual(refs.slice(0, 2).sort());
    expect(await journal.readText(refs[3] ?? '')).toBe('d'.repeat(10));
  });
});
