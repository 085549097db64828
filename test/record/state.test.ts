import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { HostError } from '../../src/host/host.ts';
import { bootId, openStateFiles } from '../../src/record/state.ts';
import { fixture } from './fixture.ts';

interface Pause {
  readonly untilMs: number;
}

const isPause = (value: Readonly<Record<string, unknown>>): value is Readonly<Record<string, unknown>> & Pause =>
  typeof value['untilMs'] === 'number';

describe('state files', () => {
  test('a document is absent, then found, then removed', async () => {
    const { dir, host } = fixture();
    const state = openStateFiles(host, `${dir}/state`);
    expect(await state.read('pause', isPause)).toEqual({ kind: 'absent' });
    await state.write('pause', { untilMs: 5 });
    expect(await state.read('pause', isPause)).toEqual({ kind: 'found', value: { untilMs: 5 } });
    expect(JSON.parse(readFileSync(`${dir}/state/pause.json`, 'utf8'))).toEqual({ schema: 1, untilMs: 5 });
    expect(statSync(`${dir}/state/pause.json`).mode & 0o777).toBe(0o640);
    await state.remove('pause');
    await state.remove('pause');
    expect(await state.read('pause', isPause)).toEqual({ kind: 'absent' });
  });

  test.each([
    ['{"schema":1,"untilM', 'not a whole JSON object'],
    ['', 'not a whole JSON object'],
    ['[]', 'not a whole JSON object'],
    ['{"schema":2,"untilMs":5}', 'its schema is 2, expected 1'],
    ['{"schema":1,"untilMs":"5"}', 'a field is missing or of another type'],
  ])('%s is damaged: it is said why, moved aside and kept', async (text, reason) => {
    const { dir, host } = fixture();
    const state = openStateFiles(host, dir);
    writeFileSync(`${dir}/pause.json`, text);
    const outcome = await state.read('pause', isPause);
    if (outcome.kind !== 'damaged') throw new Error(outcome.kind);
    expect(outcome.reason).toContain(reason);
    expect(readFileSync(outcome.movedTo ?? '', 'utf8')).toBe(text);
    expect(await state.read('pause', isPause)).toEqual({ kind: 'absent' });
    expect(readdirSync(dir)).toHaveLength(1);
  });

  test('a damaged document that cannot be moved is still an answer', async () => {
    const { dir, host } = fixture();
    writeFileSync(`${dir}/pause.json`, 'x');
    const rename = () => Promise.reject(new HostError('write-failed', 'read-only'));
    const outcome = await openStateFiles({ ...host, files: { ...host.files, rename } }, dir).read('pause', isPause);
    expect(outcome).toEqual({ kind: 'damaged', reason: expect.stringContaining('read-only'), movedTo: undefined });
  });

  test('the boot id is that of the kernel', () => {
    expect(bootId(fixture().host)).toMatch(/^[0-9a-f]{8}-[0-9a-f-]{27}$/);
  });
});
