// What rules see in place of a packet's fields, where they stand: the field as it came, a value that is known (a mark that
// was set, an address that NAT gave), or one that is found out later. Pure.

import type { Family } from '../../ruleset/types.ts';
import type { Dimension } from './box.ts';
import type { Cut } from './range-set.ts';

/** A value, or the dimension that holds it. */
export type Seen = Cut | { readonly dimension: Dimension };
/** Field -> what is seen; a field that is not in it is seen as it came. */
export type Sight = ReadonlyMap<string, Seen>;

export const seen = (sight: Sight, field: string): Seen => sight.get(field) ?? { dimension: field };
export const isValue = (what: Seen): what is Cut => typeof what !== 'object';

/** `saddr` after something that gives it a value nobody knows before. */
export const foundOut = (field: string, when: string): Seen => ({ dimension: `${field}~${when}` });

export function withSeen(sight: Sight, fields: Readonly<Record<string, Seen>>): Sight {
  return new Map([...sight, ...Object.entries(fields)]);
}

export function sameSight(a: Sight, b: Sight): boolean {
  if (a === b) return true;
  if (a.size !== b.size) return false;
  for (const [field, what] of a) if (!sameSeen(what, b.get(field))) return false;
  return true;
}

export function sameSeen(a: Seen | undefined, b: Seen | undefined): boolean {
  if (a === undefined || b === undefined || isValue(a) || isValue(b)) return a === b;
  return a.dimension === b.dimension;
}

/** Where a rule stands and in which family it is read, to name what it alone asks. */
export interface Reading {
  readonly family: Family;
  readonly sight: Sight;
  /** Names the rule; two rules that ask the same of a rate or a set are still two. */
  readonly rule: () => string;
}
