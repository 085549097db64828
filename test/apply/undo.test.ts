// What is led back after a failed apply leaves a lock chain that the next pass knows as one.

import { expect, it } from 'vitest';
import { undo } from '../../src/apply/apply.ts';
import type { Command, Host } from '../../src/host/host.ts';
import { SENTINEL } from '../../src/owners/mendwall.ts';

it('an undo replaces the lock chain of the commit it leads back by another lock chain', async () => {
  const inputs: string[] = [];
  const exec = (request: Command): ReturnType<Host['exec']> => {
    inputs.push(request.input ?? '');
    return Promise.resolve({
      command: request,
      exitCode: 0,
      stdout: '',
      stderr: '',
      durationMs: 1,
      timedOut: false,
      pid: 1,
    });
  };
  const plan = { family: 'ip', table: 'filter', edits: [] } as const;
  const commit = { plan, inverse: plan, sentinel: { seen: 'mw-00000001', next: 'mw-00000002' } };
  await undo({ exec } as Host, 'ip', 'nft', [commit], () => 'mw-00000003');
  expect(inputs).toEqual(['*filter\n-X mw-00000002\n-N mw-00000003\nCOMMIT\n']);
  expect('mw-00000003').toMatch(SENTINEL);
});
