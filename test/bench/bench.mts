// `npm run bench`: what mendwall costs, each figure beside the floor measured in the same run. Needs root.
//   --quick     a few samples, no 10,000 and 100,000 rules: shows that the bench works, not how fast anything is
//   --json      the table as one JSON document on standard output
//   --only X,Y  of: displacement, wipes, native, hook, cli, idle, effect, rules, throughput
//   --samples N displacements of each size (default 60; 40 at 10,000 rules)
//   --rules N   only this size of ruleset in displacement, wipes and native
// About 20 minutes; --quick about one.
// Exit 0 whether aims are met or not; another code only when something broke.
// Everything runs in a private network, mount and pid namespace; the machine's firewall is not touched.

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { startNamespaces } from '../lab/namespaces.ts';
import { measureDisplacement } from './displacement.ts';
import { measureIdle } from './idle.ts';
import { measureNativeStages, measureNativeWipes } from './native.ts';
import { createReporter, printTable, type Reporter, toJson } from './report.ts';
import { measureRuleFiles } from './rule-files.ts';
import { measureEffect } from './effect.ts';
import { measureHook, measureStarts } from './starts.ts';
import { measureThroughput } from './throughput.ts';
import { measureWipes } from './wipes.ts';
import { furnish } from './world.ts';

const INSIDE = 'MENDWALL_BENCH_INSIDE';
const args = process.argv.slice(2);
const has = (name: string): boolean => args.includes(name);
const valueOf = (name: string): string | undefined => (has(name) ? args[args.indexOf(name) + 1] : undefined);
const QUICK = has('--quick');

async function outside(): Promise<number> {
  const namespaces = await startNamespaces();
  try {
    const [file = '', ...prefix] = namespaces.place('bench').prefix;
    const self = [process.execPath, '--import', import.meta.resolve('tsx'), fileURLToPath(import.meta.url), ...args];
    const env = { ...process.env, MENDWALL_PROCFS: '/outer-proc', [INSIDE]: '1' };
    const child = spawn(file, [...prefix, ...self], { stdio: 'inherit', env });
    return await new Promise((resolve, reject) => child.on('error', reject).on('exit', (code) => resolve(code ?? 1)));
  } finally {
    await namespaces.close();
  }
}

function sizes(): number[] {
  const one = valueOf('--rules');
  if (one !== undefined) return [Number(one)];
  return QUICK ? [100, 1000] : [100, 1000, 10_000];
}

async function displacement(report: Reporter): Promise<void> {
  for (const count of sizes()) {
    const usual = QUICK ? 5 : count > 1000 ? 40 : 60;
    await measureDisplacement(report, count, Number(valueOf('--samples') ?? usual));
  }
}

async function wipes(report: Reporter): Promise<void> {
  for (const count of sizes()) await measureWipes(report, count, QUICK ? 1 : 6);
}

/** nft itself takes more than a minute to load 100,000 rules: there the stages alone. */
async function native(report: Reporter): Promise<void> {
  for (const count of sizes()) await measureNativeWipes(report, count, QUICK ? 1 : 6);
  for (const count of QUICK ? [10_000] : [10_000, 100_000]) measureNativeStages(report, count, QUICK ? 3 : 7);
}

const SECTIONS: Readonly<Record<string, (report: Reporter) => Promise<void> | void>> = {
  displacement,
  wipes,
  native,
  hook: (report) => measureHook(report, QUICK ? 20 : 300),
  cli: (report) => measureStarts(report, QUICK ? 3 : 30),
  idle: (report) => measureIdle(report, QUICK ? 3 : 120),
  effect: (report) => measureEffect(report, QUICK ? [1000] : [1000, 10_000], QUICK ? 1 : 5),
  rules: (report) => measureRuleFiles(report, QUICK ? 2 : 10),
  throughput: (report) => measureThroughput(report, QUICK ? [1000, 10_000] : [1000, 10_000, 100_000], QUICK ? 3 : 7),
};

/** Runs the sections; what was measured is printed also when one of them broke. */
async function inside(): Promise<number> {
  const report = createReporter(has('--json'));
  furnish();
  const only = valueOf('--only')?.split(',');
  const broken: string[] = [];
  for (const [name, measure] of Object.entries(SECTIONS)) {
    if (only !== undefined && !only.includes(name)) continue;
    try {
      await measure(report);
    } catch (error) {
      broken.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
      report.progress(`BROKEN ${broken.at(-1)}`);
    }
  }
  process.stdout.write(`${has('--json') ? toJson(report.rows) : `\n${printTable(report.rows)}`}\n`);
  for (const what of broken) process.stderr.write(`broken: ${what}\n`);
  return broken.length === 0 ? 0 : 1;
}

process.exit(await (process.env[INSIDE] === undefined ? outside() : inside()));
