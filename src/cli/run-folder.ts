// The daemon's place in the run folder: its two locks and its control socket, for its whole life.
// Guarantees: one daemon in a network namespace, also when somebody removes the folder under it: that is noticed (inotify, and
// a look every 30 s), said, and locks and socket are made again; when another mendwall was faster, `taken` says so, and the
// caller ends. Does not: clean up after others, or make the spool again (its own event source does).

import type { Config } from '../config.ts';
import { HostError, type Host, type Timer, type Watch } from '../host/host.ts';
import { acquireLock, type HeldLock } from '../host/lock.ts';
import { type ControlHandler, type ControlServer, serveControl } from '../host/socket.ts';
import { describeHolder, socketPath } from './call-verb.ts';
import { EXIT, Stop } from './exit-codes.ts';

const COMMAND = 'mendwall run';
/** A one-shot for the spool probes the lock `run` for a moment. */
const PROBE_WAIT_MS = 1000;
const LOOK_EVERY_MS = 30_000;

/** `run` tells everybody that a daemon is there; `pass` keeps one-shots out for its whole life: they ask it instead. */
type Locks = Map<'run' | 'pass', HeldLock>;

interface Place {
  readonly runDir: string;
  readonly waitMs: number;
  readonly netns: string | undefined;
}

export interface RunFolder {
  /** Opens the control socket, and begins to watch over all three. */
  serve(handler: ControlHandler): Promise<void>;
  /** Resolves with the reason when another mendwall holds a lock that was ours. */
  readonly taken: Promise<string>;
  /** Nobody is heard any more; the locks stay. */
  closeControl(): Promise<void>;
  /** Ends all. */
  close(): Promise<void>;
}

/** Takes both locks. `netns`: inode of the namespace it is for; default: ours. Throws Stop 4 when another mendwall has one, HostError `lock-failed`. */
export async function openRunFolder(
  host: Host,
  { runDir }: Pick<Config, 'runDir'>,
  waitMs: number,
  netns?: string,
): Promise<RunFolder> {
  await host.files.makeDir(runDir);
  const place: Place = { runDir, waitMs, netns };
  const locks: Locks = new Map();
  const busy = await takeLocks(locks, place);
  if (busy !== undefined) {
    for (const lock of locks.values()) await lock.release();
    throw new Stop(EXIT.busy, busy);
  }
  return new OpenRunFolder(host, place, locks);
}

/** Takes the locks that are not held, or not any more; who has one of them, when somebody has. */
async function takeLocks(locks: Locks, { runDir, waitMs, netns }: Place): Promise<string | undefined> {
  for (const name of ['run', 'pass'] as const) {
    const before = locks.get(name);
    if ((await before?.stands()) === true) continue;
    const taken = await acquireLock({
      runDir,
      netns,
      command: COMMAND,
      name,
      waitMs: name === 'run' ? PROBE_WAIT_MS : waitMs,
    });
    if (taken.kind === 'busy')
      return name === 'run'
        ? `${describeHolder(taken.holder)} guards this network namespace already`
        : `${describeHolder(taken.holder)} holds the lock`;
    await before?.release();
    locks.set(name, taken);
  }
  return undefined;
}

class OpenRunFolder implements RunFolder {
  readonly taken: Promise<string>;
  readonly #host: Host;
  readonly #place: Place;
  readonly #locks: Locks;
  #handler: ControlHandler | undefined;
  #server: ControlServer | undefined;
  #watch: Watch | undefined;
  #timer: Timer | undefined;
  #looking: Promise<void> | undefined;
  #again = false;
  #closed = false;
  #complaint = '';
  #giveUp: (why: string) => void = () => undefined;

  constructor(host: Host, place: Place, locks: Locks) {
    this.#host = host;
    this.#place = place;
    this.#locks = locks;
    this.taken = new Promise((resolve) => (this.#giveUp = resolve));
  }

  async serve(handler: ControlHandler): Promise<void> {
    this.#handler = handler;
    this.#server = await serveControl(socketPath(this.#place), handler);
    this.#watchFolder();
    this.#lookLater();
  }

  async closeControl(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    this.#watch?.close();
    await this.#looking;
    await this.#server?.close();
    this.#server = undefined;
  }

  async close(): Promise<void> {
    await this.closeControl();
    for (const lock of this.#locks.values()) await lock.release();
    this.#locks.clear();
  }

  #watchFolder(): void {
    this.#watch?.close();
    const look = (): void => this.#look();
    this.#watch = this.#host.files.watch(this.#place.runDir, { changed: look, failed: look });
  }

  #lookLater(): void {
    this.#timer?.cancel();
    if (!this.#closed) this.#timer = this.#host.clock.after(LOOK_EVERY_MS, () => this.#look());
  }

  /** One look at a time; asked for meanwhile (a removal goes on file by file), one more. */
  #look(): void {
    if (this.#closed) return;
    this.#again = this.#looking !== undefined;
    if (this.#again) return;
    this.#looking = this.#mend()
      .catch((error: unknown) => {
        if (!(error instanceof HostError)) throw error;
        this.#complain(`${this.#place.runDir} was removed, and cannot be made again: ${error.message}`);
      })
      .finally(() => {
        this.#looking = undefined;
        if (this.#again) this.#look();
        else this.#lookLater();
      });
  }

  async #mend(): Promise<void> {
    if (await this.#stands()) return void (this.#complaint = '');
    const { runDir } = this.#place;
    await this.#host.files.makeDir(runDir);
    const busy = await takeLocks(this.#locks, this.#place);
    if (busy !== undefined) return this.#giveUp(`${runDir} was removed under this daemon, and ${busy}`);
    if (this.#handler !== undefined && (await this.#server?.stands()) !== true) {
      await this.#server?.close();
      this.#server = await serveControl(socketPath(this.#place), this.#handler);
    }
    this.#watchFolder();
    this.#again = true; // the old watch may have missed what went on until now
    this.#complain(`${runDir} was removed while mendwall runs: locks and control socket are made again`);
  }

  async #stands(): Promise<boolean> {
    const parts = [...this.#locks.values(), ...(this.#server === undefined ? [] : [this.#server])];
    return (await Promise.all(parts.map((part) => part.stands()))).every(Boolean);
  }

  #complain(text: string): void {
    if (text !== this.#complaint) this.#host.log.write('error', text);
    this.#complaint = text;
  }
}
