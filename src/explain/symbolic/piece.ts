// A set of packets as a box but for what earlier rules took out of it. Nothing is multiplied out: ten thousand rules
// before are ten thousand exclusions in one list that later pieces share. Whether anything is left is asked when it
// matters, and answered by a packet that is in it (a witness), so a "yes" is never a guess. Pure.

import type { Family } from '../../ruleset/types.ts';
import { type Box, boxCovers, boxesMeet, cutOut, meetBoxes, type Point, somePoint } from './box.ts';
import { setHolds } from './range-set.ts';

/** A list from the latest exclusion to the first. */
export interface Exclusions {
  readonly hole: Hole;
  readonly before: Exclusions | undefined;
}

/** A box taken out, but for what was taken out of itself: the exclusions from `but` up to, not with, `until`. */
export interface Hole {
  readonly box: Box;
  readonly but: Exclusions | undefined;
  readonly until: Exclusions | undefined;
}

export interface Region {
  readonly box: Box;
  readonly but: Exclusions | undefined;
}

/** Without a part; the part's own exclusions lie before `until`. */
export function takeOut<R extends Region>(region: R, part: Region, until: Exclusions | undefined): R {
  const hole: Hole = { box: part.box, but: part.but, until };
  return { ...region, but: { hole, before: region.but } };
}

export function takeOutBox({ box, but }: Region, part: Box): Region {
  return { box, but: { hole: { box: part, but: undefined, until: undefined }, before: but } };
}

export function pointInBox(box: Box, point: Point): boolean {
  for (const [dimension, set] of box) if (!setHolds(set, point(dimension))) return false;
  return true;
}

function pointInHole({ box, but, until }: Hole, point: Point): boolean {
  if (!pointInBox(box, point)) return false;
  for (let at = but; at !== until && at !== undefined; at = at.before) if (pointInHole(at.hole, point)) return false;
  return true;
}

export function pointInRegion({ box, but }: Region, point: Point): boolean {
  return !pointInHole({ box, but: undefined, until: undefined }, point)
    ? false
    : !listOf(but, undefined).some((hole) => pointInHole(hole, point));
}

function listOf(but: Exclusions | undefined, until: Exclusions | undefined): Hole[] {
  const holes: Hole[] = [];
  for (let at = but; at !== until && at !== undefined; at = at.before) holes.push(at.hole);
  return holes;
}

/** `unknown`: not found within the budget. */
export type Witness =
  | { readonly kind: 'packet'; readonly point: Point }
  | { readonly kind: 'empty'; readonly hiding: ReadonlySet<Hole> }
  | { readonly kind: 'unknown' };

/** Steps a search may take; each looks at the exclusions that touch what is left. */
const BUDGET = 2_000;

interface Search {
  readonly family: Family;
  readonly hiding: Set<Hole>;
  left: number;
}

/** A packet of the region, or the exclusions that together cover it. */
export function findWitness({ box, but }: Region, family: Family): Witness {
  const search: Search = { family, hiding: new Set(), left: BUDGET };
  const point = look(search, box, listOf(but, undefined));
  if (point !== undefined) return { kind: 'packet', point };
  return search.left <= 0 ? { kind: 'unknown' } : { kind: 'empty', hiding: search.hiding };
}

function look(search: Search, box: Box, holes: readonly Hole[]): Point | undefined {
  if (search.left-- <= 0) return undefined;
  const near = holes.filter((hole) => boxesMeet(hole.box, box));
  const whole = near.find((hole) => hole.but === hole.until && boxCovers(hole.box, box));
  if (whole !== undefined) {
    search.hiding.add(whole);
    return undefined;
  }
  const point = somePoint(box, search.family);
  const hole = near.find((each) => pointInHole(each, point));
  if (hole === undefined) return point;
  search.hiding.add(hole);
  return lookAround(search, box, hole, near);
}

/** Everywhere in the box that is not in the hole: beside it, and in what the hole leaves out. */
function lookAround(search: Search, box: Box, hole: Hole, near: readonly Hole[]): Point | undefined {
  const others = near.filter((each) => each !== hole);
  for (const piece of cutOut(box, hole.box, search.family)) {
    const point = look(search, piece, others);
    if (point !== undefined) return point;
  }
  const inside = meetBoxes(box, hole.box);
  if (inside === undefined) return undefined;
  for (const island of listOf(hole.but, hole.until)) {
    const part = meetBoxes(inside, island.box);
    const point = part && look(search, part, [...others, ...listOf(island.but, island.until)]);
    if (point !== undefined) return point;
  }
  return undefined;
}

/** The exclusions that touch the region's box. */
export function holesNear({ box, but }: Region): readonly Hole[] {
  return listOf(but, undefined).filter((hole) => boxesMeet(hole.box, box));
}
