// docs/owners.md against the data in src/owners: the tables are those that the data gives, and every owner has its section or row.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { OWNERS } from '../../src/owners/index.ts';
import { ownersTables } from './owners-table.ts';

const PAGE = readFileSync(new URL('../../docs/owners.md', import.meta.url), 'utf8');

describe('docs/owners.md', () => {
  it.each(Object.entries(ownersTables()))(
    'has the table of %s that the data gives (npx tsx test/docs/owners-table.ts)',
    (_, lines) => {
      const heading = PAGE.split('\n').indexOf(lines[0] ?? '');
      expect(heading, 'the heading row of the table').not.toBe(-1);
      expect(PAGE.split('\n').slice(heading, heading + lines.length)).toEqual(lines);
      expect(PAGE.split('\n')[heading + lines.length], 'rows that no owner has').toBe('');
    },
  );

  it('names every owner', () => {
    expect(OWNERS.filter(({ id }) => !PAGE.includes(`\`${id}\``)).map(({ id }) => id)).toEqual([]);
  });
});
