import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { realFiles } from '../../src/host/files.ts';
import { HostError } from '../../src/host/host.ts';

let dir = '';
beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'mendwall-files-'))));
afterEach(() => rmSync(dir, { recursive: true }));

const own = () => realFiles({ ownFolders: [dir] });

async function failure(promise: Promise<unknown>): Promise<HostError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof HostError)) throw new Error(`expected a HostError, got ${String(error)}`);
  return error;
}

describe('read', () => {
  test('does not wait for a pipe or read a device for ever', async () => {
    execFileSync('mkfifo', [`${dir}/pipe`]);
    symlinkSync('/dev/zero', `${dir}/zero`);
    const files = realFiles({ ownFolders: [] });
    expect((await failure(files.read(`${dir}/pipe`))).message).toContain('a pipe or a device');
    expect((await failure(files.read(`${dir}/zero`))).message).toContain('a pipe or a device');
  });
});

describe('writeAtomic', () => {
  test('replaces the whole file, leaves nothing else, and is 0640 whatever the umask', async () => {
    const before = process.umask(0o077);
    try {
      await own().makeDir(`${dir}/a/b`);
      await own().writeAtomic(`${dir}/a/b/x`, 'one');
      await own().writeAtomic(`${dir}/a/b/x`, 'two \udcff');
    } finally {
      process.umask(before);
    }
    expect(await own().read(`${dir}/a/b/x`)).toBe('two \udcff');
    expect(readdirSync(`${dir}/a/b`)).toEqual(['x']);
    expect(statSync(`${dir}/a/b/x`).mode & 0o777).toBe(0o640);
    expect([statSync(`${dir}/a`).mode & 0o777, statSync(`${dir}/a/b`).mode & 0o777]).toEqual([0o750, 0o750]);
  });

  test('an error leaves the old content and no temporary file', async () => {
    await own().makeDir(`${dir}/x`);
    await own().writeAtomic(`${dir}/x/old`, 'old');
    const error = await failure(own().writeAtomic(`${dir}/x`, 'a folder stands here'));
    expect(error.code).toBe('write-failed');
    expect(error.message).toContain('the old content is kept');
    expect(readdirSync(dir)).toEqual(['x']);
    expect(await own().read(`${dir}/x/old`)).toBe('old');
  });

  test('replaces a symbolic link instead of writing through it', async () => {
    writeFileSync(`${dir}/target`, 'untouched');
    symlinkSync(`${dir}/target`, `${dir}/link`);
    await own().writeAtomic(`${dir}/link`, 'new');
    expect([await own().read(`${dir}/target`), await own().read(`${dir}/link`)]).toEqual(['untouched', 'new']);
  });

  test('quick and durable give the same file', async () => {
    await own().writeAtomic(`${dir}/x`, 'x', 'quick');
    expect([await own().read(`${dir}/x`), readdirSync(dir)]).toEqual(['x', ['x']]);
  });
});

describe('append', () => {
  test('adds whole lines, and lines of many writers do not mix', async () => {
    const long = (n: number) => String(n).repeat(5_000);
    await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map((n) => own().append(`${dir}/log`, long(n), 'quick')));
    const lines = (await own().read(`${dir}/log`))?.split('\n') ?? [];
    expect(lines.pop()).toBe('');
    expect(lines.sort()).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map(long));
    expect(statSync(`${dir}/log`).mode & 0o777).toBe(0o640);
  });

  test('refuses a symbolic link', async () => {
    symlinkSync(`${dir}/elsewhere`, `${dir}/log`);
    const error = await failure(own().append(`${dir}/log`, 'x'));
    expect([error.code, error.message]).toEqual(['write-failed', expect.stringContaining('symbolic link')]);
    expect(existsSync(`${dir}/elsewhere`)).toBe(false);
  });
});

describe('reading', () => {
  test('what does not exist is undefined or empty', async () => {
    expect(await own().read(`${dir}/no`)).toBeUndefined();
    expect(await own().read(`${dir}/no/no`)).toBeUndefined();
    expect(await own().list(`${dir}/no`)).toEqual([]);
    expect(await own().exists(`${dir}/no`)).toBe(false);
    expect(await own().readLink(`${dir}/no`)).toBeUndefined();
    await own().remove(`${dir}/no`);
  });

  test('follows a link in a folder of others, refuses it in our own', async () => {
    writeFileSync(`${dir}/target`, 'text');
    symlinkSync(`${dir}/target`, `${dir}/link`);
    expect(await realFiles({ ownFolders: [] }).read(`${dir}/link`)).toBe('text');
    expect((await failure(own().read(`${dir}/link`))).message).toContain('symbolic link');
  });

  test('a folder in place of a file is read-failed with the path', async () => {
    const error = await failure(own().read(dir));
    expect([error.code, error.message]).toEqual(['read-failed', expect.stringContaining(dir)]);
  });

  test('lists in order, tells where links point, and removes folders with all in them', async () => {
    await own().makeDir(`${dir}/f`);
    for (const name of ['b', 'a', 'c']) await own().writeAtomic(`${dir}/f/${name}`, '');
    symlinkSync('a', `${dir}/f/link`);
    expect(await own().list(`${dir}/f`)).toEqual(['a', 'b', 'c', 'link']);
    expect([await own().readLink(`${dir}/f/link`), await own().readLink(`${dir}/f/a`)]).toEqual(['a', undefined]);
    await own().rename(`${dir}/f`, `${dir}/g`);
    expect([await own().exists(`${dir}/f`), await own().exists(`${dir}/g/a`)]).toEqual([false, true]);
    await own().remove(`${dir}/g`);
    expect(readdirSync(dir)).toEqual([]);
  });

  test.skipIf(process.getuid?.() === 0)(
    'no permission says what to do (not as root: root may read everything)',
    async () => {
      writeFileSync(`${dir}/x`, '');
      chmodSync(`${dir}/x`, 0);
      expect((await failure(own().read(`${dir}/x`))).message).toContain('run as root');
    },
  );
});
