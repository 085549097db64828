// Sets of packets in words: `tcp 22 to 192.168.122.10 in eth0 state new`. Packets that differ in one thing only are said
// together. Pure.

import type { Family } from '../../ruleset/types.ts';
import { CT_STATES, protocolName } from '../protocols.ts';
import { addressText, prefixRange, type Value } from '../values.ts';
import { type Box, domainOf, isUnknown, joinBoxes } from './box.ts';
import type { Cut, RangeSet } from './range-set.ts';
import { withoutSet } from './range-set.ts';

/** As few boxes as joining pairs gives. */
export function joinAll(boxes: readonly Box[], family: Family): Box[] {
  const joined: Box[] = [];
  for (const box of boxes) {
    let next = box;
    for (let at = 0; at < joined.length; at++) {
      const both = joinBoxes(joined[at] as Box, next, family);
      if (both === undefined) continue;
      joined.splice(at, 1);
      next = both;
      at = -1;
    }
    joined.push(next);
  }
  return joined;
}

/** What of a box a person reads first. Unknowns are told apart (`dependsOn`). */
export function boxText(box: Box, family: Family, fromHost: boolean): string {
  const said = (dimension: string, text: (value: Cut) => string): string | undefined => {
    const set = box.get(dimension);
    return set === undefined ? undefined : setText(set, domainOf(dimension, family), text);
  };
  const address = (value: Cut): string => addressText(family, value as Value);
  const parts: readonly (readonly [string, string | undefined])[] = [
    ['', said('protocol', (value) => protocolName(value as number)) ?? 'any protocol'],
    ['', said('dport', String)],
    ['from', addressesText(box.get('saddr'), family, address)],
    ['from port', said('sport', String)],
    ['to', addressesText(box.get('daddr'), family, address) ?? 'anywhere'],
    ['type', said('icmpType', String)],
    ['in', fromHost ? 'the host' : said('iif', String)],
    ['out', said('oif', String)],
    ['state', said('ctState', stateName)],
    ...OTHERS.map((dimension) => [dimension, said(dimension, String)] as const),
  ];
  const way = box.get('way')?.[0];
  const words = parts.flatMap(([word, text]) => (text === undefined ? [] : [word === '' ? text : `${word} ${text}`]));
  return [...words, ...(fromHost || way === undefined ? [] : [way === 0 ? '(to the host)' : '(through the host)'])]
    .join(' ')
    .replace('in the host', '(from the host)');
}

const OTHERS = ['icmpCode', 'tcpFlags', 'ctStatus', 'ctMark', 'length', 'physIn', 'physOut', 'bridged'];

const stateName = (value: Cut): string => Object.entries(CT_STATES).find(([, state]) => state === value)?.[0] ?? '?';

/** `22`, `1024-65535`, `22,80`, `not 22`; undefined where all but nothing is allowed. */
function setText(set: RangeSet, domain: RangeSet, text: (value: Cut) => string): string | undefined {
  const outside = withoutSet(domain, set);
  const named = domain[0] === '';
  if (outside.length === 0 || (named && outside.length === 2 && outside[0] === '' && outside[1] === '\0'))
    return undefined;
  const rangesOf = (list: RangeSet): string =>
    pairs(list)
      .map(([first, end]) => rangeText(first, end, text))
      .join(',');
  const short = outside.length < set.length || (named && set.at(-1) === '\uffff');
  const inverse = withoutName(outside);
  return short && inverse.length > 0 ? `not ${rangesOf(inverse)}` : rangesOf(set);
}

/** That there is no interface at all is nothing to say. */
const withoutName = (set: RangeSet): RangeSet => (set[0] === '' && set[1] === '\0' ? set.slice(2) : set);

function pairs(set: RangeSet): [Cut, Cut][] {
  return Array.from({ length: set.length / 2 }, (_, at) => [set[2 * at] as Cut, set[2 * at + 1] as Cut]);
}

function rangeText(first: Cut, end: Cut, text: (value: Cut) => string): string {
  if (typeof first === 'string') return end === `${first}\0` ? text(first) : `${first.replaceAll('\0', '')}*`;
  const last = typeof first === 'bigint' ? (end as bigint) - 1n : (end as number) - 1;
  // States and protocols are names: each is said.
  if (Number(last) - Number(first) < 3 && !/^\d|:/.test(text(first)))
    return Array.from({ length: Number(last) - Number(first) + 1 }, (_, at) => text((first as number) + at))
      .filter((name) => name !== '?')
      .join(',');
  return last === first ? text(first) : `${text(first)}-${text(last)}`;
}

/** Prefixes where a range is one. */
function addressesText(set: RangeSet | undefined, family: Family, address: (value: Cut) => string): string | undefined {
  if (set === undefined) return undefined;
  const domain = domainOf('saddr', family);
  const outside = withoutSet(domain, set);
  const list = (of: RangeSet): string =>
    pairs(of)
      .map(([first, end]) => prefixText(first, end, family, address))
      .join(',');
  return outside.length < set.length ? `not ${list(outside)}` : list(set);
}

function prefixText(first: Cut, end: Cut, family: Family, address: (value: Cut) => string): string {
  const bits = family === 'ip' ? 32 : 128;
  const last = typeof first === 'bigint' ? (end as bigint) - 1n : (end as number) - 1;
  if (last === first) return address(first);
  for (let prefix = 0; prefix < bits; prefix++) {
    const range = prefixRange(family, first as Value, prefix);
    if (range.first === first && range.last === last) return `${address(first)}/${prefix}`;
  }
  return `${address(first)}-${address(last)}`;
}

/** What nobody knows and the set hangs on: `limit rate 1/second`, `the source address after masquerade`. */
export function dependsOn(box: Box): string[] {
  const whys = [...box.keys()].filter(isUnknown).map((dimension) => {
    const said = dimension.split('\n')[0] as string;
    return said.startsWith('?') ? said.slice(1) : said.replace('~', ' after ');
  });
  return [...new Set(whys)];
}
