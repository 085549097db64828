// `npm test` after set-up: types, lint, format, build, unit tests, the lab. Says what it does, and at the very end, alone
// on a line, `N passed, N failed, N skipped`. Exit 0 only when nothing failed.
//   LAB_OBSTACLE  why the lab cannot run here (from setup.sh); empty when it can. With CI=true that is a failure.
//   --lab-only    only build and lab (with LAB_FULL=1: the long matrices)
// More arguments go to vitest, e.g. a file name.

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

type Count = { readonly passed: number; readonly failed: number; readonly skipped: number };
type VitestReport = {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
};

const LAB_ONLY = process.argv.includes('--lab-only');
const VITEST_ARGUMENTS = process.argv.slice(2).filter((argument) => argument !== '--lab-only');
const CI = process.env['CI'] === 'true';
const OBSTACLE = process.env['LAB_OBSTACLE'] ?? '';
const PASSED: Count = { passed: 1, failed: 0, skipped: 0 };
const FAILED: Count = { passed: 0, failed: 1, skipped: 0 };

const say = (line: string): void => void process.stdout.write(line + '\n');

/** Runs a program; its output is shown as it comes, or, when `quiet`, only if it fails. */
async function run(file: string, args: readonly string[], quiet: boolean): Promise<number> {
  const child = spawn(file, args, { stdio: ['ignore', quiet ? 'pipe' : 'inherit', quiet ? 'pipe' : 'inherit'] });
  let output = '';
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const exitCode = await new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve(code ?? 1));
  });
  if (exitCode !== 0) process.stdout.write(output);
  return exitCode;
}

const bin = (name: string): string => join('node_modules', '.bin', name);

async function check(name: string, file: string, ...args: readonly string[]): Promise<Count> {
  const startedMs = performance.now();
  const exitCode = await run(file, args, true);
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  say(`${exitCode === 0 ? 'ok    ' : 'FAILED'}  ${name}  ${seconds} s`);
  return exitCode === 0 ? PASSED : FAILED;
}

/**
 * Projects of vitest.config.ts, in one run. One that ends badly without a failed test (a file that cannot be loaded) counts as
 * one failure.
 */
async function tests(...projects: readonly string[]): Promise<Count> {
  const folder = mkdtempSync(join(tmpdir(), 'mendwall-test-'));
  try {
    const report = join(folder, 'report.json');
    const chosen = projects.flatMap((project) => ['--project', project]);
    const args = ['run', ...chosen, '--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
    // Named files may all belong to another project; without names, finding no test is a failure.
    const filtered = VITEST_ARGUMENTS.length > 0 ? ['--passWithNoTests', ...VITEST_ARGUMENTS] : [];
    const exitCode = await run(bin('vitest'), [...args, ...filtered], false);
    const count = existsSync(report) ? countOf(JSON.parse(readFileSync(report, 'utf8')) as VitestReport) : FAILED;
    return exitCode !== 0 && count.failed === 0 ? { ...count, failed: 1 } : count;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function countOf(report: VitestReport): Count {
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

/** Made before the tests, as it takes longer than a test waits. Where it cannot be made, those that need it fail. */
async function debian13(): Promise<void> {
  if (VITEST_ARGUMENTS.length === 0) await run('bash', ['test/lab/debian-13.sh'], false);
}

async function lab(root: Promise<void> | undefined): Promise<Count> {
  if (OBSTACLE === '') {
    await root;
    return tests('lab', 'lab-alone');
  }
  if (CI) {
    say(`FAILED  lab: with CI=true it must run, but ${OBSTACLE}`);
    return FAILED;
  }
  const files = readdirSync('test/lab').filter((name) => name.endsWith('.lab.ts'));
  say(`skipped lab, ${files.length} files with real libvirtd and real packets: ${OBSTACLE}`);
  return { passed: 0, failed: 0, skipped: files.length };
}

async function main(): Promise<number> {
  const counts: Count[] = [];
  // Beside the checks and unit tests, as it takes a minute or two.
  const root = OBSTACLE === '' ? debian13() : undefined;
  if (!LAB_ONLY) {
    counts.push(await check('types (tsc)', bin('tsc')));
    counts.push(await check('lint (eslint)', bin('eslint'), '.'));
    counts.push(await check('format (prettier)', bin('prettier'), '--check', '--log-level', 'warn', 'src', 'test'));
  }
  counts.push(await check('build (esbuild)', process.execPath, 'test/build.mjs'));
  if (!LAB_ONLY) counts.push(await tests('unit'));
  counts.push(await lab(root));
  const sum = (key: keyof Count): number => counts.reduce((total, count) => total + count[key], 0);
  say(`${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped`);
  return sum('failed') === 0 ? 0 : 1;
}

process.exitCode = await main();
