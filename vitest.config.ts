import { defineConfig } from 'vitest/config';

// Two projects: what needs no root and no other program (`unit`), and what drives real programs in namespaces (`lab`).
// Lab files run one after another: they share two CPUs and measure milliseconds.
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
        },
      },
      {
        test: {
          name: 'lab',
          include: ['test/lab/**/*.lab.ts'],
          fileParallelism: false,
          pool: 'forks',
          setupFiles: ['test/generate/seed.ts'],
          testTimeout: 240_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
