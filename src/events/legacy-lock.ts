// Changes of iptables-legacy, which tells nobody: no event, no generation.
// Goals: a change is noticed when the command that made it ends (measured: 0.04 ms after), else at the next check.
// Guarantees: `legacy-changed` only when the caller's fingerprint differs from the last one. The lock alone proves nothing:
// -L takes it too (libvirt lists before it writes), and writers of another mount namespace take another lock.
// Does not: tell our own changes from others (a pass that finds nothing costs less than a change that is swallowed as ours);
// read the rules, nor run iptables-legacy: the caller's fingerprint does, and must not create tables.

import { posix } from 'node:path';
import type { Command, Host, Timer } from '../host/host.ts';
import { keepChild, type KeptChild } from './keep-child.ts';
import { createTimers, type Timers } from './timers.ts';
import type { Source, SourceHandlers } from './types.ts';

/** iptables 1.8 (XT_LOCK_NAME); the environment variable XTABLES_LOCKFILE names another one. */
const LOCK_PATH = '/run/xtables.lock';
const SHORTEST_CHECK_MS = 2_000;
/** A check takes at most 2 % of the time: iptables-legacy-save costs 3 ms at 100 rules, 180 ms at 100,000. */
const COST_FACTOR = 50;
/** inotifywait that has not ended by then watches; its own word for it goes to stderr. */
const WATCHES_AFTER_MS = 300;

export interface LegacyLockOptions {
  readonly host: Host;
  /** Some hash of all legacy rules, both families, without counters. May reject: told as `degraded`, and asked again. */
  readonly fingerprint: () => Promise<string>;
  /** Default /run/xtables.lock. Its folder must exist; the file need not. */
  readonly lockPath?: string;
}

/** The event source `legacy`. Emits `look` when it starts, then `legacy-changed`. Health says which detectors run. */
export function createLegacyLock(options: LegacyLockOptions): Source {
  const { host, lockPath = LOCK_PATH } = options;
  const timers = createTimers(host.clock);
  let child: KeptChild | undefined;
  let lives = 0;

  function watch(checkNow: (reason: string) => void, health: Health): KeptChild {
    return keepChild(host, watchCommand(lockPath), {
      started() {
        const life = ++lives;
        timers.after(WATCHES_AFTER_MS, () => {
          if (life !== lives) return; // it has ended
          health.watching();
          checkNow('changes before inotifywait was ready were not heard');
        });
      },
      line: (name) => void (name === posix.basename(lockPath) && checkNow(`${lockPath} was used`)),
      ended(reason) {
        lives += 1;
        health.notWatching(reason);
      },
    });
  }

  async function start(handlers: SourceHandlers): Promise<void> {
    const health = createHealth(handlers, lockPath);
    const checks = createCheck(options, timers, handlers, health);
    handlers.event({ kind: 'look', reason: 'the watch on the legacy engine starts' });
    child = watch(checks.run, health);
    checks.run('first check');
  }

  async function close(): Promise<void> {
    timers.stop();
    child?.close();
  }
  return { name: 'legacy', start, close };
}

/** The folder, since the file appears with the first iptables-legacy command after a boot. A line is the name of a file in it. */
function watchCommand(lockPath: string): Command {
  return { file: 'inotifywait', args: ['-m', '-q', '-e', 'close', '--format', '%f', posix.dirname(lockPath)] };
}

interface Health {
  watching(): void;
  notWatching(reason: string): void;
  checked(everyMs: number, problem: string | undefined): void;
}

/** Tells the two detectors' state as one line, when it changed. */
function createHealth(handlers: SourceHandlers, lockPath: string): Health {
  let watch = 'inotifywait is starting';
  let watches = false;
  let checks = 'no check yet';
  let fails = false;
  let told = '';

  function tell(): void {
    const detail = `${watch}; ${checks}`;
    if (detail === told) return;
    told = detail;
    handlers.health({ source: 'legacy', state: watches && !fails ? 'ok' : 'degraded', detail });
  }
  return {
    watching() {
      [watch, watches] = [`inotifywait on ${lockPath}`, true];
      tell();
    },
    notWatching(reason) {
      [watch, watches] = [`no watch on ${lockPath} (${reason})`, false];
      tell();
    },
    checked(everyMs, problem) {
      const every = `a check every ${Math.round(everyMs / 1000)} s`;
      [checks, fails] = [problem === undefined ? every : `${every}, which fails: ${problem}`, problem !== undefined];
      tell();
    },
  };
}

interface Check {
  /** Compares now; once more when asked again meanwhile. */
  run(reason: string): void;
}

function createCheck(options: LegacyLockOptions, timers: Timers, handlers: SourceHandlers, health: Health): Check {
  const { clock } = options.host;
  let last: string | undefined;
  let running = false;
  let again: string | undefined;
  let next: Timer | undefined;

  async function compare(reason: string): Promise<void> {
    const now = await options.fingerprint();
    if (last !== undefined && now !== last && !timers.stopped) handlers.event({ kind: 'legacy-changed', reason });
    last = now;
  }

  function run(reason: string): void {
    if (running) {
      again ??= reason;
      return;
    }
    running = true;
    const startedMs = clock.monoMs();
    const finish = (problem: string | undefined): void => finished(clock.monoMs() - startedMs, problem);
    void compare(reason).then(
      () => finish(undefined),
      (error: unknown) => finish(String(error)),
    );
  }

  function finished(costMs: number, problem: string | undefined): void {
    running = false;
    if (timers.stopped) return;
    const everyMs = Math.max(SHORTEST_CHECK_MS, costMs * COST_FACTOR);
    health.checked(everyMs, problem);
    next?.cancel();
    next = timers.after(everyMs, () => run('found by the regular check'));
    const reason = again;
    again = undefined;
    if (reason !== undefined) run(reason);
  }
  return { run };
}
