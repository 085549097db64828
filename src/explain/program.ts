// A ruleset as walk.ts runs it: base chains at their hooks, rules as steps. Both fronts compile to this. Plain data.

import type { Family } from '../ruleset/types.ts';
import type { Predicate } from './expression.ts';
import type { Value } from './values.ts';

export type Hook = 'ingress' | 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting';
export type Engine = 'iptables' | 'nft';
/** `inet` chains see both families, `netdev` chains what enters their devices. */
export type ChainFamily = Family | 'inet' | 'netdev';

export interface Program {
  readonly baseChains: readonly BaseChain[];
  /** What may stop packets and is not evaluated: bridge tables, arp tables. */
  readonly unseen: readonly string[];
}

export interface TableName {
  readonly engine: Engine;
  readonly family: ChainFamily;
  readonly table: string;
}

export interface BaseChain extends TableName {
  readonly type: 'filter' | 'nat' | 'route';
  readonly hook: Hook;
  readonly priority: number;
  readonly policy: 'accept' | 'drop';
  readonly chain: CompiledChain;
  /** All chains of the table, for jumps. */
  readonly chains: ReadonlyMap<string, CompiledChain>;
  /** For `ingress`. */
  readonly devices?: readonly string[];
}

export interface CompiledChain {
  readonly name: string;
  readonly rules: readonly CompiledRule[];
}

export interface CompiledRule {
  /** As printed, without counters and handle. */
  readonly text: string;
  /**
   * Asks of the rule's guards until one is so. Each guard must hold for the rule to match, and is part of the steps, too:
   * where one fails, the steps need not be compiled.
   */
  readonly someGuard?: (test: (guard: Predicate) => boolean) => boolean;
  /** From left to right. A rule without a verdict at its end goes on with the next rule. */
  readonly steps: readonly Step[];
}

export type Step =
  | { readonly kind: 'match'; readonly test: Predicate }
  /** nft's vmap: the first case that holds acts; when none holds, the rule ends as if a match had failed. */
  | { readonly kind: 'choose'; readonly cases: readonly Case[] }
  | Action;

export interface Case {
  readonly test: Predicate;
  readonly action: Action;
}

export type Action =
  | { readonly kind: 'accept' | 'drop' }
  | { readonly kind: 'return' | 'continue' }
  | { readonly kind: 'reject'; readonly how: string }
  | { readonly kind: 'jump' | 'goto'; readonly chain: string }
  | Translate
  | SetField
  | { readonly kind: 'notrack' }
  /** Counts, logs, or changes what no match looks at. */
  | { readonly kind: 'note'; readonly what: string }
  /** May do anything: accept, drop, go on. */
  | { readonly kind: 'unknown'; readonly why: string };

/** `kept` leaves the address or the port as it is; undefined: one out of several, or one that is found out then. */
export interface Translate {
  readonly kind: 'translate';
  readonly how: 'dnat' | 'snat' | 'masquerade' | 'redirect';
  /** Of dnat and snat. */
  readonly address?: Value | 'kept' | undefined;
  readonly port: number | 'kept' | undefined;
}

/** field = (field & ~clear) ^ (source & sourceMask), as MARK and CONNMARK compute it; unknown without a source. */
export interface SetField {
  readonly kind: 'set';
  readonly field: 'mark' | 'ctMark';
  readonly clear: number;
  readonly source: number | 'mark' | 'ctMark' | undefined;
  readonly sourceMask: number;
}

/** Where a rule stands; `index` counts from 0. A policy has no index and no text. */
export interface Place extends TableName {
  readonly chain: string;
  /** The base chain the packet came by. */
  readonly base: string;
  readonly index?: number;
  readonly text?: string;
}

/** Both programs on one host. */
export function joinPrograms(programs: readonly Program[]): Program {
  return {
    baseChains: programs.flatMap(({ baseChains }) => baseChains),
    unseen: programs.flatMap(({ unseen }) => unseen),
  };
}
