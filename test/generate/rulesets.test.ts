import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createFakeKernel } from '../fake/kernel.ts';
import { drive, firstNetStart, netStart } from './libvirt-commands.ts';
import { hostWithLibvirt, printSketch, saveText, userTables } from './rulesets.ts';

const rulesOf = (text: string): string[] => text.split('\n').filter((line) => line.startsWith('-A '));

describe('generated rulesets', () => {
  test('load into the fake kernel and come back as they are', () => {
    fc.assert(
      fc.property(hostWithLibvirt(), ({ text }) => {
        const kernel = createFakeKernel();
        expect(kernel.foreign(['iptables-restore'], text)).toMatchObject({ exitCode: 0, stderr: '' });
        expect(kernel.save()).toBe(text);
      }),
      { numRuns: 200 },
    );
  });

  test("of a host are what libvirt's own commands make of the admin's rules", () => {
    fc.assert(
      fc.property(hostWithLibvirt('top'), ({ user, networks, text }) => {
        const kernel = createFakeKernel();
        kernel.foreign(['iptables-restore'], printSketch(user));
        const [first, ...later] = networks;
        drive(firstNetStart(first!), (command) => kernel.foreign(command));
        for (const command of later.flatMap(netStart)) kernel.foreign(command);
        expect(kernel.save()).toBe(text);
      }),
      { numRuns: 100 },
    );
  });

  test('hold identical rules, chains of their own, comments with quotes, counters and old dialects', () => {
    const samples = fc.sample(saveText, { numRuns: 400, seed: 7 });
    const repeats = samples.some((text) => new Set(rulesOf(text)).size < rulesOf(text).length);
    const shows = (pattern: RegExp): boolean => samples.some((text) => pattern.test(text));
    expect([
      repeats,
      shows(/^:BLOCK - /m),
      shows(/\\"/),
      shows(/^\[\d+:\d+\] -A/m),
      shows(/-d ! /),
      shows(/LIBVIRT_FWX/),
    ]).toEqual(Array(6).fill(true));
  });

  test('of an admin hold no rule of libvirt', () => {
    fc.assert(
      fc.property(userTables(), (tables) => {
        const chains = tables.flatMap((table) => table.chains.map(({ name }) => name));
        expect(chains.filter((name) => name.startsWith('LIBVIRT'))).toEqual([]);
      }),
    );
  });
});
