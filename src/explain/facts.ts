// What the rules refer to and packets do not carry: given, or unknown.

import type { Family } from '../ruleset/types.ts';
import type { Predicate } from './expression.ts';

export interface Facts {
  /** Contents of ipsets by name, one text an element: `10.0.0.1`, `10.0.0.0/8`, `10.0.0.1,tcp:22`. Only address sets are read. */
  readonly ipsets?: ReadonlyMap<string, readonly string[]>;
  /** The host's own addresses, for `addrtype` and `fib`. */
  readonly localAddresses?: readonly string[];
}

/** What a rule is compiled for. */
export interface CompileContext {
  readonly family: Family;
  readonly facts: Facts;
  /** Meanings of options compiled before: by match, option and argument. */
  readonly kept: Map<object, Map<string, Map<string, Predicate>>>;
}

export function compileContext(family: Family, facts: Facts = {}): CompileContext {
  return { family, facts, kept: new Map() };
}
