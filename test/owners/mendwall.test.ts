// What counts as mendwall's own.

import { expect, it } from 'vitest';
import { classify, userPartOf } from '../../src/classify/classify.ts';
import { ownerAt } from '../../src/explain/owner.ts';
import { parseDocument } from '../../src/ruleset/iptables/parse.ts';

const chainsOf = (...lines: string[]): string[] => {
  const { ruleset } = parseDocument(['*filter', ...lines, 'COMMIT', ''].join('\n'), 'ip');
  return [...(userPartOf(classify(ruleset, undefined)).tables.get('filter')?.chains.keys() ?? [])];
};

it('an empty chain named like a sentinel is one; with rules in it, it is the user’s', () => {
  expect(chainsOf(':mw-1234abcd - [0:0]')).toEqual([]);
  expect(chainsOf(':mw-1234abcd - [0:0]', '-A mw-1234abcd -s 10.6.0.0/16 -j DROP')).toEqual(['mw-1234abcd']);
});

it('its native tables, those of pinned drops, are its own', () => {
  const place = { engine: 'nft', family: 'ip', table: 'mendwall', chain: 'input', base: 'input', index: 0 } as const;
  expect(ownerAt([], place)).toBe('mendwall');
  expect(ownerAt([], { ...place, table: 'filter' })).toBeUndefined();
});
