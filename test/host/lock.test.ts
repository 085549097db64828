import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { HostError } from '../../src/host/host.ts';
import { acquireLock, type HeldLock, type LockRequest } from '../../src/host/lock.ts';
import { bundle, start } from './child.ts';

let runDir = '';
beforeEach(() => (runDir = mkdtempSync(join(tmpdir(), 'mendwall-lock-'))));
afterEach(() => rmSync(runDir, { recursive: true }));

const request = (waitMs = 0): LockRequest => ({ runDir, name: 'pass', waitMs, command: 'mendwall mend' });

async function mustHold(waitMs = 0): Promise<HeldLock> {
  const outcome = await acquireLock(request(waitMs));
  if (outcome.kind !== 'held') throw new Error(`busy: ${JSON.stringify(outcome.holder)}`);
  return outcome;
}

/** Takes the lock, starts a child of its own that outlives it, says `held CHILDPID`, and stays. */
const HOLDER = `
  import { spawn } from 'node:child_process';
  import { acquireLock } from './src/host/lock.ts';
  void acquireLock({ runDir: process.argv[2] ?? '', name: 'pass', waitMs: 5000, command: 'mendwall run' }).then((outcome) => {
    const child = spawn('sleep', ['30'], { stdio: 'ignore' });
    console.log(outcome.kind, child.pid);
    setInterval(() => undefined, 1000);
  });`;

describe('the pass lock', () => {
  test('is held by one, names the holder to the others, and is free after release', async () => {
    const first = await mustHold();
    expect(await acquireLock(request())).toEqual({
      kind: 'busy',
      holder: { pid: process.pid, comm: expect.any(String), command: 'mendwall mend' },
    });
    await first.release();
    await (await mustHold()).release();
  });

  test('is one per network namespace and purpose, in a file of mode 0640', async () => {
    const first = await mustHold();
    const inode = execFileSync('readlink', ['/proc/self/ns/net'], { encoding: 'utf8' }).replace(/\D/g, '');
    expect(readdirSync(runDir)).toEqual([`pass-${inode}.lock`]);
    expect(statSync(`${runDir}/pass-${inode}.lock`).mode & 0o777).toBe(0o640);
    const other = await acquireLock({ ...request(), name: 'run' });
    expect(other.kind).toBe('held');
    await first.release();
  });

  test('waits as long as asked, not longer, and gets the lock when it becomes free', async () => {
    const first = await mustHold();
    const startedMs = performance.now();
    expect((await acquireLock(request(300))).kind).toBe('busy');
    const waitedMs = performance.now() - startedMs;
    expect(waitedMs).toBeGreaterThanOrEqual(295);
    expect(waitedMs).toBeLessThan(3_000);
    const waiting = mustHold(10_000);
    setTimeout(() => void first.release(), 100);
    await (await waiting).release();
  });

  test('kill -9 of the holder frees it at once, though a child of the holder lives on', async () => {
    const holder = start(bundle(HOLDER, runDir), [runDir]);
    const [word, childPid] = (await holder.firstLine()).split(' ');
    expect(word).toBe('held');
    expect(await acquireLock(request())).toMatchObject({
      kind: 'busy',
      holder: { pid: holder.process.pid, command: 'mendwall run' },
    });
    await holder.kill('SIGKILL');
    expect(() => process.kill(Number(childPid), 0)).not.toThrow();
    await (await mustHold()).release();
    process.kill(Number(childPid));
  });

  test('is not handed on to children', async () => {
    const lock = await mustHold();
    const child = spawn('sh', ['-c', 'ls -l /proc/self/fd'], { stdio: ['ignore', 'pipe', 'ignore'] });
    let seen = '';
    child.stdout.on('data', (chunk: Buffer) => (seen += chunk.toString()));
    await new Promise((resolve) => child.on('close', resolve));
    expect(seen).toContain('->');
    expect(seen).not.toContain('.lock');
    await lock.release();
  });

  test('a lock file that was replaced meanwhile is not taken for the lock', async () => {
    const first = await mustHold();
    const [name = ''] = readdirSync(runDir);
    const waiting = mustHold(10_000);
    await new Promise((resolve) => setTimeout(resolve, 100));
    renameSync(`${runDir}/${name}`, `${runDir}/moved-away`);
    await first.release();
    const second = await waiting;
    expect((await acquireLock(request())).kind).toBe('busy');
    await second.release();
  });

  test('a folder that is not there is lock-failed', async () => {
    const error: unknown = await acquireLock({ ...request(), runDir: `${runDir}/no` }).catch(
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(HostError);
    expect(error).toMatchObject({ code: 'lock-failed' });
  });
});
