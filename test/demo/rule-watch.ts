// Runs inside the private host, as plain JavaScript: reads both rulesets over and over and prints each change as one JSON
// line, {"atMs":...,"ip":"...","ip6":"..."}, without counters. Times are CLOCK_MONOTONIC in ms.

import { execFile } from 'node:child_process';

const PAUSE_MS = 10;

function save(file: string): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(file, { maxBuffer: 1 << 26 }, (error, stdout) =>
      error ? reject(error) : resolve(withoutCounters(stdout)),
    );
  });
}

function withoutCounters(text: string): string {
  const lines = text.split('\n').filter((line) => !line.startsWith('#'));
  return lines.map((line) => line.replace(/ \[\d+:\d+\]$/, '')).join('\n'); // :INPUT ACCEPT [10:840]
}

async function watch(): Promise<never> {
  let last = '';
  for (;;) {
    const atMs = Number(process.hrtime.bigint()) / 1e6;
    const [ip, ip6] = await Promise.all([save('iptables-save'), save('ip6tables-save')]);
    if (ip + ip6 !== last) process.stdout.write(JSON.stringify({ atMs, ip, ip6 }) + '\n');
    last = ip + ip6;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

watch().catch((error: Error) => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
});
