// Rules that cannot be loaded now: they do not keep the others out, and they are not forgotten.

import { describe, expect, it } from 'vitest';
import type { Waiting } from '../../src/plan/family-plan.ts';
import { parseRuleset } from '../../src/ruleset/iptables/parse.ts';
import { ruleTexts } from '../../src/ruleset/user-part.ts';
import { middle, snapshotOf } from '../properties/work.ts';

const rule = (letter: string): string => `-A FORWARD -s 10.0.0.${letter.charCodeAt(0)}/32 -j DROP`;
const table = (letters: string): string =>
  `*filter\n:FORWARD ACCEPT [0:0]\n${[...letters].map((letter) => `${rule(letter)}\n`).join('')}COMMIT\n`;
const waiting = (letter: string): Waiting => ({
  family: 'ip',
  table: 'filter',
  chain: 'FORWARD',
  text: rule(letter),
  why: 'Set bl doesn’t exist.',
});

function pass(wanted: string, live: string, held: string, wait = ''): { target: string; next: string; kind: string } {
  const { wish } = snapshotOf(parseRuleset(table(wanted), 'ip'));
  const summary = {
    replaced: false,
    wiped: true,
    addedAfterWipe: false,
    neighbour: undefined,
    byNeighbour: undefined,
    byOther: true,
    loader: undefined,
  };
  const work = middle(parseRuleset(table(live), 'ip'), {
    wish,
    summaries: new Map([['filter', summary]]),
    input: { held: [...held].map(waiting), waiting: [...wait].map(waiting) },
  });
  const filter = work.tables.find((each) => each.table === 'filter');
  const letters = (texts: readonly string[]): string =>
    texts.map((text) => String.fromCharCode(Number(/10\.0\.0\.(\d+)/.exec(text)?.[1]))).join('');
  return {
    target: letters(filter?.target.chains.get('FORWARD')?.rules.map((each) => each.text) ?? []),
    next: letters(ruleTexts(filter?.decision.next.chains.get('FORWARD')?.items ?? [])),
    kind: filter?.decision.kind ?? '',
  };
}

describe('a rule that iptables refuses by name', () => {
  it('is left out of the target, and stays wanted where it stood', () => {
    expect(pass('abcd', '', 'b')).toEqual({ target: 'acd', next: 'abcd', kind: 'wipe' });
  });

  it('is no deletion of the user’s while it waits', () => {
    expect(pass('abcd', 'acd', '', 'b')).toMatchObject({ next: 'abcd', kind: 'kept' });
  });

  it('is tried again with the next pass that does not hold it', () => {
    expect(pass('abcd', 'acd', '', 'b').target).toBe('abcd');
  });

  it('is one copy of several: the others load', () => {
    expect(pass('abcb', '', 'b')).toEqual({ target: 'acb', next: 'abcb', kind: 'wipe' });
  });
});
