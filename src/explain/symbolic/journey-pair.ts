// Packets through all hooks of two rulesets at once: from outside to the host or through it, and from the host.
//
// Follows walk.ts and path.ts step by step; what they ask of one packet is asked here of sets of them. Where NAT sends a
// packet is asked of the host's view, or is an unknown. Pure.

import type { Family } from '../../ruleset/types.ts';
import type { HostView } from '../path.ts';
import type { BaseChain, Hook, Program } from '../program.ts';
import { alignStaying } from '../../ruleset/align.ts';
import { addressText, addressValue, type Value } from '../values.ts';
import { asksNat, type SameChains, walkBase } from './base-pair.ts';
import { type Box, meetBoxes } from './box.ts';
import { inStep, type Lane, type Lanes, OUT, type Piece, withLanes } from './lane.ts';
import { flag } from './predicate-boxes.ts';
import { chainsCompared } from './rule-pairs.ts';
import { foundOut, isValue, seen, type Seen, withSeen } from './sight.ts';
import type { Budget, Walk } from './walk-pair.ts';

/** From the loopback interface packets come in again. */
export type Part = Hook | 'conntrack' | 'route' | 'reroute' | 'loop';

export interface Stage {
  readonly part: Part;
  readonly a?: BaseChain | undefined;
  readonly b?: BaseChain | undefined;
  readonly differs: boolean;
}

export interface Journeys {
  readonly family: Family;
  readonly host: HostView;
  readonly pairs: Walk['pairs'];
  readonly budget: Budget;
  readonly same: ReturnType<typeof chainsCompared>;
  readonly programs: readonly [Program, Program];
}

const FROM_OUTSIDE: readonly Part[] = ['prerouting', 'route', 'input', 'forward', 'postrouting'];
const FROM_HOST: readonly Part[] = ['output', 'reroute', 'postrouting', 'loop', 'prerouting', 'input'];

/** The pieces at the end whose lanes may differ. `fromHost`: the journey starts there. */
export function runJourney(journeys: Journeys, start: Piece, fromHost: boolean): Piece[] {
  const parts = fromHost ? FROM_HOST : FROM_OUTSIDE;
  const stages = parts.flatMap((part) => stagesOf(journeys, part, fromHost && part === 'prerouting'));
  let pieces: Piece[] = [start];
  stages.forEach((stage, at) => {
    const keep = stages.slice(at + 1).some(({ differs }) => differs);
    pieces = pieces.filter((piece) => keep || stage.differs || !inStep(piece));
    pieces = runStage(journeys, stage, pieces, keep);
  });
  return pieces;
}

// ---- stages

const CONNTRACK = -200;

interface Slot {
  readonly key: string;
  readonly base?: BaseChain;
}

function stagesOf(journeys: Journeys, part: Part, looped: boolean): Stage[] {
  if (part === 'route' || part === 'reroute' || part === 'loop') return [{ part, differs: false }];
  const [from, to] = journeys.programs.map((program) => slotsOf(program, part as Hook, journeys.family, looped)) as [
    Slot[],
    Slot[],
  ];
  const staying = alignStaying(
    from.map(({ key }) => key),
    to.map(({ key }) => key),
  );
  const stages: Stage[] = [];
  let next = 0;
  const add = (a: Slot | undefined, b: Slot | undefined): void => void stages.push(stageOf(journeys, part, a, b));
  to.forEach((slot, index) => {
    const twin = staying[index] as number;
    while (next < twin) add(from[next++], undefined);
    add(twin < 0 ? undefined : from[next++], slot);
  });
  for (const slot of from.slice(next)) add(slot, undefined);
  return stages;
}

function stageOf({ same }: Journeys, part: Part, a: Slot | undefined, b: Slot | undefined): Stage {
  if (a?.key === 'conntrack' || b?.key === 'conntrack') return { part: 'conntrack', differs: false };
  const [one, two] = [a?.base, b?.base];
  const equal =
    one !== undefined &&
    two !== undefined &&
    one.policy === two.policy &&
    same(one.chain, one.chains, two.chain, two.chains);
  return { part, a: one, b: two, differs: !equal };
}

/** Base chains of a hook in the order walk.ts runs them. Chains in ingress are not followed. */
function slotsOf({ baseChains }: Program, hook: Hook, family: Family, looped: boolean): Slot[] {
  const here = baseChains.filter((base) => base.hook === hook && (base.family === family || base.family === 'inet'));
  const starts = hook === 'prerouting' || hook === 'output';
  const placed = here.reverse().map((base) => {
    const nat = hook === 'forward' ? base.priority : starts ? -100 : 100;
    return {
      base,
      priority: base.type === 'nat' ? nat : base.priority,
      inner: base.type === 'nat' ? base.priority : 0,
    };
  });
  const before = placed.filter(({ priority }) => priority < CONNTRACK).sort(byPriority);
  const after = placed.filter(({ priority }) => priority >= CONNTRACK).sort(byPriority);
  const slots = (list: typeof placed): Slot[] => list.map(({ base }) => ({ key: keyOf(base), base }));
  return starts && !looped ? [...slots(before), { key: 'conntrack' }, ...slots(after)] : slots([...before, ...after]);
}

const byPriority = (a: { priority: number; inner: number }, b: { priority: number; inner: number }): number =>
  a.priority - b.priority || a.inner - b.inner;

const keyOf = ({ engine, family, table, chain, type }: BaseChain): string =>
  [engine, family, table, chain.name, type].join(' ');

// ---- one stage

function runStage(journeys: Journeys, stage: Stage, pieces: readonly Piece[], keep: boolean): Piece[] {
  switch (stage.part) {
    case 'conntrack':
      return pieces.map((piece) => withLanes(piece, [0, 1], tracked));
    case 'route':
      return routeBoth(pieces, (lane) => waysOut(journeys, lane));
    case 'reroute':
      return routeBoth(pieces, (lane) => [{ box: new Map(), lane: rerouted(journeys, lane) }]);
    case 'loop':
      return routeBoth(pieces, loopBack);
    default:
      return runChain(journeys, stage, startHook(stage.part, pieces), keep);
  }
}

const startHook = (hook: Hook, pieces: readonly Piece[]): Piece[] =>
  hook === 'input' || hook === 'postrouting' ? pieces.map((piece) => withLanes(piece, [0, 1], renewed)) : [...pieces];

const renewed = (lane: Lane): Lane => (lane.nat ? { ...lane, nat: false } : lane);

function tracked(lane: Lane): Lane {
  const { ctState, ctStatus, ctMark } = lane.flow;
  return { ...lane, sight: withSeen(lane.sight, { ctState, ctStatus, ctMark }) };
}

const HERE: Readonly<Record<Lane['way'], readonly Part[]>> = {
  before: ['prerouting'],
  input: ['input'],
  forward: ['forward', 'postrouting'],
  output: ['output', 'postrouting'],
  loop: ['prerouting', 'input'],
  end: [],
};

function runChain(
  journeys: Journeys,
  { part, a, b, differs }: Stage,
  pieces: readonly Piece[],
  keep: boolean,
): Piece[] {
  const { family, pairs, budget, same } = journeys;
  const walk: Walk = { family, bases: [a, b], keep, pairs, budget };
  const sameChains: SameChains = (_, name) => {
    const [one, two] = [a?.chains.get(name), b?.chains.get(name)];
    return one === undefined || two === undefined
      ? one === two
      : same(one, a?.chains ?? new Map(), two, b?.chains ?? new Map());
  };
  const isNat = (a ?? b)?.type === 'nat';
  const sees = (lane: Lane): boolean => HERE[lane.way].includes(part) && !(isNat && asksNat(lane) === 'no');
  const ready = isNat ? pieces.flatMap((piece) => askedOrNot(piece)) : pieces;
  return walkBase(walk, ready, sees, differs, sameChains);
}

const FIRST = '?whether it is the first packet of its flow';

/** Where nobody knows whether nat chains are asked, both are followed. */
function askedOrNot(piece: Piece): Piece[] {
  if (!piece.lanes.some((lane) => lane.stop === undefined && asksNat(lane) === 'unknown')) return [piece];
  return [true, false].flatMap((first) => {
    const box = meetBoxes(piece.box, flag(FIRST, first));
    const known = (lane: Lane): Lane => ({ ...lane, flow: { ...lane.flow, first: first ? 'yes' : 'no' } });
    return box === undefined ? [] : [withLanes({ ...piece, box }, [0, 1], known)];
  });
}

// ---- routing

interface Way {
  readonly box: Box;
  readonly lane: Lane;
}

/** Each lane goes its ways; lanes in step go together. */
function routeBoth(pieces: readonly Piece[], ways: (lane: Lane) => readonly Way[]): Piece[] {
  return pieces.flatMap((piece) => {
    const [a, b] = piece.lanes;
    const parts = (lane: Lane): readonly Way[] => (lane.stop === undefined ? ways(lane) : [{ box: new Map(), lane }]);
    const routed = (box: Box | undefined, lanes: Lanes): Piece[] =>
      box === undefined ? [] : [{ ...piece, box, lanes }];
    if (a === b) return parts(a).flatMap(({ box, lane }) => routed(meetBoxes(piece.box, box), [lane, lane]));
    return parts(a).flatMap((one) =>
      parts(b).flatMap((two) => {
        const box = meetBoxes(piece.box, one.box);
        return routed(box && meetBoxes(box, two.box), [one.lane, two.lane]);
      }),
    );
  });
}

const going = (lane: Lane, way: Lane['way'], fields: Readonly<Record<string, Seen>> = {}): Lane => ({
  ...lane,
  way,
  sight: withSeen(lane.sight, fields),
});

const isMoved = ({ sight, redirected }: Lane): boolean => sight.has('daddr') || redirected === true;

function waysOut({ host, family }: Journeys, lane: Lane): readonly Way[] {
  const choose = (dimension: string, oif: Seen): readonly Way[] => [
    { box: flag(dimension, false), lane: going(lane, 'input', { oif: '' }) },
    { box: flag(dimension, true), lane: going(lane, 'forward', { oif }) },
  ];
  if (lane.redirected === true) return [{ box: new Map(), lane: going(lane, 'input', { oif: '' }) }];
  if (!isMoved(lane)) return choose('way', { dimension: 'oif' });
  const to = nameOf(family, seen(lane.sight, 'daddr'));
  const oif = deviceTo(host, family, to) ?? foundOut('oif', `to ${to}`);
  if (host.addresses === undefined || to === '') return choose(`?where ${to || 'the new destination'} is routed`, oif);
  const local = host.addresses.some(({ address }) => address === to);
  return [{ box: new Map(), lane: local ? going(lane, 'input', { oif: '' }) : going(lane, 'forward', { oif }) }];
}

const nameOf = (family: Family, what: Seen): string => (isValue(what) ? addressText(family, what as Value) : '');

function deviceTo({ routes = [] }: HostView, family: Family, to: string): string | undefined {
  const value = addressValue(family, to);
  return value === undefined ? undefined : routes.find(({ cidr }) => cidr.split('/')[0] === to)?.dev;
}

function rerouted({ host, family }: Journeys, lane: Lane): Lane {
  if (!isMoved(lane)) return lane;
  const to = nameOf(family, seen(lane.sight, 'daddr'));
  const local = host.addresses?.some(({ address }) => address === to) === true;
  return going(lane, 'output', { oif: local ? 'lo' : (deviceTo(host, family, to) ?? foundOut('oif', `to ${to}`)) });
}

/** What leaves by `lo` comes in by it. */
function loopBack(lane: Lane): readonly Way[] {
  const oif = seen(lane.sight, 'oif');
  const back = going(lane, 'loop', { iif: 'lo', oif: '' });
  if (isValue(oif)) return [{ box: new Map(), lane: oif === 'lo' ? back : going(lane, 'end') }];
  return [
    { box: new Map([[oif.dimension, ['lo', 'lo\0']]]), lane: back },
    { box: new Map([[oif.dimension, ['', 'lo', 'lo\0', '\uffff']]]), lane: going(lane, 'end') },
  ];
}

export const START: Pick<Lane, 'depth' | 'translated' | 'nat'> = { depth: OUT, translated: [], nat: false };
