// A predicate as boxes: together they hold the packets of which it is true. They may overlap.
// What cannot be said as ranges (a rate, a set not given, an odd mask) is a dimension of its own, so the answer depends on
// it. Pure.

import type { Predicate } from '../expression.ts';
import { inRanges, maskValue, type Range, type Value } from '../values.ts';
import { type Box, type Dimension, domainOf, EVERYTHING, fieldOf, isUnknown, meetBoxes } from './box.ts';
import { type Cut, onlyValue, type RangeSet, setHolds, withoutSet } from './range-set.ts';
import { isValue, type Reading, seen, type Sight } from './sight.ts';

/** A predicate with more alternatives than this becomes one unknown. */
const MOST_BOXES = 256;

type OfValue = Extract<Predicate, { kind: 'value' }>;

/** `unknowns` counts what the rule asks besides fields. */
interface Count {
  unknowns: number;
}

/** Empty: of no packet. */
export function boxesOf(predicate: Predicate, reading: Reading): readonly Box[] {
  const plain = plainBoxes(predicate, reading);
  return plain === undefined ? boxes(predicate, true, reading, { unknowns: 0 }) : throughSight(plain, reading.sight);
}

/** Of predicates on fields alone: their boxes where every field is seen as it came. A ruleset is read many times. */
const PLAIN: Readonly<Record<Reading['family'], WeakMap<Predicate, readonly Box[] | 'none'>>> = {
  ip: new WeakMap(),
  ip6: new WeakMap(),
};
const AS_CAME: Sight = new Map();

function plainBoxes(predicate: Predicate, { family, rule }: Reading): readonly Box[] | undefined {
  let known = PLAIN[family].get(predicate);
  if (known === undefined) {
    known = isPlain(predicate) ? boxes(predicate, true, { family, rule, sight: AS_CAME }, { unknowns: 0 }) : 'none';
    if (known !== 'none' && known.some((box) => [...box.keys()].some(isUnknown))) known = 'none';
    PLAIN[family].set(predicate, known);
  }
  return known === 'none' ? undefined : known;
}

/** A masked value may be known where the field as a whole is not said as ranges. */
function isPlain(predicate: Predicate): boolean {
  if (predicate.kind === 'not') return isPlain(predicate.of);
  if (predicate.kind === 'all' || predicate.kind === 'any') return predicate.of.every(isPlain);
  return predicate.kind !== 'unknown' && (predicate.kind !== 'value' || predicate.mask === undefined);
}

function throughSight(plain: readonly Box[], sight: Sight): readonly Box[] {
  if (plain.every((box) => isAsCame(box, sight))) return plain;
  return plain.map((box) => inSight(box, sight)).filter((box) => box !== undefined);
}

function isAsCame(box: Box, sight: Sight): boolean {
  for (const dimension of box.keys()) if (sight.has(dimension)) return false;
  return true;
}

/** The box where fields are seen otherwise; undefined where a known value is outside. */
function inSight(box: Box, sight: Sight): Box | undefined {
  let seenBox: Box | undefined = EVERYTHING;
  for (const [field, set] of box) {
    const what = seen(sight, field);
    if (isValue(what)) {
      if (!setHolds(set, what)) return undefined;
    } else seenBox = meetBoxes(seenBox, new Map([[what.dimension, set]]));
    if (seenBox === undefined) return undefined;
  }
  return seenBox;
}

function boxes(predicate: Predicate, wanted: boolean, reading: Reading, count: Count): readonly Box[] {
  switch (predicate.kind) {
    case 'always':
      return certain(wanted);
    case 'never':
      return certain(!wanted);
    case 'family':
      return certain((predicate.family === reading.family) === wanted);
    case 'unknown':
      return asked(predicate.why, wanted, reading, count);
    case 'value':
      return ofValue(predicate, wanted, reading);
    case 'name': {
      const { name, prefix, field } = predicate;
      return ofField(field, prefix ? [name, behind(name)] : onlyValue(name), wanted, reading);
    }
    case 'not':
      return boxes(predicate.of, !wanted, reading, count);
    case 'all':
    case 'any': {
      const parts = predicate.of.map((part) => boxes(part, wanted, reading, count));
      const joined = (predicate.kind === 'all') === wanted ? product(parts) : parts.flat();
      return joined === undefined || joined.length > MOST_BOXES
        ? asked('a match with very many alternatives', wanted, reading, count)
        : joined;
    }
  }
}

const certain = (holds: boolean): readonly Box[] => (holds ? [EVERYTHING] : []);

/** The first text behind all that begin with the name. */
function behind(name: string): string {
  const last = name.length - 1;
  return name.slice(0, last) + String.fromCharCode(name.charCodeAt(last) + 1);
}

function asked(why: string, wanted: boolean, { rule }: Reading, count: Count): readonly Box[] {
  return [flag(`?${why}\n${count.unknowns++} ${rule()}`, wanted)];
}

export function flag(dimension: Dimension, wanted: boolean): Box {
  return new Map([[dimension, wanted ? [1, 2] : [0, 1]]]);
}

function ofField(field: string, set: RangeSet, wanted: boolean, { sight, family }: Reading): readonly Box[] {
  const what = seen(sight, field);
  if (isValue(what)) return certain(setHolds(set, what) === wanted);
  const domain = domainOf(what.dimension, family);
  const values = wanted ? withoutSet(domain, withoutSet(domain, set)) : withoutSet(domain, set);
  if (values.length === 0) return [];
  return withoutSet(domain, values).length === 0 ? [EVERYTHING] : [new Map([[what.dimension, values]])];
}

function ofValue({ field, mask, ranges }: OfValue, wanted: boolean, reading: Reading): readonly Box[] {
  if (mask === undefined) return ofField(field, halfOpen(ranges), wanted, reading);
  const what = seen(reading.sight, field);
  if (isValue(what)) return certain(inRanges(ranges, maskValue(what as Value, mask)) === wanted);
  const domain = domainOf(what.dimension, reading.family);
  if (isFull(mask, domain)) return ofField(field, halfOpen(ranges), wanted, reading);
  const few = enumerated(domain, mask, ranges);
  if (few !== undefined) return ofField(field, few, wanted, reading);
  const said = ranges.map(({ first, last }) => (first === last ? String(first) : `${first}-${last}`)).join(',');
  return [flag(`?${fieldOf(what.dimension)} & ${mask} = ${said}\n${what.dimension}`, wanted)];
}

/** The mask keeps every bit that a value can have. */
function isFull(mask: Value, domain: RangeSet): boolean {
  const end = BigInt(mask) + 1n;
  return (end & BigInt(mask)) === 0n && end >= BigInt(domain.at(-1) ?? 0);
}

/** The values of a small domain whose masked value is in the ranges. */
function enumerated(domain: RangeSet, mask: Value, ranges: readonly Range[]): RangeSet | undefined {
  if (Number(domain.at(-1)) > 1024) return undefined;
  const list: Cut[] = [];
  for (let i = 0; i < domain.length; i += 2)
    for (let value = domain[i] as number; value < (domain[i + 1] as number); value++)
      if (inRanges(ranges, maskValue(value, mask))) list.push(value, value + 1);
  return list;
}

function halfOpen(ranges: readonly Range[]): RangeSet {
  return ranges.flatMap(({ first, last }) => [first, onlyValue(last)[1] as Cut]);
}

/** What lies in one box of every part; undefined when it gets too much. */
function product(parts: readonly (readonly Box[])[]): readonly Box[] | undefined {
  let all: readonly Box[] = [EVERYTHING];
  for (const part of parts) {
    all = all.flatMap((box) => part.map((other) => meetBoxes(box, other)).filter((both) => both !== undefined));
    if (all.length > MOST_BOXES) return undefined;
  }
  return all;
}
