// What rule files cost: `check` and `apply` of 5,000 lines, a fifth of them from a template over a list of servers, against what loads
// the same rules at least: `iptables-restore --test`, `iptables-restore`, and the start of Node.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { spawnSync } from 'node:child_process';

import type { Reporter } from './report.ts';
import { rulesetOf } from './rules.ts';
import { median } from './stats.ts';
import { load, PROGRAM, run } from './world.ts';

const FOLDER = '/etc/mendwall/rules.d';
const LINES = 5_000;
const SERVERS = 1_000;
/** Issue: a few times the floor. */
const AIM = 5;

const server = (at: number): string => `10.99.${at >> 8}.${at & 255}`;
const plain = (at: number): string =>
  `-A FORWARD -s 10.${at >> 8}.${at & 255}.9/32 -p tcp -m tcp --dport ${1024 + at} -j ACCEPT`;
const numbers = (count: number): number[] => Array.from({ length: count }, (_, at) => at);
const table = (rules: readonly string[]): string =>
  `*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n${rules.join('\n')}\nCOMMIT\n`;

const PLAIN = numbers(LINES - SERVERS).map(plain);
/** The same rules without mendwall. */
const FLAT = table([...PLAIN, ...numbers(SERVERS).map((at) => `-A INPUT -s ${server(at)}/32 -j ACCEPT`)]);

export async function measureRuleFiles(report: Reporter, samples: number): Promise<void> {
  load(rulesetOf(100));
  writeRuleFiles();
  const test = (): number => timeOf('iptables-restore', ['--test', '--noflush'], FLAT);
  const restore = (): number => timeOf('unshare', ['--net', 'iptables-restore'], FLAT);
  const node = (): number => timeOf(process.execPath, ['-e', '0']);
  const check: number[] = [];
  const apply: number[] = [];
  const tests: number[] = [];
  const restores: number[] = [];
  for (let sample = 0; sample < samples; sample++) {
    tests.push(test() + node());
    check.push(timeOf(process.execPath, [PROGRAM, 'check']));
    restores.push(restore() + node());
    apply.push(timeOf(process.execPath, [PROGRAM, 'apply', '--yes', '--no-preflight']));
    run(process.execPath, [PROGRAM, 'rollback']);
    report.progress(`rule files: ${sample + 1} of ${samples}`);
  }
  rmSync(FOLDER, { recursive: true });
  const what = `${LINES} lines, ${SERVERS} of a template`;
  const row = { unit: 'ms', samples } as const;
  const aim = { of: 'ratio', most: AIM } as const;
  report.add({
    ...row,
    what: `check, ${what}, against iptables-restore --test and node -e 0`,
    measured: median(check),
    floor: median(tests),
    aim,
  });
  report.add({
    ...row,
    what: `apply --yes, ${what}, against iptables-restore and node -e 0`,
    measured: median(apply),
    floor: median(restores),
    aim: undefined,
  });
}

function writeRuleFiles(): void {
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync('/etc/mendwall/servers.txt', `${numbers(SERVERS).map(server).join('\n')}\n`);
  const config = '/etc/mendwall/mendwall.toml';
  writeFileSync(config, `${textOf(config)}\n[vars]\nservers = { file = "servers.txt" }\n`);
  writeFileSync(`${FOLDER}/10-plain.v4`, table(PLAIN));
  const each = '{% for server in servers %}-A INPUT -s {{ server }} -j ACCEPT\n{% endfor %}';
  writeFileSync(`${FOLDER}/20-servers.v4.j2`, `*filter\n${each}COMMIT\n`);
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function timeOf(file: string, args: readonly string[], input = ''): number {
  const startedMs = performance.now();
  const result = spawnSync(file, args, { input, encoding: 'latin1', maxBuffer: 1 << 28 });
  const tookMs = performance.now() - startedMs;
  if (result.status !== 0)
    throw new Error(`${file} ${args.join(' ')}: exit ${result.status}\n${result.stdout}${result.stderr}`);
  return tookMs;
}
