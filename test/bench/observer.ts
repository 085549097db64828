// A witness that is neither guard nor floor: its own `nft monitor`, and the instant each transaction's first line arrived.
// The kernel sends a transaction's events after its rules are in force, in the same system call; the first line is here
// 0.2 ms later at most (measured). So what is said to be effective is.

import { spawn, spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Transaction {
  readonly atMs: number;
  /** It added or deleted rules of FORWARD. */
  forward: boolean;
}

export interface Observer {
  /** Transactions whose first line came after this instant (performance.now). */
  since(atMs: number): Transaction[];
  /** Resolves when no line came for so long. */
  quiet(ms: number): Promise<void>;
  close(): void;
}

export async function openObserver(): Promise<Observer> {
  const child = spawn('nft', ['monitor'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const transactions: Transaction[] = [];
  let open: Transaction | undefined;
  let unfinished = '';
  let lastMs = performance.now();
  child.stdout.setEncoding('latin1').on('data', (chunk: string) => {
    lastMs = performance.now();
    const lines = (unfinished + chunk).split('\n');
    unfinished = lines.pop() ?? '';
    for (const line of lines) {
      if (line.startsWith('# new generation')) {
        open = undefined;
        continue;
      }
      if (open === undefined) transactions.push((open = { atMs: lastMs, forward: false }));
      if (!open.forward && / rule ip filter FORWARD /.test(line)) open.forward = true; // `insert rule ip filter FORWARD ...`
    }
  });
  // It says nothing when it has joined: a table comes and goes until it is heard. Each time with a longer pause: it begins
  // by reading the whole ruleset, and starts anew when that changes meanwhile (measured: 100 ms apart, with 10,000 rules, never).
  for (let pauseMs = 100; transactions.length === 0; pauseMs *= 2) {
    spawnSync('nft', ['add table ip knock; delete table ip knock']);
    await sleep(pauseMs);
  }
  return {
    since: (atMs) => transactions.filter((transaction) => transaction.atMs >= atMs),
    quiet: async (ms) => {
      const fromMs = performance.now();
      while (performance.now() - Math.max(lastMs, fromMs) < ms) await sleep(ms / 5);
    },
    close: () => void child.kill(),
  };
}
