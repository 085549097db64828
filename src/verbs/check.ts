// `check`: are the rule files right? Reads files, judges them in a throw-away namespace, touches no live rule.

import { countNativeRules } from '../ruleset/nft/native-part.ts';
import { countRules } from '../ruleset/user-part.ts';
import type { Finding, RuleKind } from '../rules/types.ts';
import type { LoadedRules } from './load-rules.ts';

export interface CheckResult {
  readonly kind: 'check';
  readonly files: readonly {
    readonly file: string;
    readonly family: RuleKind;
    readonly template: boolean;
    readonly lines: number;
  }[];
  readonly problems: readonly Finding[];
  readonly warnings: readonly Finding[];
  /** Rules of yours, without those left out. */
  readonly rules: Readonly<Record<RuleKind, number>>;
  /** False: iptables and nft themselves were not asked. */
  readonly judged: boolean;
}

export function checkResult({ sources, problems, warnings, rules, judged }: LoadedRules): CheckResult {
  const files = sources.map(({ file, kind, template, lines }) => ({
    file,
    family: kind,
    template,
    lines: lines.length,
  }));
  const counts = { ip: countRules(rules.ip), ip6: countRules(rules.ip6), native: countNativeRules(rules.native) };
  return { kind: 'check', files, problems, warnings, rules: counts, judged };
}
