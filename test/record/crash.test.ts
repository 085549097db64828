import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { realHost } from '../../src/host/real.ts';
import { snapshotId } from '../../src/record/snapshot-id.ts';
import { openStore } from '../../src/record/store.ts';
import { bundle, start } from '../host/child.ts';

/** Saves one new snapshot after the other; prints the number of each that save() has confirmed. */
const SAVER = `
  import { realHost } from './src/host/real.ts';
  import { openStore } from './src/record/store.ts';
  const dir = process.argv[2] ?? '';
  const store = openStore(realHost({ ownFolders: [dir] }), dir);
  async function loop() {
    for (let n = Number(process.argv[3]); ; n += 1) {
      const ip = '*filter\\n' + ('-A INPUT -s 10.0.0.' + n + ' -j DROP\\n').repeat(200) + 'COMMIT\\n';
      const content = { user: { ip, ip6: ip }, neighbours: { ip, ip6: ip }, neighboursState: 'complete' as const };
      const taking = await store.save(content, { trigger: 'load', message: '', parent: undefined });
      process.stdout.write(taking.seq + '\\n');
      if (n % 20 === 0) await store.prune({ keepLast: 5, keepDays: 0, keepIds: [] });
    }
  }
  void loop();`;

/** The child saves without pause, so this ends. Looks without pause: a save takes a few ms. */
async function saveBegins(dir: string): Promise<void> {
  while (!readdirSync(dir).some((name) => name.startsWith('.new-')))
    await new Promise((resolve) => setImmediate(resolve));
}

async function killAndLook(program: string, dir: string, round: number, delay: number | 'in-a-save'): Promise<boolean> {
  const child = start(program, [dir, String(round * 1000)]);
  await child.firstLine();
  if (delay === 'in-a-save') await saveBegins(dir);
  else await new Promise((resolve) => setTimeout(resolve, delay));
  await child.kill('SIGKILL');
  const store = openStore(realHost({ ownFolders: [dir] }), dir);
  const latest = await store.latest();
  if (latest.kind !== 'snapshot') throw new Error(`round ${round}: ${JSON.stringify(latest)}`);
  expect(snapshotId(latest.content.user)).toBe(latest.id);
  expect(latest.taking.seq).toBeGreaterThanOrEqual(Number(child.lines.at(-1)));
  expect(latest.taking.seq).toBeLessThanOrEqual(Number(child.lines.at(-1)) + 1);
  const { takings, dropped } = await store.list();
  expect(dropped.length).toBeLessThanOrEqual(1);
  for (const { id } of takings.slice(-5)) expect((await store.load(id)).kind).toBe('snapshot');
  return (await realHost({ ownFolders: [] }).files.list(dir)).some((name) => name.startsWith('.new-'));
}

describe('kill -9 at any instant', () => {
  test('100 times in the middle of saves: the store opens, the latest is whole, nothing confirmed is lost', async () => {
    const top = mkdtempSync(join(tmpdir(), 'mendwall-crash-'));
    const program = bundle(SAVER, top);
    const run = async (lane: number): Promise<number> => {
      const dir = `${top}/${lane}`;
      let inTheMiddle = 0;
      for (let round = 1; round <= 50; round += 1) {
        // 0 to 12 ms, two savings or so, in steps that do not repeat; every other time as soon as a save is seen to begin.
        const delay = round % 2 === 0 ? 'in-a-save' : ((round * 2 + lane) * 7.3) % 12;
        if (await killAndLook(program, dir, round, delay)) inTheMiddle += 1;
      }
      return inTheMiddle;
    };
    const hits = await Promise.all([run(0), run(1)]);
    rmSync(top, { recursive: true });
    // Else the kills never fell into a save, and this test shows nothing.
    expect(hits.reduce((sum, count) => sum + count)).toBeGreaterThan(10);
  }, 120_000);
});
