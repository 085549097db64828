// What a call costs: a libvirt hook against the shell that does nothing, the command line against Node that does nothing.
// The two take turns, so that a busy moment hits both.

import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { REPOSITORY } from '../lab/namespaces.ts';
import type { Reporter } from './report.ts';
import { rulesetOf } from './rules.ts';
import { median, quantile } from './stats.ts';
import { load, PROGRAM, run } from './world.ts';

interface Call {
  readonly file: string;
  readonly args: readonly string[];
  readonly exit?: number;
}

const NODE: Call = { file: process.execPath, args: ['-e', '0'] };
const HOOK = '/etc/libvirt/hooks/network.d/50-mendwall';
const SPOOL = '/run/mendwall/spool';

function timeOf({ file, args, exit = 0 }: Call): number {
  const startedMs = performance.now();
  const result = spawnSync(file, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const tookMs = performance.now() - startedMs;
  if (result.status !== exit)
    throw new Error(
      `${file} ${args.join(' ')}: exit ${result.status}\n${result.stdout.toString()}${result.stderr.toString()}`,
    );
  return tookMs;
}

function compare(call: Call, floor: Call, samples: number): { measured: number[]; floors: number[] } {
  const measured: number[] = [];
  const floors: number[] = [];
  for (let sample = 0; sample < samples; sample++) {
    floors.push(timeOf(floor));
    measured.push(timeOf(call));
  }
  return { measured, floors };
}

/** As libvirt calls it: with a spool that somebody empties. */
export async function measureHook(report: Reporter, samples: number): Promise<void> {
  mkdirSync('/etc/libvirt/hooks/network.d', { recursive: true });
  mkdirSync(SPOOL, { recursive: true });
  copyFileSync(join(REPOSITORY, 'hooks/mendwall-hook'), HOOK);
  const { measured, floors } = compare(
    { file: HOOK, args: ['default', 'started', 'begin', '-'] },
    { file: 'sh', args: ['-c', ':'] },
    samples,
  );
  const left = readdirSync(SPOOL).length;
  rmSync(SPOOL, { recursive: true });
  if (left !== samples) throw new Error(`${samples} hooks left ${left} files in the spool`);
  report.progress(`hook: ${samples} calls`);
  report.add({
    what: 'hook against sh -c :, p50',
    unit: 'ms',
    measured: median(measured),
    floor: median(floors),
    aim: undefined,
    samples,
  });
  report.add({
    what: 'hook against sh -c :, p99',
    unit: 'ms',
    measured: quantile(measured, 0.99),
    floor: quantile(floors, 0.99),
    aim: undefined,
    samples,
  });
}

/** With 1,000 rules standing, three of them other than in the snapshot, and no daemon to ask. */
export async function measureStarts(report: Reporter, samples: number): Promise<void> {
  load(rulesetOf(1000));
  for (const at of [10, 500, 900]) run('iptables', ['-D', 'FORWARD', String(at)]);
  const commands = [
    { args: ['--version'], exit: 0, most: 1.5 },
    { args: ['status'], exit: 1, most: undefined },
    { args: ['diff'], exit: 1, most: 3 },
  ];
  for (const { args, exit, most } of commands) {
    const { measured, floors } = compare({ file: process.execPath, args: [PROGRAM, ...args], exit }, NODE, samples);
    const what = `mendwall ${args.join(' ')}${args[0] === '--version' ? '' : ', 1000 rules'}, against node -e 0`;
    report.add({
      what,
      unit: 'ms',
      measured: median(measured),
      floor: median(floors),
      aim: most === undefined ? undefined : { of: 'ratio', most },
      samples,
    });
    report.progress(`${what}: ${samples} calls`);
  }
}
