import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { backstopIntervalMs, createBackstop } from '../../src/events/backstop.ts';
import { realClock } from '../../src/host/clock.ts';
import type { GuardEvent, SourceHealth } from '../../src/events/types.ts';
import { pass } from './fake-child.ts';

describe('the backstop', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  async function started() {
    const events: GuardEvent[] = [];
    const health: SourceHealth[] = [];
    const backstop = createBackstop(realClock);
    await backstop.start({ event: (event) => void events.push(event), health: (value) => void health.push(value) });
    return { backstop, events, health };
  }

  it.each([
    [0, 30_000],
    [20, 30_000],
    [300, 300_000],
    [5_000, 600_000],
  ])('a check that costs %i ms comes every %i ms', (costMs, intervalMs) => {
    expect(backstopIntervalMs(costMs)).toBe(intervalMs);
  });

  it('comes every 30 s when no cost is reported', async () => {
    const { events } = await started();
    await pass(29_999);
    expect(events).toEqual([]);
    await pass(60_001);
    expect(events).toEqual(Array(3).fill({ kind: 'backstop' }));
  });

  it('waits one new interval from the report on, and says so', async () => {
    const { backstop, events, health } = await started();
    await pass(30_000);
    backstop.reportCost(100);
    await pass(99_999);
    expect(events).toHaveLength(1);
    await pass(1);
    expect(events).toHaveLength(2);
    expect(health.map(({ detail }) => detail)).toEqual(['full check every 30 s', 'full check every 100 s']);
  });

  it('does not come after close, nor before start', async () => {
    const { backstop, events } = await started();
    await backstop.close();
    backstop.reportCost(1);
    await pass(1_200_000);
    expect(events).toEqual([]);
  });
});
