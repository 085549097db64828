// The pure stages by themselves: parse, classify, merge and plan of one displaced and damaged ruleset, by size.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import type { Reporter } from './report.ts';
import { median } from './stats.ts';
import type { StageTimes } from './throughput-run.mts';

const RUN = fileURLToPath(new URL('./throughput-run.mts', import.meta.url));
/** Aims of the issue: 100,000 rules in under a second; time and memory linear in the rules. */
const WHOLE_MS = 1000;
const LINEAR = 1.5;

export function measureThroughput(report: Reporter, counts: readonly number[], times: number): void {
  const wholes = counts.map((count) => addSize(report, count, times));
  for (let at = 1; at < wholes.length; at++) {
    const [small, big] = [wholes[at - 1], wholes[at]];
    if (small === undefined || big === undefined) continue;
    const what = `from ${small.count} to ${big.count} rules`;
    const aim = { of: 'ratio', most: LINEAR } as const;
    report.add({
      what: `time a rule, ${what}`,
      unit: 'us',
      measured: (big.ms / big.count) * 1000,
      floor: (small.ms / small.count) * 1000,
      aim,
      samples: times,
      note: 'linear: about 1x',
    });
    report.add({
      what: `memory a rule, ${what}`,
      unit: 'bytes',
      measured: big.bytes / big.count,
      floor: small.bytes / small.count,
      aim,
      samples: times,
    });
  }
}

function addSize(report: Reporter, count: number, times: number): { count: number; ms: number; bytes: number } {
  const args = ['--expose-gc', '--import', import.meta.resolve('tsx'), RUN, String(count), String(times)];
  const result = spawnSync(process.execPath, args, { encoding: 'utf8', maxBuffer: 1 << 26 });
  if (result.status !== 0) throw new Error(`throughput of ${count} rules: exit ${result.status}\n${result.stderr}`);
  const runs = JSON.parse(result.stdout) as StageTimes[];
  const of = (key: keyof StageTimes): number => median(runs.map((run) => run[key]));
  const whole = ({ parse, classify, plan }: StageTimes): number => parse + classify + plan;
  const ms = median(runs.map(whole));
  const [first] = runs;
  const note = `parse ${of('parse').toFixed(1)}, classify ${of('classify').toFixed(1)}, merge and plan ${of('plan').toFixed(1)} ms; ${(count / ms).toFixed(0)} rules a ms; first time ${first === undefined ? '-' : whole(first).toFixed(0)} ms`;
  const aim = count >= 100_000 ? ({ of: 'measured', most: WHOLE_MS } as const) : undefined;
  report.add({
    what: `parse, classify, merge, plan ${count} rules`,
    unit: 'ms',
    measured: ms,
    floor: undefined,
    aim,
    samples: times,
    note,
  });
  report.progress(`throughput: ${count} rules`);
  return { count, ms, bytes: of('heapBytes') };
}
