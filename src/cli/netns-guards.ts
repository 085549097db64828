// Which network namespaces are guarded now: follows their names as they come and go, one guard a life.
// Goals: a namespace is guarded within moments of its birth, and let go within moments of its end: what listens in there keeps it
// alive. Guarantees: two lives of a name never share a guard; a guard ends before the next of its name begins; few start at once;
// one that cannot be guarded is said once for each reason and tried again; `stop` ends all. Does not: know what a guard is.
// The folder's events are hints: it is listed when they come, and every 10 s.

import type { Clock, Log, Timer, Watch, WatchHandlers } from '../host/host.ts';
import type { NamedNetns, NetnsList } from '../host/netns.ts';
import type { NamespaceStatus } from '../verbs/status.ts';

const LOOK_EVERY_MS = 10_000;
/** As long as the folder cannot be watched: `ip netns` makes it with the first namespace. */
const UNWATCHED_MS = 1_000;
/** `ip netns add` makes the file, then the namespace, 2 ms later; no event tells of the second. */
const UNREADY_MS = 20;
const RETRY_MS = 30_000;
/** A start reads all rules twice; 50 namespaces that come at once must not starve the host's own guard. */
const STARTS_AT_ONCE = 2;

/** One guard of one life. */
export interface NetnsGuard {
  status(): Pick<NamespaceStatus, 'mode' | 'snapshot' | 'passes' | 'drift'>;
  /** Resolves with the reason when it can guard no more. */
  readonly lost: Promise<string>;
  /** `gone`: the namespace has lost its name. */
  stop(gone: 'gone' | undefined): Promise<void>;
}

export interface NetnsWorld {
  readonly clock: Clock;
  readonly log: Log;
  /** The daemon's mode in this namespace; undefined: it is not ours. */
  modeFor(name: string): NamespaceStatus['mode'] | undefined;
  list(): Promise<NetnsList>;
  watch(handlers: WatchHandlers): Watch;
  /** Undefined when that life is over. Rejects with the reason for people. */
  open(netns: NamedNetns): Promise<NetnsGuard | undefined>;
}

export interface NetnsGuards {
  start(): void;
  status(): NamespaceStatus[];
  /** Ends all; the rules stay. */
  stop(): Promise<void>;
}

interface Entry {
  readonly netns: NamedNetns;
  readonly mode: NamespaceStatus['mode'];
  state: NamespaceStatus['state'];
  why: string | undefined;
  retryAtMs: number;
  guard: NetnsGuard | undefined;
  ended: boolean;
  /** All that was begun for this entry is done. */
  done: Promise<void>;
}

export function createNetnsGuards(world: NetnsWorld): NetnsGuards {
  const { clock, log } = world;
  const entries = new Map<string, Entry>();
  /** By name: what the next guard of that name waits for. */
  const closing = new Map<string, Promise<void>>();
  const slots = limited(STARTS_AT_ONCE);
  let watch: Watch | undefined;
  let watched = false;
  let timer: Timer | undefined;
  let looking: Promise<void> | undefined;
  let again = false;
  let closed = false;
  let complaint = '';

  /** One look at a time; asked for meanwhile, one more. */
  function look(): void {
    if (closed) return;
    again = looking !== undefined;
    if (again) return;
    timer?.cancel();
    looking = compare()
      .catch((error: unknown) => {
        complain(`network namespaces cannot be listed: ${textOf(error)}`);
        return LOOK_EVERY_MS;
      })
      .then((ms) => {
        looking = undefined;
        if (again) look();
        else if (!closed) timer = clock.after(ms, look);
      });
  }

  /** How long until the next look, in ms. */
  async function compare(): Promise<number> {
    watchAgain();
    const { found, unready } = await world.list();
    if (closed) return LOOK_EVERY_MS;
    complaint = '';
    const lives = new Map(found.map((netns) => [netns.name, netns]));
    for (const entry of entries.values())
      if (lives.get(entry.netns.name)?.life !== entry.netns.life) end(entry, 'gone');
    for (const netns of found) visit(netns);
    if (unready.some((name) => world.modeFor(name) !== undefined)) return UNREADY_MS;
    return watched ? LOOK_EVERY_MS : UNWATCHED_MS;
  }

  function watchAgain(): void {
    if (watched) return;
    watch?.close();
    watched = true;
    watch = world.watch({ changed: look, failed: () => (watched = false) });
  }

  function visit(netns: NamedNetns): void {
    const mode = world.modeFor(netns.name);
    const entry = entries.get(netns.name);
    if (mode === undefined) return;
    if (entry === undefined)
      return begin({ ...newEntry(netns, mode), done: closing.get(netns.name) ?? Promise.resolve() });
    if (entry.state === 'failed' && clock.monoMs() >= entry.retryAtMs) begin(entry);
  }

  function begin(entry: Entry): void {
    entries.set(entry.netns.name, entry);
    entry.state = 'starting';
    entry.done = entry.done.then(() => slots(() => open(entry)));
  }

  async function open(entry: Entry): Promise<void> {
    if (entry.ended) return;
    try {
      const guard = await world.open(entry.netns);
      if (guard === undefined) return fail(entry, 'it is gone');
      Object.assign(entry, { guard, state: 'guarded', why: undefined });
      void guard.lost.then((why) => lose(entry, why));
    } catch (error) {
      fail(entry, textOf(error));
    }
  }

  function fail(entry: Entry, why: string): void {
    if (why !== entry.why && !entry.ended) log.write('warning', `netns ${entry.netns.name}: not guarded: ${why}`);
    Object.assign(entry, { state: 'failed', why, retryAtMs: clock.monoMs() + RETRY_MS });
  }

  function lose(entry: Entry, why: string): void {
    if (entry.ended) return;
    fail(entry, why);
    entry.done = entry.done.then(() => close(entry, undefined));
  }

  function end(entry: Entry, gone: 'gone' | undefined): void {
    const { name } = entry.netns;
    entry.ended = true;
    entries.delete(name);
    const done = entry.done.then(() => close(entry, gone));
    closing.set(name, done);
    void done.then(() => void (closing.get(name) === done && closing.delete(name)));
  }

  async function close(entry: Entry, gone: 'gone' | undefined): Promise<void> {
    const { guard } = entry;
    entry.guard = undefined;
    try {
      await guard?.stop(gone);
      if (guard !== undefined && gone !== undefined) log.write('info', `netns ${entry.netns.name}: gone`);
    } catch (error) {
      log.write('error', `netns ${entry.netns.name}: its guard did not end well: ${textOf(error)}`);
    }
  }

  function complain(text: string): void {
    if (text !== complaint) log.write('error', text);
    complaint = text;
  }

  return {
    start: look,
    status: () => [...entries.values()].map(statusOf).sort((a, b) => (a.name < b.name ? -1 : 1)),
    async stop() {
      closed = true;
      timer?.cancel();
      watch?.close();
      await looking;
      for (const entry of entries.values()) end(entry, undefined);
      await Promise.all(closing.values());
    },
  };
}

const newEntry = (netns: NamedNetns, mode: Entry['mode']): Omit<Entry, 'done'> => {
  return { netns, mode, state: 'starting', why: undefined, retryAtMs: 0, guard: undefined, ended: false };
};

function statusOf({ netns: { name }, mode, state, why, guard }: Entry): NamespaceStatus {
  return { name, mode, state, why, snapshot: undefined, passes: 0, drift: {}, ...guard?.status() };
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Runs jobs, so many at a time, in the order they came. */
function limited(most: number): (job: () => Promise<void>) => Promise<void> {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (job) => {
    if (running >= most) await new Promise<void>((resolve) => waiting.push(resolve));
    else running++;
    try {
      await job();
    } finally {
      const next = waiting.shift(); // it takes over this one's place
      if (next === undefined) running--;
      else next();
    }
  };
}
