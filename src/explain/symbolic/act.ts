// What a rule's action makes of the packets that match it, in one lane. Pure. The symbolic twin of translate.ts.

import { type Predicate, TRACKED, all, equals } from '../expression.ts';
import type { Action, Hook, Place, SetField, Translate } from '../program.ts';
import { CT_STATES, CT_STATUS } from '../protocols.ts';
import { addressText, maskValue, type Value } from '../values.ts';
import { boxCovers, boxesMeet, meetBoxes } from './box.ts';
import { type Lane, OUT } from './lane.ts';
import { takeOutBox, type Region } from './piece.ts';
import { boxesOf, flag } from './predicate-boxes.ts';
import { foundOut, isValue, type Reading, seen, type Seen, withSeen } from './sight.ts';

/** Packets that match so far, and their lane. */
export interface Hit extends Region {
  readonly lane: Lane;
}

export interface Acting {
  readonly hook: Hook;
  readonly nat: boolean;
  readonly place: () => Place;
  readonly reading: Reading;
}

/** The part of the region in the boxes, without overlap, and what is left. */
export function split<R extends Region>(
  region: R,
  test: Predicate,
  reading: Reading,
): { hits: R[]; rest: R | undefined } {
  const hits: R[] = [];
  let rest: R = region;
  for (const box of boxesOf(test, reading)) {
    const part = boxesMeet(region.box, box) ? meetBoxes(region.box, box) : undefined;
    if (part === undefined) continue;
    hits.push({ ...rest, box: part, but: hits.some((hit) => boxesMeet(hit.box, part)) ? rest.but : region.but });
    if (boxCovers(box, region.box)) return { hits: hits.length === 1 ? [region] : hits, rest: undefined };
    rest = { ...rest, ...takeOutBox(rest, part) };
  }
  return { hits, rest };
}

/** A set action, a notrack or a verdict that is no jump; each result is a hit with its new lane. */
export function act(hit: Hit, action: Action, acting: Acting): Hit[] {
  switch (action.kind) {
    case 'set':
      return setMark(hit, action, acting);
    case 'notrack':
      return untrack(hit, acting);
    case 'accept':
      return [{ ...hit, lane: { ...hit.lane, depth: OUT, by: acting.place() } }];
    case 'drop':
    case 'reject':
      return [stopped(hit, action.kind, acting)];
    case 'translate':
      return translated(hit, action, acting);
    case 'unknown':
      return anyhow(hit, action.why, acting);
    case 'return':
      return [{ ...hit, lane: { ...hit.lane, depth: hit.lane.depth - 1 } }];
    default:
      return [hit];
  }
}

const stopped = (hit: Hit, kind: 'drop' | 'reject', { place }: Acting): Hit => ({
  ...hit,
  lane: { ...hit.lane, depth: OUT, stop: { kind, place: place() } },
});

/** It may accept, drop or go on: two unknowns say which. */
export function anyhow(hit: Hit, why: string, acting: Acting): Hit[] {
  const [ends, drops] = [`?${why}`, `?whether it is dropped: ${why}`].map(
    (said) => `${said}\n${acting.reading.rule()}`,
  );
  const part = (wantEnd: boolean, wantDrop?: boolean): Hit | undefined => {
    const ended = meetBoxes(hit.box, flag(ends as string, wantEnd));
    const box = wantDrop === undefined || !ended ? ended : meetBoxes(ended, flag(drops as string, wantDrop));
    return box && { ...hit, box };
  };
  const [accepts, dropped, goesOn] = [part(true, false), part(true, true), part(false)];
  return [
    ...(accepts === undefined ? [] : act(accepts, { kind: 'accept' }, acting)),
    ...(dropped === undefined ? [] : act(dropped, { kind: 'drop' }, acting)),
    ...(goesOn === undefined ? [] : [goesOn]),
  ];
}

const resight = (hit: Hit, fields: Readonly<Record<string, Seen>>): Hit => ({
  ...hit,
  lane: { ...hit.lane, sight: withSeen(hit.lane.sight, fields) },
});

function untrack(hit: Hit, { reading }: Acting): Hit[] {
  const { hits: tracked, rest } = split(hit, TRACKED, reading);
  if (rest === undefined) return tracked;
  const state = CT_STATES['untracked'] as number;
  const fields = { ctState: state, ctStatus: 0, ctMark: 0 };
  const lane: Lane = { ...hit.lane, flow: { ...fields, first: 'no' } };
  return [...tracked, resight({ ...rest, lane }, fields)];
}

function setMark(hit: Hit, action: SetField, acting: Acting): Hit[] {
  const ofFlow = action.field === 'ctMark' || action.source === 'ctMark';
  const { hits, rest } = ofFlow ? split(hit, TRACKED, acting.reading) : { hits: [hit], rest: undefined };
  const mark = newMark(hit.lane, action, acting);
  const done = hits.map((each) => resight(each, { [action.field]: mark }));
  return rest === undefined ? done : [...done, rest];
}

function newMark({ sight }: Lane, { field, clear, source, sourceMask }: SetField, { reading }: Acting): Seen {
  const from: Seen | undefined = typeof source === 'string' ? seen(sight, source) : source;
  const before: Seen = clear === 0xffffffff ? 0 : seen(sight, field);
  const whole = clear === 0xffffffff && sourceMask === 0xffffffff;
  if (whole && from !== undefined && !isValue(from)) return from;
  if (from === undefined || !isValue(from) || !isValue(before)) return foundOut(field, reading.rule());
  return (Number(maskValue(before as Value, ~clear >>> 0)) ^ Number(maskValue(from as Value, sourceMask))) >>> 0;
}

// ---- nat

function translated(hit: Hit, action: Translate, acting: Acting): Hit[] {
  const ofDestination = action.how === 'dnat' || action.how === 'redirect';
  const [address, port] = ofDestination ? ['daddr', 'dport'] : ['saddr', 'sport'];
  const to = newAddress(hit, action, acting, address as 'daddr' | 'saddr');
  const toPort = newPort(hit, action, acting, port as 'dport' | 'sport');
  const lane: Lane = {
    ...hit.lane,
    depth: OUT,
    nat: true,
    translated: [...hit.lane.translated, said(action, acting)],
    ...(action.how === 'redirect' && { redirected: true as const }),
  };
  const moved = (part: Hit, ctStatus: Seen): Hit => ({
    ...resight(part, { [address as string]: to, [port as string]: toPort, ctStatus }),
    lane: {
      ...lane,
      sight: withSeen(part.lane.sight, { [address as string]: to, [port as string]: toPort, ctStatus }),
    },
  });
  const status = seen(hit.lane.sight, 'ctStatus');
  const bit = CT_STATUS[ofDestination ? 'dnat' : 'snat'] as number;
  if (!isValue(status)) return [moved(hit, status)];
  if (!isValue(to) && to !== seen(hit.lane.sight, address as string))
    return [moved(hit, foundOut('ctStatus', acting.reading.rule()))];
  // The status says so only where something changes.
  const kept = all([
    ...(isValue(to) ? [equals(address as 'daddr', to as Value)] : []),
    ...(ofDestination && isValue(toPort) ? [equals('dport', toPort as Value)] : []),
  ]);
  const { hits, rest } = split(hit, kept, acting.reading);
  const same = hits.map((part) => moved(part, status));
  return rest === undefined ? same : [...same, moved(rest, (status as number) | bit)];
}

function newAddress({ lane }: Hit, action: Translate, { hook, reading }: Acting, field: 'daddr' | 'saddr'): Seen {
  if (action.how === 'redirect' && hook === 'output') return reading.family === 'ip' ? 0x7f000001 : 1n;
  if (action.how === 'redirect' || action.how === 'masquerade') return foundOut(field, action.how);
  if (action.address === 'kept') return seen(lane.sight, field);
  return action.address ?? foundOut(field, reading.rule());
}

/** A source's port may become another one where the old one is in use. */
function newPort({ lane }: Hit, { port }: Translate, { reading }: Acting, field: 'dport' | 'sport'): Seen {
  if (port !== 'kept') return port ?? foundOut(field, reading.rule());
  return field === 'dport' ? seen(lane.sight, field) : foundOut(field, 'snat');
}

function said({ how, address, port }: Translate, { reading }: Acting): string {
  if (how === 'masquerade') return how;
  const shown = address === 'kept' || address === undefined ? '' : addressText(reading.family, address);
  const shownPort = typeof port === 'number' ? `:${port}` : '';
  return how === 'redirect'
    ? `redirect${shownPort === '' ? '' : ` to ${shownPort}`}`
    : `${how} to ${shown}${shownPort}`;
}
