// What a change of one rule does to packets, and what becomes of one packet, by the size of the ruleset: parsing apart.

import { compileIptables } from '../../src/explain/iptables-rule.ts';
import { explain } from '../../src/explain/path.ts';
import { effect } from '../../src/explain/symbolic/effect.ts';
import { parseRuleset } from '../../src/ruleset/iptables/parse.ts';
import type { Reporter } from './report.ts';
import { rulesetOf } from './rules.ts';
import { median } from './stats.ts';

type Edit = (lines: readonly string[], first: number) => string[];

const EDITS: Readonly<Record<string, Edit>> = {
  'a narrow rule taken out of the middle': (lines, first) => lines.toSpliced(first + ((lines.length - first) >> 1), 1),
  'a rule moved to the top': (lines, first) => {
    const at = first + ((lines.length - first) >> 1);
    return lines.toSpliced(at, 1).toSpliced(first, 0, lines[at] ?? '');
  },
  'a broad rule put on top': (lines, first) => lines.toSpliced(first, 0, '-A FORWARD -i eth3 -j ACCEPT'),
  'a policy turned': (lines) => lines.map((line) => (line.startsWith(':INPUT') ? ':INPUT DROP [0:0]' : line)),
};

/** Aim of the issue: 10,000 rules in under a second. */
const AIM_MS = 1000;

/** Aim of the issue for one packet, besides reading and starting. */
const AIM_OF_PACKET_MS = 50;

export function measureEffect(report: Reporter, counts: readonly number[], times: number): void {
  for (const count of counts) measurePacket(report, count, times);
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

/** A packet that most rules pass by, of a ruleset nobody has asked before. */
function measurePacket(report: Reporter, count: number, times: number): void {
  const packet = { family: 'ip', protocol: 'tcp', src: '203.0.113.5', dst: '198.51.100.1', dport: 22 } as const;
  const timeOfOne = (): number => {
    const ruleset = parseRuleset(rulesetOf(count), 'ip');
    const start = performance.now();
    explain(compileIptables(ruleset), { packet: { ...packet, iif: 'wan0', oif: 'lan0' }, journey: 'forward' });
    return performance.now() - start;
  };
  report.add({
    what: `explain, ${count} rules: one packet`,
    unit: 'ms',
    measured: median(Array.from({ length: times }, timeOfOne)),
    floor: undefined,
    aim: count === 10_000 ? { of: 'measured', most: AIM_OF_PACKET_MS } : undefined,
    samples: times,
  });
}

function timeOf(before: string, after: string): number {
  const [a, b] = [parseRuleset(before, 'ip'), parseRuleset(after, 'ip')];
  const start = performance.now();
  const { complete } = effect(compileIptables(a), compileIptables(b), ['ip']);
  if (!complete) throw new Error('the effect is not complete');
  return performance.now() - start;
}
