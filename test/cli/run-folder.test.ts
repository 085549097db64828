// The daemon's locks and socket when somebody removes the run folder under it. Real files, real flock(1).

import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openRunFolder, type RunFolder } from '../../src/cli/run-folder.ts';
import { Stop } from '../../src/cli/exit-codes.ts';
import type { Config } from '../../src/config.ts';
import type { Host } from '../../src/host/host.ts';
import { realHost } from '../../src/host/real.ts';
import { acquireLock } from '../../src/host/lock.ts';
import { callControl, serveControl } from '../../src/host/socket.ts';

let top = '';
let logged: string[] = [];
let host: Host;
const open: RunFolder[] = [];
beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), 'mendwall-run-'));
  logged = [];
  host = {
    ...realHost({ ownFolders: [] }),
    log: { write: (level, message) => void logged.push(`${level} ${message}`) },
  };
});
afterEach(async () => {
  for (const folder of open.splice(0)) await folder.close();
  rmSync(top, { recursive: true, force: true });
});

const runDir = (): string => join(top, 'run');

async function daemon(name: string): Promise<RunFolder> {
  const folder = await openRunFolder(host, { runDir: runDir() } as Config, 200);
  open.push(folder);
  await folder.serve(async () => ({ schema: 1, ok: true, result: name }));
  return folder;
}

async function whoAnswers(): Promise<unknown> {
  const request = { schema: 1, verb: 'status', args: {} } as const;
  const outcome = await callControl(join(runDir(), 'control.sock'), request, 2_000);
  return outcome.kind === 'answer' && outcome.answer.ok ? outcome.answer.result : outcome.kind;
}

describe('the run folder', () => {
  it('is held by one daemon', async () => {
    await daemon('first');
    await expect(daemon('second')).rejects.toBeInstanceOf(Stop);
    expect(await whoAnswers()).toBe('first');
  });

  it('is made again when it is removed, said once, and still keeps a second daemon out', async () => {
    const first = await daemon('first');
    for (const round of [1, 2, 3]) {
      rmSync(runDir(), { recursive: true, force: true });
      await expect.poll(whoAnswers, { timeout: 5_000, interval: 20 }).toBe('first');
      await expect.poll(() => readdirSync(runDir()).length, { timeout: 5_000 }).toBe(3);
      await expect(daemon('second')).rejects.toThrow(/guards this network namespace already/);
      expect([round, logged.at(-1)]).toEqual([
        round,
        expect.stringMatching(/^error .* was removed while mendwall runs/),
      ]);
    }
    await first.close();
    expect(existsSync(join(runDir(), 'control.sock'))).toBe(false);
    await daemon('second');
    expect(await whoAnswers()).toBe('second');
  });

  it('mends a socket that alone was removed', async () => {
    await daemon('first');
    rmSync(join(runDir(), 'control.sock'));
    await expect.poll(whoAnswers, { timeout: 5_000, interval: 20 }).toBe('first');
  });

  it('is given up to another daemon that was faster, whose socket stays', async () => {
    const first = await daemon('first');
    const other = join(top, 'other');
    mkdirSync(other);
    const lock = await acquireLock({ runDir: other, name: 'run', waitMs: 0, command: 'mendwall run' });
    const server = await serveControl(join(other, 'control.sock'), async () => ({
      schema: 1,
      ok: true,
      result: 'second',
    }));
    // In one turn, so that the first cannot be the faster one.
    renameSync(runDir(), join(top, 'away'));
    renameSync(other, runDir());
    expect(await first.taken).toMatch(/was removed under this daemon, and mendwall run \(pid \d+\) guards this/);
    await first.close();
    expect(await whoAnswers()).toBe('second');
    await server.close();
    if (lock.kind === 'held') await lock.release();
  });
});
