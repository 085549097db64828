// A pass that fails decides nothing: what was heard stays evidence until a pass succeeds.

import { describe, expect, it } from 'vitest';
import { step } from '../../src/machine.ts';
import { type Effect, initialState, type Input, type State } from '../../src/machine/types.ts';
import type { Outcome, PassRequest } from '../../src/pass/types.ts';
import { type Act, commit } from '../commits.ts';

const SETTINGS = {
  mode: 'merge',
  repair: true,
  events: true,
  contention: { budget: 5, windowMs: 300_000 },
} as const;
const FLUSH: Act = { run: 'iptables -F', deleted: 7, chains: ['FORWARD', 'INPUT'] };
const ADD: Act = { run: 'iptables -A FORWARD', added: 1 };

/** The machine with a clock; keeps the last request and the timers asked for. */
function drive(): {
  feed(input: Input, atMs: number): void;
  hear(act: Act, atMs: number): void;
  end(kind: Outcome['kind'], atMs: number): void;
  request(): PassRequest;
  retryMs(): number | undefined;
} {
  let state: State = initialState(SETTINGS);
  let effects: readonly Effect[] = [];
  let last: PassRequest | undefined;
  const feed = (input: Input, atMs: number): void => {
    const result = step(state, input, atMs);
    state = result.state;
    effects = result.effects;
    for (const effect of effects) if (effect.kind === 'pass') last = effect.request;
  };
  const request = (): PassRequest => {
    if (last === undefined) throw new Error('no pass was asked for');
    return last;
  };
  return {
    feed,
    hear: (act, atMs) => feed({ kind: 'event', event: { kind: 'commit', commit: commit(act) } }, atMs),
    end: (kind, atMs) => feed({ kind: 'pass-done', request: request(), outcome: outcomeOf(kind, request()) }, atMs),
    request,
    retryMs: () =>
      effects.flatMap((effect) => (effect.kind === 'timer' && effect.name === 'retry' ? [effect.ms] : []))[0],
  };
}

function outcomeOf(kind: Outcome['kind'], { trigger, by }: PassRequest): Outcome {
  const nothing = { tables: [], drift: [], mended: [], dropped: [], kept: [] };
  return {
    kind,
    trigger,
    by,
    changed: false,
    adopted: undefined,
    why: undefined,
    rounds: 1,
    durationMs: 1,
    committedMs: undefined,
    ...nothing,
  };
}

const filterSummary = (request: PassRequest): unknown => request.summaries?.('ip').get('filter');

describe('a pass that failed', () => {
  it.each(['failed', 'unreadable'] as const)(
    '(%s) is tried again by what it went by, after 1, 2, 4 ... 60 s',
    (kind) => {
      const machine = drive();
      machine.hear(FLUSH, 0);
      machine.feed({ kind: 'timer', name: 'settle' }, 100);
      expect(filterSummary(machine.request())).toMatchObject({ wiped: true });
      const waits: (number | undefined)[] = [];
      for (let atMs = 200; waits.length < 8; atMs += 100_000) {
        machine.end(kind, atMs);
        waits.push(machine.retryMs());
        machine.feed({ kind: 'timer', name: 'retry' }, atMs + 99_000);
        expect(machine.request()).toMatchObject({ trigger: 'retry', burstOver: true });
        expect(filterSummary(machine.request())).toMatchObject({ wiped: true });
      }
      expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
    },
  );

  it('leaves its wipe as evidence for the burst that follows: an added rule does not make it deletions by hand', () => {
    const machine = drive();
    machine.hear(FLUSH, 0);
    machine.feed({ kind: 'timer', name: 'settle' }, 100);
    machine.end('failed', 200);
    machine.hear(ADD, 300);
    machine.feed({ kind: 'timer', name: 'settle' }, 400);
    expect(filterSummary(machine.request())).toMatchObject({ wiped: true, addedAfterWipe: false });
  });

  it('is forgotten when one succeeds', () => {
    const machine = drive();
    machine.hear(FLUSH, 0);
    machine.feed({ kind: 'timer', name: 'settle' }, 100);
    machine.end('failed', 200);
    machine.feed({ kind: 'timer', name: 'retry' }, 1200);
    machine.end('mended', 1300);
    expect(machine.retryMs()).toBeUndefined();
    machine.hear(ADD, 2000);
    machine.feed({ kind: 'timer', name: 'settle' }, 2100);
    expect(filterSummary(machine.request())).toMatchObject({ wiped: false });
  });

  it('goes by the result alone again where that was all there was', () => {
    const machine = drive();
    machine.feed({ kind: 'event', event: { kind: 'look', reason: 'start' } }, 0);
    machine.end('unreadable', 100);
    machine.feed({ kind: 'timer', name: 'retry' }, 1100);
    expect(machine.request()).toMatchObject({ trigger: 'retry', summaries: undefined });
  });
});
