// A really full disk: a small tmpfs in a private mount namespace, with exactly so many pages left. Needs root (unshare -m).

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { bundle } from '../host/child.ts';

/** For each number of free pages: one snapshot, then the disk filled up to that, then a second one and a journal line tried. */
const PROGRAM = `
  import { rmSync, writeSync, openSync, closeSync, readdirSync, mkdirSync } from 'node:fs';
  import { realHost } from './src/host/real.ts';
  import { openJournal } from './src/record/journal.ts';
  import { openStore } from './src/record/store.ts';

  const mount = process.argv[2] ?? '';
  const host = realHost({ ownFolders: [mount] });
  const content = (n: number) => {
    const ip = '*filter\\n' + ('-A INPUT -s 10.0.' + n + '.0/24 -j DROP\\n').repeat(300) + 'COMMIT\\n';
    return { user: { ip, ip6: ip }, neighbours: { ip, ip6: '' }, neighboursState: 'complete' as const };
  };
  /** Takes all pages, then gives \`free\` of them back. */
  function fill(free: number): void {
    const fd = openSync(mount + '/filler', 'w');
    const page = Buffer.alloc(4096, 1);
    const reserve = Buffer.alloc(4096 * free, 1);
    const reserved = openSync(mount + '/reserve', 'w');
    writeFully(reserved, reserve);
    closeSync(reserved);
    try {
      for (;;) writeFully(fd, page);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
    closeSync(fd);
    rmSync(mount + '/reserve');
  }
  function writeFully(fd: number, bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
  }
  async function round(free: number) {
    const dir = mount + '/state';
    mkdirSync(dir);
    const [store, journal] = [openStore(host, dir + '/snapshots'), openJournal(host, dir)];
    const reason = { trigger: 'load', message: '', parent: undefined };
    const first = await store.save(content(1), reason);
    await journal.append({ n: 1 });
    fill(free);
    const said: string[] = [];
    const failed = (error: Error) => void said.push(error.name + ': ' + error.message);
    const second = await store.save(content(2), reason).catch(failed);
    await journal.append({ n: 2, padding: 'x'.repeat(9000) }).catch(failed);
    await journal.keepText(content(3).user.ip).catch(failed);
    const latest = await store.latest();
    const left = readdirSync(dir + '/snapshots').filter((name) => name.startsWith('.'));
    rmSync(mount + '/filler');
    const third = await store.save(content(3), reason);
    await journal.append({ n: 3 });
    const after = await store.latest();
    console.log(JSON.stringify({
      free, said, left, dropped: (await store.list()).dropped,
      saved: second !== undefined,
      latestIs: latest.kind !== 'snapshot' ? latest.kind : latest.id === first.id ? 'first' : latest.id === second?.id ? 'second' : 'other',
      afterIsThird: after.kind === 'snapshot' && after.id === third.id,
      journal: (await journal.last(9)).map(({ n }) => n),
    }));
    rmSync(dir, { recursive: true });
  }
  async function main() {
    for (let free = 0; free <= 24; free += 1) await round(free);
  }
  void main();`;

interface Round {
  readonly free: number;
  readonly said: readonly string[];
  readonly left: readonly string[];
  readonly dropped: readonly string[];
  readonly saved: boolean;
  readonly latestIs: string;
  readonly afterIsThird: boolean;
  readonly journal: readonly number[];
}

function runOnSmallDisk(): Round[] {
  const folder = mkdtempSync(join(tmpdir(), 'mendwall-disk-'));
  const mount = `${folder}/mount`;
  mkdirSync(mount);
  const script = 'mount -t tmpfs -o size=1m tmpfs "$1" && exec "$2" "$3" "$1"';
  const args = ['-m', 'sh', '-c', script, 'sh', mount, process.execPath, bundle(PROGRAM, folder)];
  const output = execFileSync('unshare', args, { encoding: 'utf8' });
  rmSync(folder, { recursive: true });
  return output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Round);
}

describe('a full disk', () => {
  const rounds = runOnSmallDisk();

  test('was met both ways: some saves failed, some got through', () => {
    expect(rounds).toHaveLength(25);
    expect(new Set(rounds.map(({ saved }) => saved)).size).toBe(2);
  });

  test('leaves the old snapshot or the new one, whole, and no half one', () => {
    for (const { saved, latestIs, left } of rounds) {
      expect({ saved, latestIs, left }).toEqual({ saved, latestIs: saved ? 'second' : 'first', left: [] });
    }
  });

  test('is said with what to do', () => {
    const said = rounds.flatMap((round) => round.said);
    expect(said.length).toBeGreaterThan(10);
    for (const text of said) {
      expect(text).toMatch(
        /^HostError: cannot write .*: the disk is full: free some space .*; the old content is kept$/,
      );
    }
  });

  test('harms nothing that comes after it', () => {
    for (const { afterIsThird, dropped, journal } of rounds) {
      expect({ afterIsThird, dropped }).toEqual({ afterIsThird: true, dropped: [] });
      expect(journal.filter((n) => n !== 2)).toEqual([1, 3]);
    }
  });
});
