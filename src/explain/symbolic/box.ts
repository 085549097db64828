// A set of packets as a box: for some dimensions the values allowed, all others free. A dimension is a field of the packet
// as it came to the host, or something nobody knows: a value found out later (`saddr~masquerade ...`), or a condition
// that rules and packet do not say (`?limit rate 1/second`: 1 where it holds). The same text is the same unknown. Pure.

import type { Family } from '../../ruleset/types.ts';
import {
  intersectSets,
  joinSets,
  setCovers,
  setsMeet,
  someValue,
  type Cut,
  type RangeSet,
  withoutSet,
} from './range-set.ts';

export type Dimension = string;
/** Dimension -> its values, never empty and never all of the domain. */
export type Box = ReadonlyMap<Dimension, RangeSet>;

export const EVERYTHING: Box = new Map();

/** Of a dimension that is no field of the packet. */
export const isUnknown = (dimension: Dimension): boolean => dimension.startsWith('?') || dimension.includes('~');
/** `saddr~masquerade` -> `saddr` */
export const fieldOf = (dimension: Dimension): string => dimension.split('~')[0] as string;

const NAMES: RangeSet = ['', '\uffff'];
const ADDRESSES: Readonly<Record<Family, RangeSet>> = { ip: [0, 2 ** 32], ip6: [0n, 1n << 128n] };
const DOMAINS: Readonly<Record<string, RangeSet>> = {
  iif: NAMES,
  oif: NAMES,
  physIn: NAMES,
  physOut: NAMES,
  protocol: [0, 256],
  icmpType: [0, 256],
  icmpCode: [0, 256],
  tcpFlags: [0, 256],
  // invalid, established, related, new, untracked
  ctState: [1, 3, 4, 5, 8, 9, 64, 65],
  ctStatus: [0, 1024],
  ctDirection: [0, 2],
  fragment: [0, 2],
  bridged: [0, 2],
  // Where routing sends it when no rule moves it: 0 to the host, 1 through it.
  way: [0, 2],
  mark: [0, 2 ** 32],
  ctMark: [0, 2 ** 32],
};

/** All values a dimension can have. */
export function domainOf(dimension: Dimension, family: Family): RangeSet {
  if (dimension.startsWith('?')) return [0, 2];
  const field = fieldOf(dimension);
  if (/addr$/i.test(field)) return ADDRESSES[family]; // saddr, origDaddr
  return DOMAINS[field] ?? [0, 65536]; // ports, length
}

/** Both boxes' packets; undefined when there is none. */
export function meetBoxes(a: Box, b: Box): Box | undefined {
  if (b.size === 0) return a;
  const both = new Map(a);
  for (const [dimension, set] of b) {
    const before = a.get(dimension);
    const after = before === undefined ? set : intersectSets(before, set);
    if (after.length === 0) return undefined;
    both.set(dimension, after);
  }
  return both;
}

export function boxesMeet(a: Box, b: Box): boolean {
  for (const [dimension, set] of b) {
    const other = a.get(dimension);
    if (other !== undefined && !setsMeet(other, set)) return false;
  }
  return true;
}

/** Whether all of `inner` is in `outer`. */
export function boxCovers(outer: Box, inner: Box): boolean {
  for (const [dimension, set] of outer) {
    const other = inner.get(dimension);
    if (other === undefined || !setCovers(set, other)) return false;
  }
  return true;
}

/** All of `box` that is not in `hole`, in pieces that do not overlap. */
export function cutOut(box: Box, hole: Box, family: Family): Box[] {
  const pieces: Box[] = [];
  let inner = box;
  for (const [dimension, set] of hole) {
    const here = inner.get(dimension) ?? domainOf(dimension, family);
    const outside = withoutSet(here, set);
    if (outside.length > 0) pieces.push(new Map(inner).set(dimension, outside));
    const inside = intersectSets(here, set);
    if (inside.length === 0) return pieces;
    inner = new Map(inner).set(dimension, inside);
  }
  return pieces;
}

/** The two as one box, where they differ in one dimension only. */
export function joinBoxes(a: Box, b: Box, family: Family): Box | undefined {
  if (boxCovers(a, b)) return a;
  if (boxCovers(b, a)) return b;
  const differing = [...new Set([...a.keys(), ...b.keys()])].filter((key) => !sameSet(a.get(key), b.get(key)));
  const [only] = differing;
  if (only === undefined || differing.length > 1) return undefined;
  const [one, two] = [a.get(only), b.get(only)];
  const joined = new Map(a);
  joined.delete(only);
  if (one === undefined || two === undefined) return joined;
  const set = joinSets(one, two);
  return setCovers(set, domainOf(only, family)) ? joined : joined.set(only, set);
}

const sameSet = (a: RangeSet | undefined, b: RangeSet | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && a.length === b.length && a.every((cut, at) => cut === b[at]));

/** One packet: its value in each dimension; asked for all that anybody looks at. */
export type Point = (dimension: Dimension) => Cut;

/** Some point of the box. */
export function somePoint(box: Box, family: Family): Point {
  const kept = new Map<Dimension, Cut>();
  return (dimension) => {
    const known = kept.get(dimension);
    if (known !== undefined) return known;
    const value = someValue(box.get(dimension) ?? domainOf(dimension, family));
    kept.set(dimension, value);
    return value;
  };
}
