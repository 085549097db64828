// One base chain of two rulesets: who enters it, its policy, and which packets are worth the walk at all. Pure.
//
// Guarantees: where nothing different comes later, only packets that one of the differing rules matches are walked, so a
// one-rule change costs little however long the chain is.

import type { BaseChain, CompiledChain } from '../program.ts';
import { CT_STATES, ICMP, ICMPV6 } from '../protocols.ts';
import { type Box, boxCovers, meetBoxes } from './box.ts';
import { inStep, type Lane, OUT, type Piece, POLICY, sameLane, type Side, withLanes } from './lane.ts';
import { takeOut, takeOutBox } from './piece.ts';
import { boxesOf } from './predicate-boxes.ts';
import type { RuleAt, RulePair } from './rule-pairs.ts';
import { isValue, type Reading, seen } from './sight.ts';
import { isDecided, pairsOf, placeOf, type Walk, walkChains } from './walk-pair.ts';

export type SameChains = (walk: Walk, name: string) => boolean;

/** Through the base chain; `sees` says which lanes come by. `differs`: its rules or policy are not the same. */
export function walkBase(
  walk: Walk,
  pieces: readonly Piece[],
  sees: (lane: Lane, side: Side) => boolean,
  differs: boolean,
  same: SameChains,
): Piece[] {
  return pieces.flatMap((piece) => {
    if (!walk.keep && !differs && inStep(piece)) return [];
    return passOne(walk, piece, sees, same);
  });
}

function passOne(walk: Walk, piece: Piece, sees: (lane: Lane, side: Side) => boolean, same: SameChains): Piece[] {
  const sides = ([0, 1] as const).filter((side) => {
    const lane = piece.lanes[side];
    return walk.bases[side] !== undefined && lane.stop === undefined && sees(lane, side);
  });
  if (sides.length === 0) return [piece];
  const set = withLanes(piece, [0, 1], (lane) => (lane.depth === OUT ? lane : { ...lane, depth: OUT }));
  const entered = withLanes(set, sides, (lane) => ({ ...lane, depth: 0 }));
  const chains = [
    sides.includes(0) ? walk.bases[0]?.chain : undefined,
    sides.includes(1) ? walk.bases[1]?.chain : undefined,
  ] as const;
  const starts = walk.keep || !inStep(entered) ? [entered] : worthIt(walk, chains, entered, same);
  const after = starts.flatMap((start) => walkChains(walk, chains, [start], 0).map((each) => byPolicy(walk, each)));
  const met = after.filter((each) => !isDecided(each, walk.keep) || (walk.keep && inStep(each))).map(meetAgain);
  return walk.keep && inStep(entered) ? gathered(entered, met) : met;
}

function byPolicy({ bases }: Walk, piece: Piece): Piece {
  const sides = ([0, 1] as const).filter((side) => piece.lanes[side].depth === POLICY);
  const asOne = inStep(piece) && bases[0]?.policy === bases[1]?.policy;
  const ended = (lane: Lane, side: Side): Lane => {
    const base = bases[side] as BaseChain;
    const out: Lane = { ...lane, depth: OUT };
    return base.policy === 'drop' ? { ...out, stop: { kind: 'drop', place: placeOf(base) } } : out;
  };
  if (asOne || sides.length < 2) return withLanes(piece, sides, ended);
  return { ...piece, lanes: [ended(piece.lanes[0], 0), ended(piece.lanes[1], 1)] };
}

/** Two lanes that came through by different rules, and are alike otherwise, go on together. */
function meetAgain(piece: Piece): Piece {
  const [a, b] = piece.lanes;
  if (a === b || a.stop !== undefined || !sameLane(a, b)) return piece;
  return { ...piece, lanes: [a, a] };
}

/** What went through unchanged is one piece again: all that entered, but for the rest. */
function gathered(entered: Piece, after: readonly Piece[]): Piece[] {
  const asBefore = (piece: Piece): boolean =>
    inStep(piece) && piece.lanes[0].stop === undefined && sameLane({ ...piece.lanes[0], depth: 0 }, entered.lanes[0]);
  const others = after.filter((piece) => !asBefore(piece));
  const going = others.filter((piece) => !(inStep(piece) && piece.lanes[0].stop !== undefined));
  if (others.length === after.length) return going;
  const rest = others.reduce((left, part) => takeOut(left, part, entered.but), entered);
  return [...going, withLanes(rest, [0, 1], (lane) => ({ ...lane, depth: OUT }))];
}

// ---- what is worth walking

/** Rules that change what later rules see, so that a match cannot be read before. */
const CHANGES_SIGHT = /\b(?:MARK|CONNMARK|NOTRACK|notrack|mark set)\b/;

type Chains = readonly [CompiledChain | undefined, CompiledChain | undefined];

/** The parts of the piece that a differing rule matches; the whole piece where that cannot be said beforehand. */
function worthIt(walk: Walk, chains: Chains, piece: Piece, same: SameChains): Piece[] {
  const [a, b] = walk.bases;
  if (a === undefined || b === undefined || a.policy !== b.policy) return [piece];
  const differing = pairsOf(walk, chains).filter((pair) => isDifferent(walk, pair, same));
  if (differing.length > MOST_PARTS || [a, b].some(changesSight)) return [piece];
  const parts: Piece[] = [];
  let left = piece;
  for (const box of differing.flatMap((pair) => boxesOfPair(walk, pair, piece))) {
    const part = meetBoxes(piece.box, box);
    if (part === undefined) continue;
    parts.push({ ...left, box: part });
    if (boxCovers(box, piece.box)) return parts;
    left = { ...left, ...takeOutBox(left, part) };
  }
  return parts;
}

/** Each part is walked by itself. */
const MOST_PARTS = 64;

const changesSight = ({ chains }: BaseChain): boolean =>
  [...chains.values()].some(({ rules }) => rules.some(({ text }) => CHANGES_SIGHT.test(text)));

const CHAIN = / -[jg] (\S+)|\b(?:jump|goto) (\w+)|vmap/;

function isDifferent(walk: Walk, { a, b }: RulePair, same: SameChains): boolean {
  if (a === undefined || b === undefined) return true;
  const found = CHAIN.exec(a.rule.text);
  if (found === null) return false;
  const name = found[1] ?? found[2];
  return name === undefined || a.rule.text.split('jump').length > 2 || !same(walk, name);
}

function boxesOfPair({ family, bases }: Walk, { a, b }: RulePair, piece: Piece): readonly Box[] {
  const [side, at] = a === undefined ? ([1, b as RuleAt] as const) : ([0, a] as const);
  const [first] = at.rule.steps;
  if (first?.kind !== 'match') return [new Map()];
  // An unknown of the walk's own is not looked for here: the fields alone narrow.
  const reading: Reading = { family, sight: piece.lanes[side].sight, rule: () => (bases[side] as BaseChain).table };
  return boxesOf(first.test, reading).map(
    (box) => new Map([...box].filter(([dimension]) => !dimension.startsWith('?'))),
  );
}

// ---- nat

/** Whether nat chains are asked of a lane: only for a flow's first packet. `unknown`: for related flows other than ICMP. */
export function asksNat({ sight, flow, way, nat }: Lane): 'yes' | 'no' | 'unknown' {
  if (nat || way === 'loop') return 'no';
  const state = seen(sight, 'ctState');
  if (isValue(state)) return state === CT_STATES['new'] ? 'yes' : state === CT_STATES['related'] ? flow.first : 'no';
  return flow.first;
}

export const ICMP_PROTOCOLS = { ip: ICMP, ip6: ICMPV6 } as const;
