// Pieces of packets through one base chain of two rulesets at once: rules that both have are met by both lanes together.
//
// Goal: what an unchanged rule does costs one look, however many rules there are. Guarantees: every packet of a piece is
// in exactly one piece behind the chain, or was left out because both lanes do the same with it and nothing different
// comes later. Does not: follow hooks (journey-pair.ts) or say which packets there are in a piece (findWitness). Pure.

import type { Family } from '../../ruleset/types.ts';
import type { Action, BaseChain, Case, CompiledChain, CompiledRule, Place } from '../program.ts';
import { act, type Acting, anyhow, type Hit, split } from './act.ts';
import { boxCovers } from './box.ts';
import { inStep, type Lane, type Lanes, OUT, outcomeOf, type Piece, sameLane, type Side, withLanes } from './lane.ts';
import { findWitness, takeOut } from './piece.ts';
import { copyOf, pairRules, type RuleAt, type RulePair } from './rule-pairs.ts';
import type { Reading } from './sight.ts';

/** As deep as the kernel lets jumps nest (walk-chain.ts). */
const MAX_DEPTH = 128;

export interface Walk {
  readonly family: Family;
  readonly bases: readonly [BaseChain | undefined, BaseChain | undefined];
  /** Something different comes behind this base chain, so what both let through goes on. */
  readonly keep: boolean;
  readonly pairs: Map<CompiledChain | undefined, Map<CompiledChain | undefined, readonly RulePair[]>>;
  readonly budget: Budget;
}

type Chains = readonly [CompiledChain | undefined, CompiledChain | undefined];

/** How many times a rule may be held against a piece; used up, the answer is not complete. */
export interface Budget {
  left: number;
}

/** Through a chain at this depth; a lane that is at another depth waits. Behind it the lanes are one less deep. */
export function walkChains(walk: Walk, chains: Chains, pieces: Piece[], depth: number): Piece[] {
  const done: Piece[] = [];
  let open = pieces;
  for (const pair of pairsOf(walk, chains)) {
    if (open.length === 0) break;
    const next: Piece[] = [];
    for (const piece of open)
      for (const after of meetRule(walk, pair, piece, depth)) (isHere(after, depth) ? next : done).push(after);
    open = next;
  }
  return [...done, ...open.map((piece) => leave(piece, depth))];
}

const isHere = ({ lanes }: Piece, depth: number): boolean => lanes[0].depth === depth || lanes[1].depth === depth;

const leave = (piece: Piece, depth: number): Piece =>
  withLanes(piece, [0, 1], (lane) => (lane.depth === depth ? { ...lane, depth: depth - 1 } : lane));

export function pairsOf({ pairs }: Pick<Walk, 'pairs'>, [a, b]: Chains): readonly RulePair[] {
  let row = pairs.get(a);
  if (row === undefined) pairs.set(a, (row = new Map()));
  let known = row.get(b);
  if (known === undefined) row.set(b, (known = pairRules(a, b)));
  return known;
}

function meetRule(walk: Walk, { a, b }: RulePair, piece: Piece, depth: number): Piece[] {
  const [first, second] = piece.lanes;
  const here = { a: a !== undefined && first.depth === depth, b: b !== undefined && second.depth === depth };
  if (here.a && here.b && first === second) return runRule(walk, [a, b], [0, 1], piece, depth);
  const after = here.a ? runRule(walk, [a, b], [0], piece, depth) : [piece];
  return here.b ? after.flatMap((each) => runRule(walk, [a, b], [1], each, depth)) : after;
}

type Rules = readonly [RuleAt | undefined, RuleAt | undefined];

/** A rule that both have is compiled once. */
const sameRule = ([a, b]: Rules): RuleAt => (a ?? b) as RuleAt;

/** The pieces behind the rule: those it did something to, and one for all others. */
function runRule(walk: Walk, rules: Rules, sides: readonly Side[], piece: Piece, depth: number): Piece[] {
  const [side] = sides as [Side];
  const { rule } = sameRule(rules);
  const lane = piece.lanes[side];
  if (walk.budget.left-- <= 0) return [];
  const acting = actingOf(walk, rules[side] as RuleAt, side, lane);
  if (rule.guard !== undefined && split(piece, rule.guard, acting.reading).hits.length === 0) return [piece];
  if (sides.length === 2 && depth === 0 && !walk.keep && endsAlike(rule))
    return withoutHits(piece, rule, acting.reading);
  const run: Run = { walk, rules, sides, depth, acting, piece };
  const results = runSteps(run, { box: piece.box, but: piece.but, lane });
  return settle(walk, piece, results, depth);
}

/** Both lanes end alike by it, whatever it says. */
function endsAlike({ steps }: CompiledRule): boolean {
  const [first, second] = steps;
  const end = first?.kind === 'match' ? second : first;
  return (end === first || steps.length === 2) && ['accept', 'drop', 'reject'].includes(end?.kind ?? '');
}

function withoutHits(piece: Piece, { steps: [first] }: CompiledRule, reading: Reading): Piece[] {
  if (first?.kind !== 'match') return [];
  const { rest } = split(piece, first.test, reading);
  return rest === undefined ? [] : [rest];
}

interface Run {
  readonly walk: Walk;
  readonly rules: Rules;
  readonly sides: readonly Side[];
  readonly depth: number;
  readonly acting: Acting;
  readonly piece: Piece;
}

function actingOf({ family, bases }: Walk, at: RuleAt, side: Side, { sight }: Lane): Acting {
  const base = bases[side] as BaseChain;
  const { engine, table } = base;
  const rule = (): string => `${engine} ${base.family} ${table} ${at.chain.name} ${copyOf(at)} ${at.rule.text}`;
  const reading: Reading = { family, sight, rule };
  return { hook: base.hook, nat: base.type === 'nat', place: () => placeOf(base, at), reading };
}

export function placeOf(base: BaseChain, at?: RuleAt): Place {
  const { engine, family, table } = base;
  const place = { engine, family, table, chain: at?.chain.name ?? base.chain.name, base: base.chain.name };
  return at === undefined ? place : { ...place, index: at.index, text: at.rule.text };
}

// ---- one rule

type Results = readonly Piece[];

function toPiece({ piece, sides }: Run, { box, but, lane }: Hit): Piece {
  return withLanes({ box, but, lanes: piece.lanes }, sides, () => lane);
}

function runSteps(run: Run, start: Hit): Results {
  const results: Piece[] = [];
  const { rule } = sameRule(run.rules);
  let hits: Hit[] = [start];
  for (const step of rule.steps) {
    if (hits.length === 0) return results;
    if (step.kind === 'match') {
      const parts = hits.map((hit) => split(hit, step.test, readingOf(run, hit)));
      // A mark that was set before the match failed stays set.
      for (const { rest } of parts)
        if (rest !== undefined && rest.lane !== start.lane) results.push(toPiece(run, rest));
      hits = parts.flatMap((part) => part.hits);
    } else if (step.kind === 'choose') {
      return [...results, ...hits.flatMap((hit) => runCases(run, step.cases, hit))];
    } else if (step.kind === 'set' || step.kind === 'notrack') {
      hits = hits.flatMap((hit) => act(hit, step, { ...run.acting, reading: readingOf(run, hit) }));
    } else if (step.kind !== 'note') {
      return [...results, ...hits.flatMap((hit) => runEnd(run, step, hit))];
    }
  }
  return [...results, ...hits.map((hit) => toPiece(run, hit))];
}

const readingOf = ({ acting }: Run, { lane }: Hit): Reading => ({ ...acting.reading, sight: lane.sight });

function runCases(run: Run, cases: readonly Case[], start: Hit): Results {
  const results: Piece[] = [];
  let left: Hit | undefined = start;
  for (const { test, action } of cases) {
    if (left === undefined) return results;
    const { hits, rest }: { hits: Hit[]; rest: Hit | undefined } = split(left, test, readingOf(run, left));
    results.push(...hits.flatMap((hit) => runEnd(run, action, hit)));
    left = rest;
  }
  return left === undefined ? results : [...results, toPiece(run, left)];
}

function runEnd(run: Run, action: Action, hit: Hit): Results {
  if (action.kind === 'jump' || action.kind === 'goto') return runJump(run, action.kind, action.chain, hit);
  return act(hit, action, { ...run.acting, reading: readingOf(run, hit) }).map((each) => toPiece(run, each));
}

function runJump(run: Run, kind: 'jump' | 'goto', name: string, hit: Hit): Results {
  const { walk, sides, depth, acting } = run;
  const callee = (side: Side): CompiledChain | undefined =>
    sides.includes(side) ? walk.bases[side]?.chains.get(name) : undefined;
  const callees = [callee(0), callee(1)] as const;
  const missing = sides.some((side) => callees[side] === undefined);
  if (missing || depth >= MAX_DEPTH) {
    const why = missing ? `chain ${name} is not in the ruleset` : 'the jumps nest too deep';
    return anyhow(hit, why, acting).map((each) => toPiece(run, each));
  }
  const entering = toPiece(run, { ...hit, lane: { ...hit.lane, depth: depth + 1 } });
  const after = walkChains(walk, callees, [entering], depth + 1);
  return kind === 'jump' ? after : after.map((piece) => leaveBy(piece, sides, depth));
}

const leaveBy = (piece: Piece, sides: readonly Side[], depth: number): Piece =>
  withLanes(piece, sides, (lane) => (lane.depth === depth ? { ...lane, depth: depth - 1 } : lane));

// ---- what is left

/** The results that differ from the piece, as far as they matter; and what is left of it, as it was. */
function settle(walk: Walk, piece: Piece, results: Results, depth: number): Piece[] {
  const changed = results.filter(({ lanes }) => !sameLanes(lanes, piece.lanes));
  if (changed.length === 0) return [piece];
  const going = changed.filter((each) => matters(walk, each, depth));
  if (changed.some(({ box, but }) => but === piece.but && boxCovers(box, piece.box))) return going;
  return [...going, changed.reduce((left, part) => takeOut(left, part, piece.but), piece)];
}

const sameLanes = (a: Lanes, b: Lanes): boolean =>
  (a[0] === a[1]) === (b[0] === b[1]) && sameLane(a[0], b[0]) && sameLane(a[1], b[1]);

/** Inside a chain that was jumped to, what ended has to be told to the caller. */
function matters(walk: Walk, piece: Piece, depth: number): boolean {
  if (isDecided(piece, walk.keep)) return depth > 0 || (walk.keep && inStep(piece));
  return inStep(piece) || findWitness(piece, walk.family).kind !== 'empty';
}

/** Both lanes ended alike, or went through and nothing different comes. */
export function isDecided({ lanes: [a, b] }: Piece, keep: boolean): boolean {
  if (a.depth !== OUT || b.depth !== OUT || outcomeOf(a) !== outcomeOf(b)) return false;
  return a.stop !== undefined || (!keep && sameLane(a, b));
}
