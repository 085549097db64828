// What one match says of a packet, as data: the iptables and the nft front both compile to it, walk.ts evaluates it for
// one packet, and it is plain enough to be solved for sets of packets. Three answers: yes, no, and "depends".
//
// Guarantee: "yes" and "no" are given only when they hold whatever the unknown fields are (Kleene's three-valued logic).
// Does not: see that two matches depend on the same unknown; `A or not A` of an unknown A depends. Pure.

import type { AddressField, NameField, NumberField, Packet, PortField } from './packet.ts';
import { CT_STATES } from './protocols.ts';
import { inRanges, maskValue, sortRanges, type Range, type Value } from './values.ts';

export type ValueField = NumberField | AddressField | PortField;

export type Predicate =
  | { readonly kind: 'always' }
  | { readonly kind: 'never' }
  /** Cannot be known from rules and packet: a rate, a time, a set that was not given. */
  | { readonly kind: 'unknown'; readonly why: string }
  | { readonly kind: 'family'; readonly family: Packet['family'] }
  /** The field's value, after the mask, lies in one of the ranges (sorted). */
  | { readonly kind: 'value'; readonly field: ValueField; readonly mask?: Value; readonly ranges: readonly Range[] }
  | { readonly kind: 'name'; readonly field: NameField; readonly name: string; readonly prefix: boolean }
  | { readonly kind: 'not'; readonly of: Predicate }
  | { readonly kind: 'all'; readonly of: readonly Predicate[] }
  | { readonly kind: 'any'; readonly of: readonly Predicate[] };

/** A list is the "depends": why, each reason once. */
export type Truth = boolean | readonly string[];

export const ALWAYS: Predicate = { kind: 'always' };
export const NEVER: Predicate = { kind: 'never' };

export const unknown = (why: string): Predicate => ({ kind: 'unknown', why });

export function inField(field: ValueField, ranges: readonly Range[], mask?: Value): Predicate {
  const sorted = sortRanges(ranges);
  return mask === undefined ? { kind: 'value', field, ranges: sorted } : { kind: 'value', field, ranges: sorted, mask };
}

export function equals(field: ValueField, value: Value, mask?: Value): Predicate {
  return inField(field, [{ first: value, last: value }], mask);
}

/** At least one of the bits is set. */
export function anyBit(field: ValueField, bits: number): Predicate {
  return not(equals(field, 0, bits));
}

/** `eth0`, or with `suffix` as the last character every name that starts so (iptables `+`, nft `*`). */
export function nameIs(field: NameField, text: string, suffix: '+' | '*'): Predicate {
  const prefix = text.endsWith(suffix);
  const name = prefix ? text.slice(0, -1) : text;
  return prefix && name === '' ? ALWAYS : { kind: 'name', field, name, prefix };
}

export function not(of: Predicate): Predicate {
  switch (of.kind) {
    case 'always':
      return NEVER;
    case 'never':
      return ALWAYS;
    case 'not':
      return of.of;
    case 'unknown':
      return of;
    default:
      return { kind: 'not', of };
  }
}

export function all(of: readonly Predicate[]): Predicate {
  if (of.length === 1) return of[0] as Predicate;
  const rest = of.filter((each) => each.kind !== 'always');
  if (rest.some((each) => each.kind === 'never')) return NEVER;
  return rest.length === 0 ? ALWAYS : rest.length === 1 ? (rest[0] as Predicate) : { kind: 'all', of: rest };
}

export function any(of: readonly Predicate[]): Predicate {
  const rest = of.filter((each) => each.kind !== 'never');
  if (rest.some((each) => each.kind === 'always')) return ALWAYS;
  return rest.length === 0 ? NEVER : rest.length === 1 ? (rest[0] as Predicate) : { kind: 'any', of: rest };
}

/**
 * The packet has a conntrack entry. Matches on the entry (its mark, status, addresses) fail without one, negated or not:
 * xt_conntrack.c, xt_connmark.c and nft_ct.c look for the entry first.
 */
export const TRACKED: Predicate = inField(
  'ctState',
  ['new', 'established', 'related'].map((name) => ({
    first: CT_STATES[name] as number,
    last: CT_STATES[name] as number,
  })),
);

const LABELS: Readonly<Partial<Record<ValueField | NameField, string>>> = {
  iif: 'the incoming interface',
  oif: 'the outgoing interface',
  physIn: 'the incoming bridge port',
  physOut: 'the outgoing bridge port',
  saddr: 'the source address',
  daddr: 'the destination address',
  origSaddr: "the flow's first source address",
  origDaddr: "the flow's first destination address",
  origSport: "the flow's first source port",
  origDport: "the flow's first destination port",
  sport: 'the source port',
  dport: 'the destination port',
  protocol: 'the protocol',
  icmpType: 'the ICMP type',
  icmpCode: 'the ICMP code',
  tcpFlags: 'the TCP flags',
  ctState: 'the conntrack state',
  ctStatus: 'the conntrack status',
  ctDirection: "the packet's direction in its flow",
  mark: 'the mark',
  ctMark: 'the conntrack mark',
  length: "the packet's length",
  fragment: 'whether it is a fragment',
  bridged: 'whether the frame only crosses a bridge',
};

/** What a predicate says of the packet. */
export function holds(predicate: Predicate, packet: Packet): Truth {
  switch (predicate.kind) {
    case 'always':
      return true;
    case 'never':
      return false;
    case 'unknown':
      return [predicate.why];
    case 'family':
      return predicate.family === packet.family;
    case 'value': {
      const value = packet[predicate.field];
      if (value === undefined) return unknownField(predicate.field);
      const masked = predicate.mask === undefined ? value : maskValue(value, predicate.mask);
      return inRanges(predicate.ranges, masked);
    }
    case 'name': {
      const name = packet[predicate.field];
      if (name === undefined) return unknownField(predicate.field);
      return predicate.prefix ? name.startsWith(predicate.name) : name === predicate.name;
    }
    case 'not': {
      const truth = holds(predicate.of, packet);
      return typeof truth === 'boolean' ? !truth : truth;
    }
    case 'all':
      return fold(predicate.of, packet, false);
    case 'any':
      return fold(predicate.of, packet, true);
  }
}

const unknownField = (field: ValueField | NameField): readonly string[] => [`${LABELS[field] ?? field} is not known`];

/** `decisive` alone decides: false for "all", true for "any". */
function fold(parts: readonly Predicate[], packet: Packet, decisive: boolean): Truth {
  let why: readonly string[] | undefined;
  for (const part of parts) {
    const truth = holds(part, packet);
    if (truth === decisive) return decisive;
    if (typeof truth !== 'boolean') why = why === undefined ? truth : [...new Set([...why, ...truth])];
  }
  return why ?? !decisive;
}
