// docs/doctor.md against the checks: each has its row, in order, and each row its check.

import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { CHECKS } from '../../src/doctor/checks.ts';

const PAGE = readFileSync(new URL('../../docs/doctor.md', import.meta.url), 'utf8');

it('docs/doctor.md lists every check in the order of the output, and no other', () => {
  const rows = PAGE.split('\n').flatMap((line) => /^\| `([\w-]+)` \| \S/.exec(line)?.[1] ?? []); // | `engines` | FAIL: ...
  expect(rows).toEqual(CHECKS.map(({ id }) => id));
});
