import { expect, it } from 'vitest';

import { realClock } from '../../src/host/clock.ts';

it('a timer is never early, not even by a fraction of a millisecond', async () => {
  const waits = Array.from({ length: 200 }, async (_, index) => {
    await new Promise((resolve) => setTimeout(resolve, index));
    const startedMs = realClock.monoMs();
    return new Promise<number>((resolve) => realClock.after(20, () => resolve(realClock.monoMs() - startedMs)));
  });
  expect(Math.min(...(await Promise.all(waits)))).toBeGreaterThanOrEqual(20);
});
