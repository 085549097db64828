// Rule files to the user's rules: read, rendered, merged in the order of their names, and judged by iptables and nft
// themselves in a throw-away network namespace.
// Guarantees: touches no live rule. With a problem `rules` is what is left without the lines that are wrong; whoever writes
// rules must refuse then.

import type { Config } from '../config.ts';
import type { Host } from '../host/host.ts';
import type { UserRules } from '../record/memory.ts';
import type { Finding, LeftOutRule, PlacedRule, RuleSource } from '../rules/types.ts';

export interface LoadedRules {
  readonly kind: 'loaded';
  /** As a snapshot holds them: each rule as iptables prints it, slots where a neighbour's rules or a slot line stood. */
  readonly rules: UserRules;
  /** Any: the rules must not be put in place. */
  readonly problems: readonly Finding[];
  readonly warnings: readonly Finding[];
  /** In the order in which they were merged. */
  readonly sources: readonly RuleSource[];
  /** Where each rule of `rules` is written. */
  readonly placed: readonly PlacedRule[];
  readonly leftOut: readonly LeftOutRule[];
  /** False: no namespace could be made (no root), so only the form of the text was looked at. */
  readonly judged: boolean;
}

export interface LoadOptions {
  /** These files, in this order, instead of the folder `config.rulesDir`. */
  readonly files?: readonly string[];
  /** Whose files are trusted besides root's: who runs this. Default 0. */
  readonly uid?: number;
}

/** Never rejects for what stands in a file; HostError when the machine cannot be read. */
export function loadRuleFiles(_host: Host, _config: Config, _options: LoadOptions = {}): Promise<LoadedRules> {
  return Promise.reject(new Error('not there yet'));
}
