// The control socket, on real sockets.

import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { callControl, type ControlServer, serveControl } from '../../src/host/socket.ts';

let folder: string;
let path: string;
const servers: ControlServer[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mwc-'));
  path = join(folder, 'control.sock');
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
  rmSync(folder, { recursive: true });
});

const REQUEST = { schema: 1, verb: 'echo', args: { text: 'ü\n"' } } as const;

async function serve(handler: Parameters<typeof serveControl>[1]): Promise<void> {
  servers.push(await serveControl(path, handler));
}

/** What the socket answers to raw bytes. */
function raw(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => socket.end(text));
    let answer = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk));
    socket.on('end', () => resolve(answer)).on('error', reject);
  });
}

describe('the control socket', () => {
  it('carries a request and its answer, large ones too, and is for its owner alone', async () => {
    const large = 'x'.repeat(3_000_000);
    await serve(({ args }) => Promise.resolve({ schema: 1, ok: true, result: { args, large } }));
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await callControl(path, REQUEST, 5000)).toEqual({
      kind: 'answer',
      answer: { schema: 1, ok: true, result: { args: REQUEST.args, large } },
    });
  });

  it('answers several at once', async () => {
    await serve(async ({ args }) => {
      await new Promise((resolve) => setTimeout(resolve, 30));
      return { schema: 1, ok: true, result: args['n'] };
    });
    const outcomes = await Promise.all([1, 2, 3].map((n) => callControl(path, { ...REQUEST, args: { n } }, 5000)));
    expect(
      outcomes.map((outcome) => (outcome.kind === 'answer' && outcome.answer.ok ? outcome.answer.result : outcome)),
    ).toEqual([1, 2, 3]);
  });

  it('is absent when nobody listens: no file, or the file of a daemon that is gone', async () => {
    expect(await callControl(path, REQUEST, 1000)).toEqual({ kind: 'absent' });
    const other = join(folder, 'plain');
    writeFileSync(other, '');
    expect(await callControl(other, REQUEST, 1000)).toEqual({ kind: 'absent' });
  });

  it('is silent when the daemon does not answer in time', async () => {
    await serve(() => new Promise(() => undefined));
    expect(await callControl(path, REQUEST, 50)).toEqual({ kind: 'silent' });
  });

  it.each(['nonsense\n', '{"schema":2,"verb":"x"}\n', '{"schema":1}\n', ''])('refuses %j', async (text) => {
    await serve(() => Promise.resolve({ schema: 1, ok: true, result: 'never' }));
    expect(JSON.parse(await raw(text))).toMatchObject({ ok: false, code: 'bad-request' });
  });

  it('turns an exception of the handler into an answer', async () => {
    await serve(() => Promise.reject(new Error('broken')));
    expect(await callControl(path, REQUEST, 1000)).toMatchObject({
      answer: { ok: false, code: 'internal-error', message: 'broken' },
    });
  });

  it('takes the place of a dead socket, but of no other file', async () => {
    await serve(() => Promise.resolve({ schema: 1, ok: true, result: 1 }));
    await serve(() => Promise.resolve({ schema: 1, ok: true, result: 2 }));
    expect(await callControl(path, REQUEST, 1000)).toMatchObject({ answer: { result: 2 } });
    const other = join(folder, 'plain');
    writeFileSync(other, 'keep');
    await expect(serveControl(other, () => Promise.reject(new Error('never')))).rejects.toMatchObject({
      code: 'socket-failed',
    });
  });
});
