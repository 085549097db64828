// The kernel's voice for iptables-nft: a child `nft monitor`.
// Goals: a table that is touched is known within a millisecond; each commit is known with its author; what was not heard is
// told as `look`.
// Guarantees: a `look` when a child is started and another when it has joined, so that nothing falls into the blind time
// between; a `look` for each loss; a child that ends (nft 1.0.6 crashes when a `ct timeout` object is deleted) is started again.
// Does not: read the ruleset, nor judge a commit. Changes through iptables-legacy are not heard here (legacy-lock.ts).

import type { Command, Host, LineStream } from '../host/host.ts';
import { keepChild, type KeptChild } from './keep-child.ts';
import { whenListening } from './netlink-group.ts';
import { createMonitorParser, type ParsedCommit } from './nft-monitor-parse.ts';
import { createTimers } from './timers.ts';
import type { Author, Commit, Source, SourceHandlers } from './types.ts';

/** Without a filter: `nft monitor ruleset` and the like leave the generation line out (nft 1.0.6), and with it the author. */
const MONITOR: Command = { file: 'nft', args: ['monitor'] };
/** As long as the monitor has not joined, a `look` this often, then half as often each time. */
const BLIND_LOOK_MS = 2_000;
/** No line for this long: the transaction that was cut by a loss is over. The lines of one transaction come without a pause. */
const QUIET_MS = 50;
/** Under endless commits quiet never comes; the kernel's queue (16 MiB) is read out long before this. */
const LONGEST_DOUBT_MS = 5_000;

/**
 * Lines without their generation line for so long: nft 1.0.6 prints none for a transaction with an anonymous chain (`jump {`).
 * After a flush of 10,000 rules it comes 190 ms late.
 */
const UNENDED_MS = 2_000;

export interface NftMonitorOptions {
  readonly host: Host;
  /** Called at the generation line, within the same turn: the process may be gone 5 ms later. */
  readonly readAuthor: (pid: number, comm: string) => Author;
  /** Default `nft monitor`; another one must exec it, so that the child's pid is the monitor's (`ip netns exec` does). */
  readonly command?: Command;
}

/** The event source `kernel`. Emits `touched`, `commit` and `look`. */
export function createNftMonitor(options: NftMonitorOptions): Source {
  let child: KeptChild | undefined;
  let run: Run | undefined;

  async function start(handlers: SourceHandlers): Promise<void> {
    const health = (state: 'starting' | 'degraded', detail: string): void =>
      handlers.health({ source: 'kernel', state, detail });
    child = keepChild(options.host, options.command ?? MONITOR, {
      started(stream) {
        health('starting', 'nft monitor is reading the ruleset');
        handlers.event({ kind: 'look', reason: 'nft monitor starts: changes are not heard until it has joined' });
        run = createRun(options, stream, handlers);
      },
      line: (text) => run?.line(text),
      ended(reason, pauseMs) {
        run?.stop();
        health('degraded', `nft monitor ended (${reason}); again in ${pauseMs} ms`);
        // Not only the events to come are lost: what made it crash was a change of the ruleset.
        handlers.event({ kind: 'look', reason: 'nft monitor ended' });
      },
    });
  }

  async function close(): Promise<void> {
    run?.stop();
    child?.close();
  }
  return { name: 'kernel', start, close };
}

/** One life of the child. */
interface Run {
  line(text: string): void;
  stop(): void;
}

function createRun(options: NftMonitorOptions, stream: LineStream, handlers: SourceHandlers): Run {
  const { clock } = options.host;
  const timers = createTimers(clock);
  const look = (reason: string): void => handlers.event({ kind: 'look', reason });
  let lineCount = 0;
  let joined = false;

  const parser = createMonitorParser({
    touched: (family, table, chain) => handlers.event({ kind: 'touched', family, table, chain }),
    commit: (parsed) => handlers.event({ kind: 'commit', commit: withAuthor(parsed, options.readAuthor) }),
    look(reason) {
      look(reason);
      trustWhenQuiet(clock.monoMs() + LONGEST_DOUBT_MS);
    },
  });

  function trustWhenQuiet(untilMs: number): void {
    const before = lineCount;
    timers.after(QUIET_MS, () => {
      if (before === lineCount || clock.monoMs() >= untilMs) parser.trust();
      else trustWhenQuiet(untilMs);
    });
  }

  function join(): void {
    if (joined) return;
    joined = true;
    handlers.health({ source: 'kernel', state: 'ok', detail: `nft monitor pid ${stream.pid}` });
    look('nft monitor has joined: changes before this were not heard');
    trustWhenQuiet(clock.monoMs() + LONGEST_DOUBT_MS);
  }

  function lookWhileBlind(pauseMs: number): void {
    timers.after(pauseMs, () => {
      if (joined) return;
      look('nft monitor is still reading the ruleset');
      lookWhileBlind(pauseMs * 2);
    });
  }

  let waitsForEnd = false;
  function lookWhenUnended(): void {
    waitsForEnd = true;
    const before = lineCount;
    timers.after(UNENDED_MS, () => {
      waitsForEnd = false;
      if (!parser.isInside) return;
      if (before === lineCount) look('a transaction without a generation line');
      else lookWhenUnended();
    });
  }

  function line(text: string): void {
    lineCount += 1;
    if (!joined) join();
    parser.line(text);
    if (!waitsForEnd && parser.isInside) lookWhenUnended();
  }

  const unknown = (reason: string): void =>
    handlers.health({
      source: 'kernel',
      state: 'starting',
      detail: `cannot tell whether nft monitor is ready: ${reason}`,
    });
  whenListening(options.host, stream, timers, { joined: join, unknown });
  lookWhileBlind(BLIND_LOOK_MS);
  return { line, stop: timers.stop };
}

/** Pid 0 stands for a kernel that does not say who it was (before 4.14). */
function withAuthor({ pid, comm, ...rest }: ParsedCommit, readAuthor: NftMonitorOptions['readAuthor']): Commit {
  const author = pid === undefined ? { pid: 0, comm, cmdline: undefined, parents: [] } : readAuthor(pid, comm);
  return { ...rest, author };
}
