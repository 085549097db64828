// What a change of one rule does to packets, by the size of the ruleset: parsing apart.

import { compileIptables } from '../../src/explain/iptables-rule.ts';
import { effect } from '../../src/explain/symbolic/effect.ts';
import { parseRuleset } from '../../src/ruleset/iptables/parse.ts';
import type { Reporter } from './report.ts';
import { rulesetOf } from './rules.ts';
import { median } from './stats.ts';

type Edit = (lines: readonly string[], first: number) => string[];

const EDITS: Readonly<Record<string, Edit>> = {
  'a narrow rule taken out of the middle': (lines, first) => lines.toSpliced(first + ((lines.length - first) >> 1), 1),
  'a broad rule put on top': (lines, first) => lines.toSpliced(first, 0, '-A FORWARD -i eth3 -j ACCEPT'),
  'a policy turned': (lines) => lines.map((line) => (line.startsWith(':INPUT') ? ':INPUT DROP [0:0]' : line)),
};

/** Aim of the issue: 10,000 rules in under a second. */
const AIM_MS = 1000;

export function measureEffect(report: Reporter, counts: readonly number[], times: number): void {
  for (const count of counts)
    for (const [what, edit] of Object.entries(EDITS)) {
      const text = rulesetOf(count);
      const lines = text.split('\n');
      const after = edit(
        lines,
        lines.findIndex((line) => line.startsWith('-A FORWARD')),
      ).join('\n');
      report.add({
        what: `effect, ${count} rules: ${what}`,
        unit: 'ms',
        measured: median(Array.from({ length: times }, () => timeOf(text, after))),
        floor: undefined,
        aim: count === 10_000 ? { of: 'measured', most: AIM_MS } : undefined,
        samples: times,
      });
    }
}

function timeOf(before: string, after: string): number {
  const [a, b] = [parseRuleset(before, 'ip'), parseRuleset(after, 'ip')];
  const start = performance.now();
  const { complete } = effect(compileIptables(a), compileIptables(b), ['ip']);
  if (!complete) throw new Error('the effect is not complete');
  return performance.now() - start;
}
