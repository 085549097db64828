import { chmodSync, lchownSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { parseSpoolFile } from '../../src/events/spool-file.ts';
import { drainSpool, holdSpool, leaveToDaemon, openSpool } from '../../src/events/spool-folder.ts';
import { mendFromSpool, type SpoolLock } from '../../src/events/spool-mend.ts';
import { spoolSource } from '../../src/events/spool.ts';
import type { GuardEvent, Source, SourceHealth } from '../../src/events/types.ts';
import { hookFile, openBench, type SpoolBench } from './spool-host.ts';

const STARTED = hookFile('network', 'default', 'started');

let bench: SpoolBench;
let source: Source | undefined;

afterEach(async () => {
  await source?.close();
  source = undefined;
  bench?.remove();
});

describe('a spool file', () => {
  it('is read as the six fields the hook wrote', () => {
    expect(parseSpoolFile(STARTED)).toEqual({
      object: 'network',
      subject: 'default',
      operation: 'started',
      subOperation: 'begin',
      extra: '-',
    });
  });

  it('keeps any name as data, control characters and newlines included', () => {
    const name = fc.string({ unit: 'binary' }).filter((text) => !text.includes('\0'));
    fc.assert(fc.property(name, (subject) => parseSpoolFile(hookFile('qemu', subject, 'start'))?.subject === subject));
  });

  it('is refused when it is cut off anywhere, has a field too many, or is another format', () => {
    for (let length = 0; length < STARTED.length; length += 1)
      expect(parseSpoolFile(STARTED.slice(0, length))).toBeUndefined();
    expect(parseSpoolFile(`${STARTED}more\0`)).toBeUndefined();
    expect(parseSpoolFile(STARTED.replace('hook-1', 'hook-2'))).toBeUndefined();
  });
});

describe('drainSpool', () => {
  it('gives the events in the order the hooks wrote them, and leaves an empty folder', async () => {
    bench = openBench();
    bench.put('900.10-7', hookFile('network', 'third', 'started'));
    bench.put('9.10-11', hookFile('network', 'first', 'started'), 2_000);
    bench.put('100.10-9', hookFile('network', 'second', 'started'), 1_000);
    const events = await drainSpool(bench.host, bench.spool);
    expect(events.map((event) => event.kind === 'hook' && event.subject)).toEqual(['first', 'second', 'third']);
    expect(bench.names()).toEqual([]);
    expect(bench.logged).toEqual([]);
  });

  it('dates an event with the time its file was written', async () => {
    bench = openBench();
    bench.put('1.00-1', STARTED, 60_000);
    const [event] = await drainSpool(bench.host, bench.spool);
    if (event?.kind !== 'hook') throw new Error('no hook event');
    expect(Math.abs(Date.now() - 60_000 - event.atMs)).toBeLessThan(2_000);
  });

  it('moves aside what no hook wrote, in one warning and one `look`, and still reads the rest', async () => {
    bench = openBench();
    bench.put('1.00-1', STARTED);
    bench.put('evil\u001b[31m', 'rm -rf /\n');
    bench.put('huge', 'x'.repeat(70 * 1024));
    symlinkSync('/etc/passwd', join(bench.spool, 'link'));
    mkdirSync(join(bench.spool, 'folder'));
    const events = await drainSpool(bench.host, bench.spool);
    expect(events.map((event) => event.kind)).toEqual(['hook', 'look']);
    expect(bench.names()).toEqual([]);
    expect(bench.names('bad')).toEqual(['evil\u001b[31m', 'folder', 'huge', 'link']);
    expect(bench.logged).toHaveLength(1);
    expect(bench.logged[0]).toMatch(/^warning: spool: 4 files no hook wrote/);
    expect(bench.logged[0]).not.toContain('\u001b');
  });

  it.runIf(process.getuid?.() === 0)(
    'moves aside a file of another owner than the folder (needs root to make one)',
    async () => {
      bench = openBench();
      bench.put('1.00-1', STARTED);
      lchownSync(join(bench.spool, '1.00-1'), 65534, 65534);
      expect((await drainSpool(bench.host, bench.spool)).map((event) => event.kind)).toEqual(['look']);
      expect(bench.names('bad')).toEqual(['1.00-1']);
    },
  );

  it('keeps at most 20 bad files, and empties the spool all the same', async () => {
    bench = openBench();
    for (let index = 0; index < 50; index += 1) bench.put(`bad-${index}`, 'x');
    await drainSpool(bench.host, bench.spool);
    expect(bench.names('bad')).toHaveLength(20);
    expect(bench.names()).toEqual([]);
  });

  it('leaves hidden names alone: they are files in the making', async () => {
    bench = openBench();
    bench.put('.new', STARTED);
    expect(await drainSpool(bench.host, bench.spool)).toEqual([]);
    expect(bench.names()).toEqual(['.new']);
  });

  it('finds nothing in a folder that is not there', async () => {
    bench = openBench();
    expect(await drainSpool(bench.host, `${bench.spool}-missing`)).toEqual([]);
  });

  it('gives no event for a file it could not remove, so that none is given for ever', async () => {
    bench = openBench({ remove: () => Promise.reject(new Error('read-only file system')) });
    bench.put('1.00-1', STARTED);
    await expect(drainSpool(bench.host, bench.spool)).rejects.toThrow('read-only');
  });
});

describe('what a daemon has not taken', () => {
  it('is moved out of sight after the grace and read by the next reader, before what is newer', async () => {
    bench = openBench();
    bench.put('1.00-1', hookFile('network', 'held', 'started'), 1_000);
    expect(await leaveToDaemon(bench.host, bench.spool, 60)).toBe(1);
    expect([bench.names(), bench.names('held')]).toEqual([[], ['1.00-1']]);
    bench.put('2.00-2', hookFile('network', 'new', 'started'));
    const events = await drainSpool(bench.host, bench.spool);
    expect(events.map((event) => event.kind === 'hook' && event.subject)).toEqual(['held', 'new']);
  });

  it('is not touched when the daemon takes it within the grace', async () => {
    bench = openBench();
    bench.put('1.00-1', STARTED);
    setTimeout(() => rmSync(join(bench.spool, '1.00-1')), 50);
    expect(await leaveToDaemon(bench.host, bench.spool, 5_000)).toBe(0);
    expect(bench.names('held')).toEqual([]);
  });

  it('is bounded: with 1000 files held, more are dropped', async () => {
    bench = openBench();
    mkdirSync(`${bench.spool}-held`);
    for (let index = 0; index < 999; index += 1) writeFileSync(`${bench.spool}-held/old-${index}`, '');
    for (let index = 0; index < 3; index += 1) bench.put(`1.00-${index}`, STARTED);
    await holdSpool(bench.host, bench.spool);
    expect([bench.names().length, bench.names('held').length]).toEqual([0, 1000]);
  });
});

describe('mendFromSpool', () => {
  const work = (locks: SpoolLock[], pass: (events: readonly GuardEvent[]) => void) => ({
    lock: () => Promise.resolve(locks.shift() ?? 'mine'),
    pass: (events: readonly GuardEvent[]) => Promise.resolve(pass(events)),
  });

  it('runs one pass for all that is there, and another for what came meanwhile', async () => {
    bench = openBench();
    for (const name of ['1.00-1', '1.00-2']) bench.put(name, STARTED);
    const counts: number[] = [];
    const pass = (events: readonly GuardEvent[]): void => {
      if (counts.push(events.length) === 1) bench.put('2.00-3', STARTED);
    };
    expect(await mendFromSpool(bench.host, work(['mine'], pass), bench.spool)).toEqual({ kind: 'mended', passes: 2 });
    expect(counts).toEqual([2, 1]);
  });

  it('ends, and leaves the rest to the next start, when a hook comes in every pass', async () => {
    bench = openBench();
    bench.put('1.00-0', STARTED);
    let passes = 0;
    const pass = (): void => bench.put(`1.00-${(passes += 1)}`, STARTED);
    expect(await mendFromSpool(bench.host, work(['mine'], pass), bench.spool)).toEqual({ kind: 'mended', passes: 10 });
    expect(bench.names()).toEqual(['1.00-10']);
  });

  it('runs no pass and takes no file when a daemon or another command holds the lock', async () => {
    const pass = (): never => expect.fail('a pass ran without the lock');
    for (const lock of ['daemon', 'busy'] as const) {
      bench = openBench();
      bench.put('1.00-1', STARTED);
      const outcome = await mendFromSpool(bench.host, work([lock, lock], pass), bench.spool);
      expect(outcome).toEqual({ kind: lock === 'daemon' ? 'left-to-daemon' : 'busy', held: 1 });
      expect([bench.names(), bench.names('held')]).toEqual([[], ['1.00-1']]);
      bench.remove();
    }
  });

  it('does the work itself when the daemon ended without taking the files', async () => {
    bench = openBench();
    bench.put('1.00-1', STARTED);
    const pass = vi.fn();
    expect(await mendFromSpool(bench.host, work(['daemon', 'mine'], pass), bench.spool)).toEqual({
      kind: 'mended',
      passes: 1,
    });
    expect(pass).toHaveBeenCalledTimes(1);
  });

  it('has emptied the spool when a pass fails, so that the path unit does not start it for the same files again', async () => {
    bench = openBench();
    bench.put('1.00-1', STARTED);
    const pass = (): never => {
      throw new Error('iptables-restore failed');
    };
    await expect(mendFromSpool(bench.host, work(['mine'], pass), bench.spool)).rejects.toThrow(
      'iptables-restore failed',
    );
    expect(bench.names()).toEqual([]);
  });
});

describe('the spool source', () => {
  interface Heard {
    readonly subjects: string[];
    readonly health: SourceHealth[];
  }

  async function listen(opened: SpoolBench): Promise<Heard> {
    const heard: Heard = { subjects: [], health: [] };
    source = spoolSource(opened.host, opened.spool);
    await source.start({
      event: (event) => void heard.subjects.push(event.kind === 'hook' ? event.subject : event.kind),
      health: (health) => void heard.health.push(health),
    });
    return heard;
  }

  it('gives at its start what hooks left while nobody listened', async () => {
    bench = openBench();
    bench.put('1.00-1', STARTED);
    const heard = await listen(bench);
    expect(heard.subjects).toEqual(['default']);
    expect(heard.health.map(({ state }) => state)).toEqual(['ok']);
  });

  it('hears a hundred hooks at once, each one time and in order', async () => {
    bench = openBench();
    const heard = await listen(bench);
    const subjects = Array.from({ length: 100 }, (_, index) => `net${index}`);
    subjects.forEach((subject, index) => bench.put(`1.00-${index}`, hookFile('network', subject, 'started')));
    await vi.waitFor(() => expect(heard.subjects).toHaveLength(100), { timeout: 4_000 });
    expect(heard.subjects).toEqual(subjects);
    expect(bench.names()).toEqual([]);
  });

  it('is degraded without inotify, says so once, and still lists the folder', async () => {
    let relists: (() => void)[] = [];
    bench = openBench({
      watch: (_folder, handlers) => {
        handlers.failed('no watches left');
        return { close: () => undefined };
      },
    });
    const host = {
      ...bench.host,
      clock: {
        ...bench.host.clock,
        after: (_ms: number, run: () => void) => (relists.push(run), { cancel: () => undefined }),
      },
    };
    const heard = await listen({ ...bench, host });
    expect(heard.health).toEqual([
      { source: 'spool', state: 'degraded', detail: 'no inotify (no watches left): listed every 5 s' },
    ]);
    bench.put('1.00-1', STARTED);
    const due = relists;
    relists = [];
    for (const run of due) run();
    await vi.waitFor(() => expect(heard.subjects).toEqual(['default']));
    expect(heard.health).toHaveLength(1);
  });

  it('goes on after its folder was removed and made again', async () => {
    bench = openBench();
    const heard = await listen(bench);
    rmSync(bench.spool, { recursive: true });
    const states = (): string[] => heard.health.map(({ state }) => state);
    await vi.waitFor(() => expect(states()).toEqual(['ok', 'degraded', 'ok']), { timeout: 8_000, interval: 100 });
    bench.put('1.00-1', STARTED);
    await vi.waitFor(() => expect(heard.subjects).toEqual(['default']), { timeout: 8_000 });
  });

  it('refuses a folder in which others could write, and reads it once that is put right', async () => {
    bench = openBench();
    chmodSync(bench.spool, 0o777);
    await expect(openSpool(bench.host, bench.spool)).rejects.toMatchObject({ code: 'spool-unsafe' });
    bench.put('1.00-1', STARTED);
    const heard = await listen(bench);
    expect(heard.health[0]).toMatchObject({ state: 'degraded', detail: expect.stringContaining('writable by others') });
    expect(heard.subjects).toEqual([]);
    chmodSync(bench.spool, 0o750);
    await vi.waitFor(() => expect(heard.subjects).toEqual(['default']), { timeout: 8_000, interval: 100 });
  });

  it('leaves to the next reader what it has not handed on when it is closed', async () => {
    bench = openBench();
    const heard = await listen(bench);
    for (let index = 0; index < 300; index += 1)
      bench.put(`1.00-${index}`, hookFile('network', `net${index}`, 'started'));
    await vi.waitFor(() => expect(heard.subjects.length).toBeGreaterThan(0));
    await source?.close();
    const left = bench.names().length;
    expect(heard.subjects.length + left).toBe(300);
  });
});

it('the hook and the reader agree on the format word', () => {
  const script = readFileSync(join(dirname(new URL(import.meta.url).pathname), '../../hooks/mendwall-hook'), 'utf8');
  const format = /printf '%s\\0' (\S+)/.exec(script)?.[1]; // printf '%s\0' mendwall-hook-1 "$@" >"$new"
  expect(parseSpoolFile(STARTED.replace('mendwall-hook-1', format ?? ''))).toBeDefined();
});
