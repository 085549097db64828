// One packet, as far as rules can look at it. A field that is undefined is not known: a match on it depends. Pure.

import type { Family } from '../ruleset/types.ts';
import { CT_STATES, hasPorts, ICMP_TYPES, ICMPV6_TYPES, protocolNumber, TCP_FLAGS } from './protocols.ts';
import { addressValue, type Value } from './values.ts';

export type NumberField =
  | 'protocol'
  | 'sport'
  | 'dport'
  | 'icmpType'
  | 'icmpCode'
  | 'tcpFlags'
  | 'ctState'
  | 'ctStatus'
  | 'ctDirection'
  | 'mark'
  | 'ctMark'
  | 'length'
  | 'fragment'
  | 'bridged';
export type AddressField = 'saddr' | 'daddr' | 'origSaddr' | 'origDaddr';
export type PortField = 'origSport' | 'origDport';
export type NameField = 'iif' | 'oif' | 'physIn' | 'physOut';

type Known<F extends string, T> = { readonly [K in F]?: T | undefined };

/** Addresses are values of the packet's family. Interface names: `''` means that there is none (input has no `oif`). */
export interface Packet
  extends Known<NumberField, number>, Known<AddressField, Value>, Known<PortField, number>, Known<NameField, string> {
  readonly family: Family;
  /** The state conntrack gives the packet; `ctState` is what rules see where they stand (invalid before conntrack). */
  readonly flowState?: number | undefined;
  /** What the flow's conntrack entry does to this packet: a later packet of a translated flow passes no nat chain. */
  readonly rewrite?: Rewrite | undefined;
  /** Came from the host by way of `lo`: conntrack and nat have seen it. */
  readonly looped?: true | undefined;
  /** REDIRECT sent it to the host itself. */
  readonly redirected?: true | undefined;
}

export interface Rewrite {
  readonly saddr?: Value | undefined;
  readonly sport?: number | undefined;
  readonly daddr?: Value | undefined;
  readonly dport?: number | undefined;
}

export type CtState = 'new' | 'established' | 'related' | 'invalid' | 'untracked';

/** A packet as a person says it. What is left out is unknown, but for the fields that say otherwise. */
export interface PacketSpec {
  readonly family: Family;
  readonly iif?: string;
  readonly oif?: string;
  /** Ports of a bridge, for packets that cross one. `''`: not from a bridge port. */
  readonly physIn?: string;
  readonly physOut?: string;
  /** True for a frame that only crosses the bridge (physdev's is-bridged). */
  readonly bridged?: boolean;
  readonly src?: string;
  readonly dst?: string;
  /** `tcp`, `udp`, `icmp`, `icmpv6` or a number as text. */
  readonly protocol?: string;
  readonly sport?: number;
  readonly dport?: number;
  /** A name or a number as text. */
  readonly icmpType?: string;
  readonly icmpCode?: number;
  /** `['syn']`; names as in nft. */
  readonly tcpFlags?: readonly string[];
  readonly ctState?: CtState;
  /** 0 when left out: what comes from outside has none. */
  readonly mark?: number;
  readonly ctMark?: number;
  /** In bytes, IP header included. */
  readonly length?: number;
  /** False when left out. */
  readonly fragment?: boolean;
  /** For a packet of a translated flow: the addresses and ports it has after translation, where they change. */
  readonly rewrite?: {
    readonly src?: string;
    readonly sport?: number;
    readonly dst?: string;
    readonly dport?: number;
  };
}

/** Throws RangeError for an address, protocol, ICMP type or flag that is none: that is the caller's mistake. */
export function packetOf(spec: PacketSpec): Packet {
  const { family } = spec;
  const saddr = address(family, spec.src);
  const daddr = address(family, spec.dst);
  const isNew = spec.ctState === 'new';
  const flowState = spec.ctState === undefined ? undefined : CT_STATES[spec.ctState];
  return {
    family,
    iif: spec.iif,
    oif: spec.oif,
    physIn: spec.physIn,
    physOut: spec.physOut,
    bridged: spec.bridged === undefined ? undefined : Number(spec.bridged),
    saddr,
    daddr,
    ...transportOf(spec),
    flowState,
    ctState: flowState,
    ctStatus: isNew ? 0 : undefined,
    ctDirection: isNew ? 0 : undefined,
    ctMark: spec.ctMark ?? (isNew ? 0 : undefined),
    mark: spec.mark ?? 0,
    length: spec.length,
    fragment: Number(spec.fragment ?? false),
    ...(isNew && { origSaddr: saddr, origDaddr: daddr, origSport: spec.sport, origDport: spec.dport }),
    ...(spec.rewrite !== undefined && { rewrite: rewriteOf(family, spec.rewrite) }),
  };
}

function transportOf(spec: PacketSpec): Partial<Packet> {
  const protocol = spec.protocol === undefined ? undefined : known(protocolNumber(spec.protocol), spec.protocol);
  const icmp = icmpOf(spec);
  return {
    protocol,
    ...((protocol === undefined || hasPorts(protocol)) && { sport: spec.sport, dport: spec.dport }),
    icmpType: icmp?.type,
    icmpCode: spec.icmpCode ?? icmp?.code,
    tcpFlags: spec.tcpFlags?.reduce((bits, name) => bits | known(TCP_FLAGS[name], name), 0),
  };
}

function icmpOf({ family, icmpType }: PacketSpec): { type: number; code?: number } | undefined {
  if (icmpType === undefined) return undefined;
  if (/^\d+$/.test(icmpType)) return { type: Number(icmpType) };
  return known((family === 'ip' ? ICMP_TYPES : ICMPV6_TYPES).get(icmpType), icmpType);
}

function rewriteOf(family: Family, spec: NonNullable<PacketSpec['rewrite']>): Rewrite {
  return {
    saddr: address(family, spec.src),
    sport: spec.sport,
    daddr: address(family, spec.dst),
    dport: spec.dport,
  };
}

function address(family: Family, text: string | undefined): Value | undefined {
  return text === undefined ? undefined : known(addressValue(family, text), text);
}

function known<T>(value: T | undefined, text: string): T {
  if (value === undefined) throw new RangeError(`cannot read ${JSON.stringify(text)} in a packet`);
  return value;
}

/** What is known on every one of several ways a packet may have taken; the rest becomes unknown. */
export function commonPacket(a: Packet, b: Packet): Packet {
  if (a === b) return a;
  const left = a as unknown as Record<string, unknown>;
  const right = b as unknown as Record<string, unknown>;
  const common: Record<string, unknown> = {};
  for (const field of Object.keys(left)) common[field] = left[field] === right[field] ? left[field] : undefined;
  return common as unknown as Packet;
}
