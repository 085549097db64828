// An effect as a short list: packets by what decided them before and after, with owners. Pure; plain data, ready for JSON.

import type { Classified } from '../../classify/classify.ts';
import type { Family } from '../../ruleset/types.ts';
import { seatOf, type Seat } from '../steps.ts';
import type { Box } from './box.ts';
import type { Change, Effect, Fate } from './effect.ts';
import type { Outcome } from './lane.ts';
import { holesNear } from './piece.ts';
import { boxText, dependsOn, joinAll } from './words.ts';

export interface SaidFate {
  readonly verdict: Outcome;
  /** Absent where only policies let it through. */
  readonly decidedBy?: Seat;
  /** What NAT did. */
  readonly translated: readonly string[];
}

export interface PacketClass {
  readonly family: Family;
  /** `tcp 22 to 192.168.122.10 in eth0`; several where one line cannot say it. */
  readonly packets: readonly string[];
  /** Packets of these words that earlier rules decide, as before, are not meant. */
  readonly exceptEarlier: boolean;
  readonly before: SaidFate;
  readonly after: SaidFate;
  readonly dependsOn: readonly string[];
  /** False: whether there is any such packet was not found out in time. */
  readonly sure: boolean;
}

/** One side's owners, for its rules. */
export type Owners = readonly Classified[];

/** Packets that share both deciding rules are one class. */
export function summaryOf({ changes }: Effect, before: Owners, after: Owners): PacketClass[] {
  const groups = new Map<string, Change[]>();
  for (const change of changes) {
    const key = [change.family, change.fromHost, fateKey(change.before), fateKey(change.after)].join('\n');
    groups.set(key, [...(groups.get(key) ?? []), change]);
  }
  return [...groups.values()].map((group) => classOf(group, before, after));
}

function fateKey({ outcome, place, translated }: Fate): string {
  const { engine, family, table, chain, index } = place ?? {};
  return [outcome, engine, family, table, chain, index, ...translated].join(' ');
}

function classOf(group: readonly Change[], before: Owners, after: Owners): PacketClass {
  const [first] = group as [Change];
  const { family, fromHost } = first;
  const boxes = joinAll(
    group.map(({ region }) => withoutUnknowns(region.box)),
    family,
  );
  return {
    family,
    packets: [...new Set(boxes.map((box) => boxText(box, family, fromHost)))],
    exceptEarlier: group.some(({ region }) => holesNear(region).length > 0),
    before: said(first.before, before),
    after: said(first.after, after),
    dependsOn: [...new Set(group.flatMap(({ region }) => dependsOn(withoutNatQuestion(region.box))))],
    sure: group.every(({ sure }) => sure),
  };
}

function withoutUnknowns(box: Box): Box {
  return new Map([...box].filter(([dimension]) => !dimension.startsWith('?') && !dimension.includes('~')));
}

/** Both answers are followed, so it alone decides nothing. */
const withoutNatQuestion = (box: Box): Box =>
  new Map([...box].filter(([dimension]) => !dimension.startsWith('?whether it is the first packet')));

function said({ outcome, place, translated }: Fate, owners: Owners): SaidFate {
  return {
    verdict: outcome,
    ...(place !== undefined && { decidedBy: seatOf(place, outcome, owners) }),
    translated,
  };
}
