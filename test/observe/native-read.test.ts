// What a host without nft, or without nf_tables, says of native tables; the rest is test/lab/native-pass.lab.ts's to show.

import { expect, it } from 'vitest';
import type { Host } from '../../src/host/host.ts';
import { readNative } from '../../src/observe/native-read.ts';

const saying = (exitCode: number, stderr: string): Pick<Host, 'exec'> => ({
  exec: (command) =>
    Promise.resolve({ command, exitCode, stdout: '', stderr, durationMs: 0, timedOut: false, pid: undefined }),
});

it.each([
  [127, 'nft: not found'],
  [1, 'Unable to initialize Netlink socket: Protocol not supported\n'],
  [1, 'netlink: Error: cache initialization failed: Operation not supported\n'],
])('exit %i, %s: no native table, and that can be told', async (exitCode, stderr) => {
  expect(await readNative(saying(exitCode, stderr))).toMatchObject({ kind: 'tables', tables: [], isWithoutNft: true });
});

it('is unreadable, never empty, when nft fails otherwise', async () => {
  const stderr = 'netlink: Error: cache initialization failed: Operation not permitted\n';
  expect(await readNative(saying(1, stderr))).toMatchObject({
    kind: 'unreadable',
    why: expect.stringContaining('Operation not permitted'),
  });
});
