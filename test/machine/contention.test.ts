// Who fights for the order, and when the guard stands down and comes back.

import { describe, expect, it } from 'vitest';
import {
  ageContention,
  type Contention,
  contendedChains,
  noteDisplacement,
  restorePauseMs,
} from '../../src/machine/contention.ts';

const SETTINGS = { budget: 5, windowMs: 60_000 };
const FORWARD = 'ip filter FORWARD';

/** Mends at these times, against these rivals; the kinds of change that came of it. */
function mended(times: readonly (readonly [rival: string, atMs: number])[]): {
  contention: Contention;
  changes: string[];
} {
  let contention: Contention = new Map();
  const changes: string[] = [];
  for (const [rival, atMs] of times) {
    const noted = noteDisplacement(contention, FORWARD, rival, atMs, SETTINGS);
    contention = noted.contention;
    if (noted.change !== undefined) changes.push(`${noted.change.kind} ${noted.change.rival} ${atMs}`);
  }
  return { contention, changes };
}
const every = (ms: number, count: number, rival = 'libvirt'): [string, number][] =>
  Array.from({ length: count }, (_, index) => [rival, index * ms]);

describe('a rival', () => {
  it('makes a chain contended with the fifth mend in a minute, said once', () => {
    const { contention, changes } = mended(every(1000, 9));
    expect(changes).toEqual(['contended libvirt 4000']);
    expect(contendedChains(contention)).toEqual(new Set([FORWARD]));
  });

  it.each([
    ['four mends in a minute', every(1000, 4)],
    ['one every 16 seconds', every(16_000, 30)],
    ['any number within half a second: one burst', every(20, 25)],
    [
      'two rivals in turns',
      every(1000, 12).map(([, ms], index): [string, number] => [index % 2 === 0 ? 'libvirt' : 'xen', ms]),
    ],
  ])('does not with %s', (_, times) => {
    expect(mended(times).changes).toEqual([]);
  });

  it('that has been quiet for a window is no rival any more; that is said when it was one', () => {
    const { contention } = mended(every(1000, 5));
    expect(ageContention(contention, 63_999, SETTINGS).changes).toEqual([]);
    const aged = ageContention(contention, 64_000, SETTINGS);
    expect(aged.changes).toEqual([{ chain: FORWARD, rival: 'libvirt', kind: 'recovered' }]);
    expect(aged.contention.size).toBe(0);
    expect(ageContention(mended(every(1000, 3)).contention, 70_000, SETTINGS)).toEqual({
      contention: new Map(),
      changes: [],
    });
  });
});

describe('lost rules', () => {
  it('come back at once within the budget, then after 1, 2, 4 ... 60 s, and at once again after two quiet windows', () => {
    const pauses = Array.from({ length: 14 }, (_, count) =>
      restorePauseMs(
        Array.from({ length: count }, () => 0),
        1000,
        SETTINGS,
      ),
    );
    expect(pauses).toEqual([0, 0, 0, 0, 0, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    expect(restorePauseMs([0, 0, 0, 0, 0, 0], 120_000, SETTINGS)).toBe(0);
  });
});
