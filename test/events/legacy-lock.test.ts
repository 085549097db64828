import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createLegacyLock } from '../../src/events/legacy-lock.ts';
import type { GuardEvent, SourceHealth } from '../../src/events/types.ts';
import { fakeHost, pass } from './fake-child.ts';

const LOCK = 'xtables.lock';

function play(costMs = 0) {
  const fake = fakeHost();
  const events: GuardEvent[] = [];
  const health: SourceHealth[] = [];
  const kernel = { rules: 'A', checks: 0, problem: undefined as string | undefined };
  const fingerprint = async (): Promise<string> => {
    kernel.checks += 1;
    const { rules, problem } = kernel;
    if (costMs > 0) await new Promise((resolve) => setTimeout(resolve, costMs));
    if (problem !== undefined) throw new Error(problem);
    return rules;
  };
  const source = createLegacyLock({ host: fake.host, fingerprint });
  const start = (): Promise<void> =>
    source.start({ event: (event) => void events.push(event), health: (value) => void health.push(value) });
  return { fake, source, start, events, health, kernel };
}

describe('the legacy event source', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('watches the folder, since the lock file may not be there yet, and looks once', async () => {
    const { fake, start, events } = play();
    await start();
    expect(fake.child().command).toEqual({
      file: 'inotifywait',
      args: ['-m', '-q', '-e', 'close', '--format', '%f', '/run'],
    });
    await pass(1_000);
    expect(events.map(({ kind }) => kind)).toEqual(['look']);
  });

  it('says that the rules changed when the lock was used and the fingerprint differs', async () => {
    const { fake, start, events, kernel } = play();
    await start();
    await pass(1_000);
    kernel.rules = 'B';
    fake.child().say(LOCK);
    await pass(1);
    expect(events[1]).toEqual({ kind: 'legacy-changed', reason: '/run/xtables.lock was used' });
  });

  it('says nothing when the lock was only used for reading, or another file was closed', async () => {
    const { fake, start, events, kernel } = play();
    await start();
    await pass(1_000);
    fake.child().say(LOCK, LOCK);
    await pass(1);
    kernel.rules = 'B';
    fake.child().say('utmp', '');
    await pass(1);
    expect(events).toHaveLength(1);
  });

  it('finds within 2 s what took another lock', async () => {
    const { start, events, kernel } = play();
    await start();
    await pass(1_000);
    kernel.rules = 'B';
    await pass(2_000);
    expect(events[1]).toEqual({ kind: 'legacy-changed', reason: 'found by the regular check' });
  });

  it('does not check twice at a time: uses during a check are one more check', async () => {
    const { fake, start, kernel } = play(10);
    await start();
    await pass(1_000);
    const before = kernel.checks;
    fake.child().say(LOCK, LOCK, LOCK, LOCK);
    await pass(50);
    expect(kernel.checks - before).toBe(2);
  });

  it('checks more rarely when a check is dear, and says how often', async () => {
    const { start, kernel, health } = play(200);
    await start();
    await pass(1_000); // the first check, and the one when inotifywait was ready
    const before = kernel.checks;
    await pass(30_000);
    expect(kernel.checks - before).toBe(3);
    expect(health.at(-1)).toEqual({
      source: 'legacy',
      state: 'ok',
      detail: 'inotifywait on /run/xtables.lock; a check every 10 s',
    });
  });

  it('without inotifywait it is degraded, says that only the check runs, and still finds changes', async () => {
    const { fake, start, events, health, kernel } = play();
    await start();
    fake.child().end('inotifywait: cannot start: ENOENT');
    await pass(50);
    expect(health.at(-1)).toEqual({
      source: 'legacy',
      state: 'degraded',
      detail: 'no watch on /run/xtables.lock (inotifywait: cannot start: ENOENT); a check every 2 s',
    });
    kernel.rules = 'B';
    await pass(2_000);
    expect(events.map(({ kind }) => kind)).toEqual(['look', 'legacy-changed']);
  });

  it('tells a check that fails as degraded, goes on, and recovers', async () => {
    const { start, health, kernel } = play();
    await start();
    await pass(1_000);
    kernel.problem = 'iptables-legacy-save failed';
    await pass(2_000);
    expect(health.at(-1)).toMatchObject({
      state: 'degraded',
      detail: expect.stringContaining('iptables-legacy-save failed'),
    });
    kernel.problem = undefined;
    await pass(2_000);
    expect(health.at(-1)?.state).toBe('ok');
  });

  it('says nothing more after close', async () => {
    const { fake, source, start, events, kernel } = play(10);
    await start();
    await pass(1_000);
    kernel.rules = 'B';
    fake.child().say(LOCK);
    await source.close();
    await pass(60_000);
    expect(fake.child().closed).toBe(true);
    expect(events).toHaveLength(1);
  });
});
