import { availableParallelism } from 'node:os';

import { defineConfig } from 'vitest/config';

const LAB = {
  pool: 'forks',
  setupFiles: ['test/generate/seed.ts'],
  testTimeout: 240_000,
  hookTimeout: 120_000,
} as const;

// What needs no root and no other program is `unit`. What drives real programs in namespaces is the lab, and has two projects:
//   lab        several files at once: each host has its own namespaces, and most of the time is waiting.
//   lab-alone  *.alone.lab.ts, one after another when all else is done: they judge milliseconds or rates, must see a process
//              that lives for milliseconds, flood, or look at the whole machine.
// One after the other (groupOrder), so that none slows another down.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/lab/**', 'test/bench/**'],
          setupFiles: ['test/generate/seed.ts'],
          testTimeout: 60_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...LAB,
          name: 'lab',
          include: ['test/lab/**/*.lab.ts'],
          exclude: ['test/lab/**/*.alone.lab.ts'],
          maxWorkers: Math.min(4, availableParallelism() + 1),
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          ...LAB,
          name: 'lab-alone',
          include: ['test/lab/**/*.alone.lab.ts'],
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
