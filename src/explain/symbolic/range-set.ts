// Sets of values as sorted half-open ranges: numbers, bigints (IPv6) and names alike. Pure.
// Names are ordered as strings: `eth0` alone is ['eth0', 'eth0\0'), all of `vnet+` is ['vnet', 'vneu').

import type { Value } from '../values.ts';

export type Cut = Value | string;
/** `[first, end, first, end, ...]`: an end does not belong to it. Ranges do not touch. */
export type RangeSet = readonly Cut[];

export function intersectSets(a: RangeSet, b: RangeSet): RangeSet {
  const both: Cut[] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    const [endA, endB] = [a[i + 1] as Cut, b[j + 1] as Cut];
    const first = (a[i] as Cut) > (b[j] as Cut) ? (a[i] as Cut) : (b[j] as Cut);
    const end = endA < endB ? endA : endB;
    if (first < end) both.push(first, end);
    if (endA < endB) i += 2;
    else j += 2;
  }
  return both;
}

/** Whether they have a value in common; intersectSets without the list. */
export function setsMeet(a: RangeSet, b: RangeSet): boolean {
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    if ((a[i + 1] as Cut) <= (b[j] as Cut)) i += 2;
    else if ((b[j + 1] as Cut) <= (a[i] as Cut)) j += 2;
    else return true;
  }
  return false;
}

/** All of `domain` that is not in `set`. */
export function withoutSet(domain: RangeSet, set: RangeSet): RangeSet {
  const rest: Cut[] = [];
  for (let i = 0, j = 0; i < domain.length; i += 2) {
    let first = domain[i] as Cut;
    const end = domain[i + 1] as Cut;
    while (j < set.length && (set[j + 1] as Cut) <= first) j += 2;
    for (let k = j; k < set.length && (set[k] as Cut) < end; k += 2) {
      if (first < (set[k] as Cut)) rest.push(first, set[k] as Cut);
      first = set[k + 1] as Cut;
    }
    if (first < end) rest.push(first, end);
  }
  return rest;
}

export function joinSets(a: RangeSet, b: RangeSet): RangeSet {
  const pairs: [Cut, Cut][] = [];
  for (const set of [a, b]) for (let i = 0; i < set.length; i += 2) pairs.push([set[i] as Cut, set[i + 1] as Cut]);
  pairs.sort((x, y) => (x[0] < y[0] ? -1 : x[0] > y[0] ? 1 : 0));
  const joined: Cut[] = [];
  for (const [first, end] of pairs) {
    const last = joined.at(-1);
    if (last === undefined || last < first) joined.push(first, end);
    else if (last < end) joined[joined.length - 1] = end;
  }
  return joined;
}

export function setHolds(set: RangeSet, value: Cut): boolean {
  for (let i = 0; i < set.length; i += 2) if (value < (set[i + 1] as Cut)) return value >= (set[i] as Cut);
  return false;
}

/** Whether all of `inner` is in `outer`. */
export const setCovers = (outer: RangeSet, inner: RangeSet): boolean => withoutSet(inner, outer).length === 0;

export function onlyValue(value: Cut): RangeSet {
  if (typeof value === 'string') return [value, `${value}\0`];
  return typeof value === 'bigint' ? [value, value + 1n] : [value, value + 1];
}

/** Some value of it, by its largest range, away from the ends: there a rule's own value seldom stands. */
export function someValue(set: RangeSet): Cut {
  let [first, end] = [set[0] as Cut, set[1] as Cut];
  for (let i = 2; i < set.length; i += 2)
    if (sizeOf(set[i] as Cut, set[i + 1] as Cut) > sizeOf(first, end))
      [first, end] = [set[i] as Cut, set[i + 1] as Cut];
  if (typeof first === 'string') {
    const inside = `${first}~`;
    return inside < end ? inside : first;
  }
  if (typeof first === 'bigint') return first + (((end as bigint) - first) * 5n) / 8n;
  return first + Math.floor(((end as number) - first) * 0.618);
}

/** For comparing only. A name's range counts as large when it is more than one name. */
function sizeOf(first: Cut, end: Cut): number {
  if (typeof first === 'string') return end === `${first}\0` ? 1 : 2;
  return Number(end as Value) - Number(first);
}
