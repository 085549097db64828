// Two orders of nearly the same rules into one: all of `base` in its order, and what only `other` has, each below the
// rule that stands above it there. Pure.

import { missingFrom } from '../ruleset/multiset.ts';
import { pairCopies } from '../ruleset/align.ts';

/** `base` first in right: its rules all stay, in order; the extra copies of `other` are put in where `other` has them. */
export function weave(base: readonly string[], other: readonly string[]): string[] {
  if (missingFrom(other, base).length === 0) return [...base];
  const inBase = pairCopies(base, other);
  const extras: string[][] = Array.from({ length: base.length + 1 }, () => []);
  let place = 0;
  other.forEach((text, index) => {
    const at = inBase[index] as number;
    if (at === -1) extras[place]?.push(text);
    else place = at + 1;
  });
  return [...(extras[0] ?? []), ...base.flatMap((text, index) => [text, ...(extras[index + 1] ?? [])])];
}
