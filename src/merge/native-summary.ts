// What the events of a burst say about one native table, for the decision whose voice a difference is. Pure, a shape only.

import { type ChangeSummary, NO_CHANGE } from './decide.ts';

/**
 * As for a table of iptables', with what only native tables know: they are deleted and made anew as a whole. `replaced`: one
 * commit deleted and made it, or took its rules out and put rules in (`flush table x` and rules in one `nft -f`).
 */
export interface NativeSummary extends ChangeSummary {
  /** It was deleted by a command line that names it: `nft delete table inet filter`. False when that could not be read. */
  readonly named: boolean;
  /** What deleted it (one commit, or the burst of a script) made other native tables and not this one: a load without it. */
  readonly leftOut: boolean;
  /** The commit that made it deleted other native tables: `nft -f` of a file that begins with `flush ruleset`. */
  readonly madeByLoad: boolean;
  /** Chains that a flush emptied, one that left the table: rules added to others of its chains are no load after it. */
  readonly emptied: readonly string[];
}

/** Events were heard, and none of them touched the table. */
export const NO_NATIVE_CHANGE: NativeSummary = {
  ...NO_CHANGE,
  named: false,
  leftOut: false,
  madeByLoad: false,
  emptied: [],
};
