// The model of native nftables rulesets. Text is the model: every part holds the exact bytes `nft list ruleset` printed
// (`source`, with its line ends), and the other fields are a view on them. Pure; depends on nothing.

import type { Problem } from '../types.ts';

export const NFT_FAMILIES = ['ip', 'ip6', 'inet', 'arp', 'bridge', 'netdev'] as const;
export type NftFamily = (typeof NFT_FAMILIES)[number];

/** One listing. `parts` joined are the listing; `tables` are those of the parts that are tables, in printed order. */
export interface NftRuleset {
  readonly parts: readonly (NftTable | NftText)[];
  readonly tables: readonly NftTable[];
  readonly problems: readonly Problem[];
}

/** A piece of text that stays as it is: blank lines, comments, and whatever the parser has no name for. */
export interface NftText {
  readonly kind: 'text';
  readonly source: string;
}

/** What opens with a line that ends in `{` and closes with a line that starts with `}`. */
export interface NftBlock {
  /** The opening line. */
  readonly head: string;
  /** The closing line; empty when the text ends before it (a problem says so). */
  readonly tail: string;
  /** Shown by `nft -a` only; never part of an object's identity, the kernel counts them up. */
  readonly handle: number | undefined;
}

export interface NftTable extends NftBlock {
  readonly kind: 'table';
  readonly family: NftFamily;
  readonly name: string;
  /** `dormant`, `owner`, `persist`. */
  readonly flags: readonly string[];
  readonly comment: string | undefined;
  /** The program that holds an owned table: `{ # progname firewalld`. */
  readonly progname: string | undefined;
  readonly parts: readonly (NftObject | NftLine | NftText)[];
  /** Those of the parts that are named objects, in printed order. */
  readonly objects: readonly NftObject[];
}

/** A line of a block that says something of the block itself: `type filter hook ...`, `flags interval`, `elements = { ... }`. */
export interface NftLine {
  readonly kind: 'line';
  readonly source: string;
  /** Without indentation, line end and handle. */
  readonly text: string;
}

/**
 * One rule. Two cases take more than one line: a jump to a chain without a name (`jump {`), and a comment with a line
 * end in it.
 */
export interface NftRule {
  readonly kind: 'rule';
  readonly source: string;
  /** As printed, without indentation, line end and handle: the rule's identity, but for counters (see same.ts). */
  readonly text: string;
  readonly handle: number | undefined;
}

export interface NftChain extends NftBlock {
  readonly kind: 'chain';
  readonly name: string;
  /** Undefined for a regular chain. */
  readonly base: NftBase | undefined;
  readonly comment: string | undefined;
  readonly parts: readonly (NftRule | NftLine | NftText)[];
  readonly rules: readonly NftRule[];
}

/** `type filter hook ingress devices = { eth0, eth1 } priority filter - 5; policy drop; flags offload;` */
export interface NftBase {
  readonly type: string;
  readonly hook: string;
  readonly devices: readonly string[];
  readonly priority: {
    readonly text: string;
    /** Undefined when the text is no number and no name of the family's. */
    readonly number: number | undefined;
  };
  /** `accept` when none is printed, as in the kernel. */
  readonly policy: string;
  readonly flags: readonly string[];
}

export interface NftSet extends NftBlock {
  readonly kind: 'set';
  readonly keyword: 'set' | 'map' | 'meter';
  readonly name: string;
  /** Exactly one is there in a listing: `type ipv4_addr : verdict` or `typeof ip saddr . tcp dport`. */
  readonly type: string | undefined;
  readonly typeOf: string | undefined;
  readonly flags: readonly string[];
  /** As printed: `1h30m`. */
  readonly timeout: string | undefined;
  readonly gcInterval: string | undefined;
  readonly size: number | undefined;
  readonly autoMerge: boolean;
  readonly comment: string | undefined;
  readonly parts: readonly (NftLine | NftText)[];
  /** What stands between the braces of `elements = { ... }`; see elements.ts. Empty without any. */
  readonly elementsText: string;
}

export interface NftFlowtable extends NftBlock {
  readonly kind: 'flowtable';
  readonly name: string;
  readonly hook: string | undefined;
  readonly priority: string | undefined;
  readonly devices: readonly string[];
  readonly flags: readonly string[];
  readonly parts: readonly (NftLine | NftText)[];
}

export const STATEFUL_KEYWORDS = [
  'counter',
  'quota',
  'limit',
  'ct helper',
  'ct timeout',
  'ct expectation',
  'synproxy',
  'secmark',
  'tunnel',
] as const;
export type StatefulKeyword = (typeof STATEFUL_KEYWORDS)[number];

/** A named counter, quota, limit, helper ...: its lines say the rest. */
export interface NftStateful extends NftBlock {
  readonly kind: 'stateful';
  readonly keyword: StatefulKeyword;
  readonly name: string;
  readonly comment: string | undefined;
  readonly parts: readonly (NftLine | NftText)[];
}

/** A block the parser has no name for. It must be taken as able to do anything. */
export interface NftOpaque extends NftBlock {
  readonly kind: 'opaque';
  readonly parts: readonly NftText[];
}

export type NftObject = NftChain | NftSet | NftFlowtable | NftStateful | NftOpaque;

/** `inet firewalld`: how nft names a table. */
export const tableKey = ({ family, name }: { readonly family: NftFamily; readonly name: string }): string =>
  `${family} ${name}`;

export const chainsOf = (table: NftTable): NftChain[] => table.objects.filter((object) => object.kind === 'chain');
export const setsOf = (table: NftTable): NftSet[] => table.objects.filter((object) => object.kind === 'set');
