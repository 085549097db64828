// One seed for every generated test: two runs of the same tree test the same things, so that a red run can be had again and a
// green one means the same everywhere. New ground is covered on purpose: SEED=n, SEED=random, and lab:full (random).
// Loaded by vitest before each test file (vitest.config.ts).

import fc from 'fast-check';

const DEFAULT_SEED = 20261121;

/** The seed of this run; fast-check prints it with a failure. */
export const SEED = seedOf(process.env['SEED'] ?? (process.env['LAB_FULL'] === '1' ? 'random' : undefined));

function seedOf(word: string | undefined): number {
  if (word === undefined) return DEFAULT_SEED;
  if (word === 'random') return Math.floor(Math.random() * 2 ** 31);
  const seed = Number(word);
  if (!Number.isInteger(seed)) throw new Error(`SEED=${word}: expected a whole number or the word random`);
  return seed;
}

fc.configureGlobal({ seed: SEED });
