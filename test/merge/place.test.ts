// Placement, in short hand: small letters are user rules, capitals libvirt's, digits nwfilter's, [..] a slot.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mergeChain, type PlacedRule } from '../../src/merge/place.ts';
import { reslot } from '../../src/merge/reslot.ts';
import type { Item } from '../../src/ruleset/user-part.ts';

const REJECT = '-A FORWARD -j REJECT';
const LOG = '-A FORWARD -j LOG';
/** `r` is a catch-all, `l` a LOG, every other letter a rule that selects. */
const textOf = (letter: string): string => ({ r: REJECT, l: LOG })[letter] ?? `-A FORWARD -s ${letter} -j ACCEPT`;
const letterOf = (text: string): string => ({ [REJECT]: 'r', [LOG]: 'l' })[text] ?? (text.split(' ')[3] as string);

function ownerOf(letter: string): string {
  if (/[A-Z]/.test(letter)) return 'libvirt';
  return /\d/.test(letter) ? 'libvirt-nwfilter' : 'user';
}

const rules = (letters: string): PlacedRule[] =>
  [...letters].map((letter) => ({ owner: ownerOf(letter), text: textOf(letter) }));

/** `a[XIO]b` */
function items(pattern: string): Item[] {
  return [...pattern.matchAll(/\[(\w*)\]|(\w)/g)].map(([, slot, rule]) =>
    slot === undefined
      ? { kind: 'rule', text: textOf(rule as string) }
      : { kind: 'slot', owner: ownerOf(slot[0] ?? 'X'), texts: [...slot].map(textOf) },
  );
}

const show = (list: readonly Item[]): string =>
  list.map((item) => (item.kind === 'rule' ? letterOf(item.text) : `[${item.texts.map(letterOf).join('')}]`)).join('');
const noBridge = (): boolean => false;

function merged(wish: string, live: string): string {
  const foreign = rules(live).filter((rule) => rule.owner !== 'user');
  return mergeChain(items(wish), foreign, () => rules(live), noBridge)
    .map((rule) => letterOf(rule.text))
    .join('');
}

describe('placing neighbours among the user’s rules', () => {
  it.each([
    ['jumps that were put back at the top go to their slot', 'a[XIO]b', 'XIOab', 'aXIOb'],
    ['a neighbour in its own new order keeps that order', 'a[XIO]b', 'OXIab', 'aOXIb'],
    ['two slots keep their own texts', '[X]a[IO]b', 'OIXab', 'XaOIb'],
    ['two slots keep their own texts, in live order within each', '[X]a[IO]b', 'IXOab', 'XaIOb'],
    ['a new rule stands beside its siblings', 'a[XY]b', 'ZXYab', 'aZXYb'],
    ['a new rule between two slots stays where it is', '[X]a[Y]b', 'XaZYb', 'XaZYb'],
    ['a new rule above its displaced siblings goes with the one below', 'a[X]b[Y]', 'ZXYab', 'aZXbY'],
    ['none of a slot’s texts stands: new ones use the slot all the same', 'a[XY]b', 'PQab', 'aPQb'],
    ['copies go each to its own slot', '[X]a[X]b', 'XXab', 'XaXb'],
    ['a copy too many stands with the last', '[X]a[X]b', 'XXXab', 'XaXXb'],
    ['without a slot: above the first catch-all', 'abr', 'XIOabr', 'abXIOr'],
    ['without a slot: above the LOG before the catch-all', 'ablr', 'XIOablr', 'abXIOlr'],
    ['without a slot and without a catch-all: at the end', 'ab', 'XIOab', 'abXIO'],
    ['a LOG elsewhere is no catch-all', 'alb', 'Xalb', 'albX'],
    ['a neighbour that insists on the top is never moved', 'ab', '12ab', '12ab'],
    ['nor when it is in the middle', 'a[X]b', 'Xa1b', 'aX1b'],
    ['no neighbours at all', 'ab', 'ab', 'ab'],
    ['no user rules', '', 'XIO', 'XIO'],
  ])('%s', (_, wish, live, expected) => {
    expect(merged(wish, live)).toBe(expected);
    expect(merged(wish, expected)).toBe(expected);
  });

  it('keeps the live order of neighbours within one place, whoever they are', () => {
    const wish = fc
      .array(fc.constantFrom('a', 'b', 'c', 'r', 'l', '[XY]', '[ZX]', '[P]'), { maxLength: 8 })
      .map((parts) => parts.join(''));
    const foreign = fc.array(fc.constantFrom(...'XYZPQ12'), { maxLength: 8 });
    fc.assert(
      fc.property(wish, foreign, fc.array(fc.nat(8), { minLength: 8, maxLength: 8 }), (pattern, letters, keys) => {
        const users = [...pattern.replace(/\[\w*\]/g, '')];
        const live = letters
          .reduce((list, letter, at) => list.toSpliced((keys[at] as number) % (list.length + 1), 0, letter), users)
          .join('');
        const liveForeign = live.replace(/[a-z]/g, '');
        const result = merged(pattern, live);
        expect(result.replace(/[^a-z]/g, '')).toBe(users.join(''));
        expect([...result.replace(/[a-z]/g, '')].sort()).toEqual([...letters].sort());
        for (const run of result.split(/[a-z]/)) expect(isSubsequence(run, liveForeign)).toBe(true);
        expect(merged(pattern, result)).toBe(result);
      }),
      { numRuns: 2000 },
    );
  });
});

function isSubsequence(part: string, whole: string): boolean {
  let at = 0;
  for (const letter of whole) if (letter === part[at]) at++;
  return at === part.length;
}

describe('slots after the user changed the rules', () => {
  it.each([
    ['the same rules', 'a[X]b', 'Xab', 'a[X]b'],
    ['a rule added below', 'a[X]b', 'aXbc', 'a[X]bc'],
    ['a rule added above', 'a[X]b', 'caXb', 'ca[X]b'],
    ['a rule added at the slot, by where the neighbour stands', 'a[X]b', 'acXb', 'ac[X]b'],
    ['a rule added at the slot, by where the neighbour stands', 'a[X]b', 'aXcb', 'a[X]cb'],
    ['a displaced neighbour does not move its slot past a rule that stayed', 'a[X]b', 'Xacb', 'a[X]cb'],
    ['the rule above is gone', 'a[X]b', 'Xb', '[X]b'],
    ['the rule below is gone', 'a[X]b', 'aX', 'a[X]'],
    ['all is new, the neighbour stands: its place', 'a[X]b', 'cXd', 'c[X]d'],
    ['all is new, the neighbour is gone: above the catch-all', 'a[X]b', 'cdr', 'cd[X]r'],
    ['all is new, the neighbour is gone, no catch-all: the end', 'a[X]b', 'cd', 'cd[X]'],
    ['moved rules', 'a[X]b', 'bXa', 'b[X]a'],
    ['everything is gone', 'a[X]b', '', '[X]'],
  ])('%s: %s, live %s', (_, old, live, expected) => {
    expect(show(reslot(items(old), rules(live), noBridge))).toBe(expected);
  });

  it('keep the user’s rules as live, once each, and every slot once', () => {
    const pattern = fc
      .array(fc.constantFrom('a', 'b', 'c', 'd', 'r', '[XY]', '[Z]'), { maxLength: 8 })
      .map((parts) => parts.join(''));
    const live = fc.array(fc.constantFrom(...'abcdrlXYZ1'), { maxLength: 10 }).map((letters) => letters.join(''));
    fc.assert(
      fc.property(pattern, live, (old, now) => {
        const result = show(reslot(items(old), rules(now), noBridge));
        expect(result.replace(/\[\w*\]/g, '')).toBe(now.replace(/[^a-z]/g, ''));
        expect(result.match(/\[\w*\]/g) ?? []).toHaveLength((old.match(/\[\w*\]/g) ?? []).length);
        expect(show(reslot(items(result), rules(now), noBridge))).toBe(result);
      }),
      { numRuns: 2000 },
    );
  });
});
