// Rules that iptables-save prints over two lines and iptables-restore refuses: left where they stand, never written.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { classify } from '../../src/classify/classify.ts';
import { leaveInPlace, lostUnloadable } from '../../src/merge/unloadable.ts';
import { planTable } from '../../src/plan/plan.ts';
import { parseDocument } from '../../src/ruleset/iptables/parse.ts';
import { snapshotOf } from '../properties/work.ts';

/** Capitals are unloadable. */
const ruleOf = (letter: string): string =>
  `-A FORWARD ${letter === letter.toUpperCase() ? `-m comment --comment "${letter}\n-A b"` : `-s ${letter}`} -j DROP`;

function rulesetOf(letters: string): ReturnType<typeof parseDocument>['ruleset'] {
  const { ruleset, problems } = parseDocument(
    ['*filter', ':FORWARD ACCEPT [0:0]', ...[...letters].map(ruleOf), 'COMMIT', ''].join('\n'),
    'ip',
  );
  expect(problems).toEqual([]);
  return ruleset;
}

/** The target's rules as letters, and the letters of the rules that the plan writes. */
function around(live: string, wanted: string): { target: string; written: string } {
  const ruleset = rulesetOf(live);
  const rules = [...wanted].map((letter) => ({ owner: 'user', text: ruleOf(letter) }));
  const chains = new Map([['FORWARD', { name: 'FORWARD', policy: 'ACCEPT', rules }]]);
  const target = leaveInPlace({ name: 'filter', chains }, classify(ruleset, undefined).tables.get('filter'));
  const { plan, inverse } = planTable('ip', ruleset.tables.get('filter'), target);
  const letters = (texts: readonly string[]): string =>
    texts.map((text) => [...(live + wanted)].find((letter) => ruleOf(letter) === text) ?? '?').join('');
  return {
    target: letters(target.chains.get('FORWARD')?.rules.map((rule) => rule.text) ?? []),
    written: letters([...plan.edits, ...inverse.edits].flatMap((edit) => ('text' in edit ? [edit.text] : []))),
  };
}

describe('an unloadable rule', () => {
  it('stays where it stands while others move around it', () => {
    expect(around('abCd', 'abCd')).toEqual({ target: 'abCd', written: '' });
    expect(around('aCb', 'baC').target).toMatch(/^(?:baC|aCb|Cba|bCa)$/);
    expect(around('Cab', 'abC')).toEqual({ target: 'Cab', written: '' });
    expect(around('abC', 'aCxb').target.replace('x', '')).toBe('abC');
  });

  it('stays also where nobody wants it, and is not made where it does not stand', () => {
    expect(around('aCb', 'ab')).toEqual({ target: 'aCb', written: '' });
    expect(around('ab', 'aCb')).toEqual({ target: 'aCb', written: 'CC' });
    expect(around('a', 'a')).toEqual({ target: 'a', written: '' });
  });

  it('is in no plan, whatever is wanted, and nothing wanted is left out', () => {
    const letters = fc.shuffledSubarray([...'abcdeXYZ']).map((list) => list.join(''));
    fc.assert(
      fc.property(letters, letters, (live, wanted) => {
        const standing = [...wanted].filter((letter) => letter > 'Z' || live.includes(letter)).join('');
        const { target, written } = around(live, standing);
        expect(written).not.toMatch(/[XYZ]/);
        expect(target.replace(/[XYZ]/g, '')).toBe(standing.replace(/[XYZ]/g, ''));
        expect(target.replace(/[^XYZ]/g, '')).toBe(live.replace(/[^XYZ]/g, ''));
      }),
      { seed: 4 },
    );
  });

  it('is lost when the wish has it and the kernel has not', () => {
    const { wish } = snapshotOf(rulesetOf('aCb'));
    const table = classify(rulesetOf('ab'), undefined).tables.get('filter');
    expect(lostUnloadable('ip', wish.tables.get('filter'), table)).toMatchObject([
      { chain: 'FORWARD', text: ruleOf('C'), why: expect.stringContaining('line break') as string },
    ]);
    const whole = classify(rulesetOf('aCb'), undefined).tables.get('filter');
    expect(lostUnloadable('ip', wish.tables.get('filter'), whole)).toEqual([]);
  });
});
