// What the daemon costs while nothing happens, beside a Node that does nothing, at the same time.

import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

import type { Reporter } from './report.ts';
import { rulesetOf } from './rules.ts';
import { load, start, startGuard } from './world.ts';

/** One thousandth of one CPU is "no CPU": below it a bare Node lies as well. */
const NO_CPU_PERCENT = 0.1;

const REST_MS = 15_000;

export async function measureIdle(report: Reporter, seconds: number): Promise<void> {
  load(rulesetOf(1000));
  const guard = await startGuard(3000);
  const bare = start(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], 'by-signal');
  // V8 tidies up for some 10 s after work; measured from there on.
  await sleep(REST_MS);
  report.progress(`idle: ${seconds} s`);
  const child = childOf(guard.pid);
  const before = [guard.pid, child, bare.pid].map(cpuMs);
  const startedMs = performance.now();
  await sleep(seconds * 1000);
  const tookMs = performance.now() - startedMs;
  const [daemon, monitor, nothing] = [guard.pid, child, bare.pid].map(
    (pid, at) => ((cpuMs(pid) - (before[at] ?? 0)) / tookMs) * 100,
  ) as [number, number, number];
  const rows = [
    {
      what: `idle CPU of the daemon, ${seconds} s`,
      measured: daemon + monitor,
      floor: nothing,
      note: `its nft monitor ${monitor.toFixed(3)} % of that`,
    },
  ];
  for (const row of rows)
    report.add({ ...row, unit: '% of a CPU', aim: { of: 'measured', most: NO_CPU_PERCENT }, samples: 1 });
  const memory = (pid: number): number => kibOf(pid, 'VmRSS') / 1024;
  report.add({
    what: 'memory of the daemon, 1000 rules',
    unit: 'MiB',
    measured: memory(guard.pid),
    floor: memory(bare.pid),
    aim: { of: 'ratio', most: 1.5 },
    samples: 1,
    note: `of it anonymous ${(kibOf(guard.pid, 'RssAnon') / 1024).toFixed(0)} MiB, bare Node ${(kibOf(bare.pid, 'RssAnon') / 1024).toFixed(0)} MiB`,
  });
  report.add({
    what: '  its nft monitor',
    unit: 'MiB',
    measured: memory(child),
    floor: undefined,
    aim: undefined,
    samples: 1,
  });
  await guard.stop();
  await bare.stop();
}

/** CPU time of all threads, ms, to the nanosecond (proc(5), schedstat). */
function cpuMs(pid: number): number {
  const tasks = readdirSync(`/proc/${pid}/task`);
  return tasks.reduce(
    (sum, task) => sum + Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]) / 1e6,
    0,
  );
}

/** `VmRSS:	   75992 kB` */
function kibOf(pid: number, key: string): number {
  return Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

function childOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0]);
}
