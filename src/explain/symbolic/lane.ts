// Two runs of the same packets side by side: one lane through the ruleset before, one through that after. While both lanes
// are one object nothing has come between them, and one step serves both. Pure, plain data.

import type { Place } from '../program.ts';
import type { Region } from './piece.ts';
import { sameSeen, sameSight, type Seen, type Sight } from './sight.ts';

export interface Lane {
  readonly sight: Sight;
  /** How deep the chain is nested that the lane is in now; 0 is the base chain. See POLICY and OUT. */
  readonly depth: number;
  /** What ended it. */
  readonly stop?: { readonly kind: 'drop' | 'reject'; readonly place: Place };
  /** The last rule that accepted it. */
  readonly by?: Place;
  /** `dnat to 192.168.122.10:80` */
  readonly translated: readonly string[];
  /** A nat chain of this hook has translated it. */
  readonly nat: boolean;
  /** What conntrack will say of it. */
  readonly flow: Flow;
  /** Where it goes behind its routing. */
  readonly way: 'before' | 'input' | 'forward' | 'output' | 'loop' | 'end';
  readonly redirected?: true;
}

/** Conntrack's fields of the flow, and whether nat chains are asked: only for its first packet. */
export interface Flow {
  readonly ctState: Seen;
  readonly ctStatus: Seen;
  readonly ctMark: Seen;
  readonly first: 'yes' | 'no' | 'unknown';
}

/** Behind its base chain's last rule. */
export const POLICY = -1;
/** Through its base chain, or stopped, or not in this one. */
export const OUT = -2;

export type Side = 0 | 1;
export type Lanes = readonly [Lane, Lane];

export interface Piece extends Region {
  readonly lanes: Lanes;
}

export const inStep = ({ lanes }: Piece): boolean => lanes[0] === lanes[1];

/** The lanes of these sides changed; lanes in step stay in step when both change. */
export function withLanes(piece: Piece, sides: readonly Side[], change: (lane: Lane, side: Side) => Lane): Piece {
  const [a, b] = piece.lanes;
  if (a === b && sides.length === 2) {
    const both = change(a, 0);
    return both === a ? piece : { ...piece, lanes: [both, both] };
  }
  const lanes: Lanes = [sides.includes(0) ? change(a, 0) : a, sides.includes(1) ? change(b, 1) : b];
  return lanes[0] === a && lanes[1] === b ? piece : { ...piece, lanes };
}

/** Whether all that comes will treat them alike. */
export function sameLane(a: Lane, b: Lane): boolean {
  return (
    a === b ||
    (a.depth === b.depth &&
      a.stop?.kind === b.stop?.kind &&
      a.nat === b.nat &&
      a.way === b.way &&
      a.redirected === b.redirected &&
      a.translated.join() === b.translated.join() &&
      sameSeen(a.flow.ctState, b.flow.ctState) &&
      sameSight(a.sight, b.sight))
  );
}

export type Outcome = 'accept' | 'drop' | 'reject';
export const outcomeOf = ({ stop }: Lane): Outcome => stop?.kind ?? 'accept';
