import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { createFakeKernel, type FakeKernel } from '../fake/kernel.ts';
import { drive, firstNetStart, netDestroy, netStart, reload, sighup, type Argv } from './libvirt-commands.ts';
import { LIBVIRT_JUMPS, natNetworkRules, type BridgeNetwork } from './libvirt-rules.ts';

const DEFAULT: BridgeNetwork = { name: 'default', bridge: 'virbr0', subnet: '192.168.122.0/24' };

/** The captured commands as argument vectors; libvirt quotes only the `!`. */
const captured = (name: string): Argv[] =>
  readFileSync(new URL(`captured/libvirt-9.0-${name}.commands.txt`, import.meta.url), 'utf8')
    .trimEnd()
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .map((line) => line.replaceAll("'!'", '!').split(' '));

const answerFrom = (kernel: FakeKernel) => (command: Argv) => kernel.foreign(command);

describe('libvirt, as its own log shows it', () => {
  test('net-start and net-destroy', () => {
    expect(netStart(DEFAULT)).toEqual(captured('net-start'));
    expect(netDestroy(DEFAULT)).toEqual(captured('net-destroy'));
  });

  test('SIGHUP', () => expect(sighup([DEFAULT])).toEqual(captured('sighup')));

  test('the first net-start of its life, on an empty kernel', () => {
    const kernel = createFakeKernel();
    expect(drive(firstNetStart(DEFAULT), answerFrom(kernel))).toEqual(captured('net-start-first'));
  });

  test('a daemon start, with its chains there', () => {
    const kernel = createFakeKernel();
    drive(firstNetStart(DEFAULT), answerFrom(kernel));
    expect(drive(reload([DEFAULT]), answerFrom(kernel))).toEqual(captured('daemon-start'));
  });
});

describe.each(['nft', 'legacy'] as const)('what these commands leave in the fake kernel, %s', (engine) => {
  const tables = [...natNetworkRules(DEFAULT), ...LIBVIRT_JUMPS];

  test('is what libvirt leaves in the real one', () => {
    const kernel = createFakeKernel({ engine });
    drive(firstNetStart(DEFAULT), answerFrom(kernel));
    drive(reload([DEFAULT]), answerFrom(kernel));
    const saved = kernel.save();
    for (const [place, expected] of tables) {
      const [table = '', chain] = place.split('/');
      const text = saved.slice(saved.indexOf(`*${table}\n`)).split('COMMIT')[0] ?? '';
      expect(text.split('\n').filter((line) => line.startsWith(`-A ${chain} `))).toEqual(expected);
    }
    expect(kernel.commands.filter(({ exitCode }) => exitCode !== 0)).toEqual([]);
  });
});
