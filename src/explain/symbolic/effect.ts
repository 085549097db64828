// Which packets change their verdict between two rulesets: sets of packets, each with both verdicts and both deciding
// rules. What only translates otherwise, and is let through by both, is a change, too.
//
// Guarantees: every packet that changes is in one of the sets; a set is never empty (its example is a packet in it) unless
// `sure` is false. What nobody can know from rules (a rate, a set not given, where NAT's target is routed) is an unknown
// in the set, never decided here.
// Does not: follow what NAT does to later packets of a flow, ingress chains, bridge tables; which of two chains of equal
// priority runs first. A packet from outside has no mark and is no fragment. Pure.

import type { Family } from '../../ruleset/types.ts';
import type { HostView } from '../path.ts';
import type { Place, Program } from '../program.ts';
import { CT_STATES } from '../protocols.ts';
import { ICMP_PROTOCOLS } from './base-pair.ts';
import { type Box, cutOut, type Point } from './box.ts';
import { START, runJourney, type Journeys } from './journey-pair.ts';
import { type Flow, type Lane, type Outcome, outcomeOf, type Piece } from './lane.ts';
import { findWitness, holesNear, type Region } from './piece.ts';
import { onlyValue, type RangeSet } from './range-set.ts';
import { chainsCompared } from './rule-pairs.ts';
import type { Seen, Sight } from './sight.ts';

export interface Fate {
  readonly outcome: Outcome;
  /** The rule, or for a drop the policy, that decided; undefined for what only policies let through. */
  readonly place?: Place;
  readonly translated: readonly string[];
}

/** Packets with one fate before and one after. */
export interface Change {
  readonly family: Family;
  readonly fromHost: boolean;
  readonly before: Fate;
  readonly after: Fate;
  readonly region: Region;
  readonly example: Point | undefined;
  /** False: whether there is such a packet could not be found out in time. */
  readonly sure: boolean;
}

export interface Effect {
  readonly changes: readonly Change[];
  /** False: too different to be compared wholly. */
  readonly complete: boolean;
}

/** Rules that may be held against pieces before it is given up: about 2 s. */
const BUDGET = 3_000_000;

export function effect(before: Program, after: Program, families: readonly Family[], host: HostView = {}): Effect {
  const budget = { left: BUDGET };
  const same = chainsCompared();
  const changes = families.flatMap((family) => {
    const journeys: Journeys = { family, host, pairs: new Map(), budget, same, programs: [before, after] };
    return [false, true].flatMap((fromHost) =>
      startsOf(family, fromHost).flatMap((start) =>
        runJourney(journeys, start, fromHost).flatMap((piece) => changeOf(piece, family, fromHost)),
      ),
    );
  });
  return { changes, complete: budget.left > 0 };
}

function changeOf(piece: Piece, family: Family, fromHost: boolean): Change[] {
  const [before, after] = piece.lanes.map(fateOf) as [Fate, Fate];
  if (before.outcome === after.outcome && (before.outcome !== 'accept' || sameTranslation(before, after))) return [];
  const witness = findWitness(piece, family);
  if (witness.kind === 'empty') return [];
  const example = witness.kind === 'packet' ? witness.point : undefined;
  const region: Region = { box: tightened(piece, family), but: piece.but };
  return [{ family, fromHost, before, after, region, example, sure: example !== undefined }];
}

const MOST_CUTS = 64;

/** What exclusions cut off straight is said by the box itself. */
function tightened(region: Region, family: Family): Box {
  let { box } = region;
  const near = holesNear(region);
  // Cut off by so many, the box would be no easier to read.
  if (near.length > MOST_CUTS) return box;
  for (const hole of near) {
    const [rest, ...more] = hole.but === hole.until ? cutOut(box, hole.box, family) : [];
    if (rest !== undefined && more.length === 0) box = rest;
  }
  return box;
}

const sameTranslation = (a: Fate, b: Fate): boolean => a.translated.join() === b.translated.join();

function fateOf(lane: Lane): Fate {
  const place = lane.stop?.place ?? lane.by;
  const translated = lane.stop === undefined ? lane.translated : [];
  return { outcome: outcomeOf(lane), translated, ...(place !== undefined && { place }) };
}

// ---- where packets start

const state = (...names: readonly string[]): RangeSet =>
  names
    .map((name) => CT_STATES[name] as number)
    .sort((a, b) => a - b)
    .flatMap((value) => [value, value + 1]);

const asCame = (dimension: string): Seen => ({ dimension });
const known = (ctState: Seen, first: Flow['first']): Flow => ({
  ctState,
  ctStatus: asCame('ctStatus'),
  ctMark: asCame('ctMark'),
  first,
});

/** A flow's first packets; related ones, of which nobody knows whether nat chains are asked; all others. */
function startsOf(family: Family, fromHost: boolean): Piece[] {
  const icmp = onlyValue(ICMP_PROTOCOLS[family]);
  const beside: RangeSet = [0, icmp[0] as number, icmp[1] as number, 256];
  const related = (protocol: RangeSet): Box =>
    new Map([
      ['ctState', state('related')],
      ['protocol', protocol],
    ]);
  const fresh: Flow = { ctState: CT_STATES['new'] as number, ctStatus: 0, ctMark: 0, first: 'yes' };
  const relatedState = CT_STATES['related'] as number;
  const starts: readonly (readonly [Box, Flow])[] = [
    [new Map([['ctState', state('new')]]), fresh],
    [related(beside), known(relatedState, 'unknown')],
    [related(icmp), known(relatedState, 'no')],
    [new Map([['ctState', state('invalid', 'established', 'untracked')]]), known(asCame('ctState'), 'no')],
  ];
  return starts.map(([box, flow]) => startOf(box, flow, fromHost));
}

function startOf(box: Box, flow: Flow, fromHost: boolean): Piece {
  const sight: Sight = new Map<string, Seen>([
    ['mark', 0],
    ['fragment', 0],
    ['ctState', CT_STATES['invalid'] as number],
    ['ctStatus', 0],
    ['ctMark', 0],
    fromHost ? ['iif', ''] : ['oif', ''],
    ...(flow.first === 'yes' ? FIRST_OF_FLOW : []),
  ]);
  const lane: Lane = { ...START, sight, flow, way: fromHost ? 'output' : 'before' };
  const from: Box = fromHost ? box : new Map([...box, ['iif', ['\0', '\uffff']]]);
  return { box: from, but: undefined, lanes: [lane, lane] };
}

/** Of a flow's first packet, the flow's own fields are the packet's. */
const FIRST_OF_FLOW: readonly (readonly [string, Seen])[] = [
  ['ctDirection', 0],
  ['origSaddr', asCame('saddr')],
  ['origDaddr', asCame('daddr')],
  ['origSport', asCame('sport')],
  ['origDport', asCame('dport')],
];
