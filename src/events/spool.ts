// Event source: what libvirt's hooks leave in the spool (hooks/mendwall-hook).
// Goals: an event within milliseconds of the hook, and none lost to a restart: files wait in the folder.
// Guarantees: events in the order the hooks wrote them; each file is taken once; never throws after start.
// What it does not do: trust inotify. The folder is listed again every 5 s, which also finds what a `mend` has held
// for us while we were stopped, and takes up a watch that died.

import type { Host, Timer, Watch } from '../host/host.ts';
import { openSpool, SPOOL_FOLDER, takeSpool } from './spool-folder.ts';
import type { Source, SourceHandlers, SourceHealth } from './types.ts';

const RELIST_MS = 5_000;

/** The spool as an event source. Emits `hook` events, and `look` for a file that no hook wrote. */
export function spoolSource(host: Host, folder: string = SPOOL_FOLDER): Source {
  return new SpoolSource(host, folder);
}

class SpoolSource implements Source {
  readonly name = 'spool';
  readonly #host: Host;
  readonly #folder: string;
  #handlers: SourceHandlers | undefined;
  #watch: Watch | undefined;
  #timer: Timer | undefined;
  #lastHealth = '';
  /** The sweep that runs; `again` when something changed meanwhile. */
  #sweep: Promise<void> | undefined;
  #again = false;
  #isClosing = false;

  constructor(host: Host, folder: string) {
    this.#host = host;
    this.#folder = folder;
  }

  async start(handlers: SourceHandlers): Promise<void> {
    this.#handlers = handlers;
    await this.#relist();
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    this.#timer?.cancel();
    this.#watch?.close();
    // The file that is being taken now still reaches the guard.
    await this.#sweep;
  }

  async #relist(): Promise<void> {
    await this.#sweepSoon();
    if (this.#isClosing) return;
    this.#timer = this.#host.clock.after(RELIST_MS, () => void this.#relist());
  }

  #sweepSoon(): Promise<void> {
    this.#again = true;
    this.#sweep ??= this.#sweepAll().finally(() => (this.#sweep = undefined));
    return this.#sweep;
  }

  async #sweepAll(): Promise<void> {
    while (this.#again && !this.#isClosing) {
      this.#again = false;
      try {
        await this.#sweepOnce();
      } catch (error) {
        this.#say('degraded', error instanceof Error ? error.message : String(error));
      }
    }
  }

  async #sweepOnce(): Promise<void> {
    await openSpool(this.#host, this.#folder);
    // Watched before it is listed: what comes in between is seen twice, not never.
    this.#watch ??= this.#newWatch();
    for await (const event of takeSpool(this.#host, this.#folder)) {
      this.#handlers?.event(event);
      // What is left in the folder is the next reader's.
      if (this.#isClosing) return;
    }
    if (this.#watch !== undefined) this.#say('ok', `hooks leave files in ${this.#folder}`);
  }

  #newWatch(): Watch | undefined {
    let failed = false;
    const watch = this.#host.files.watch(this.#folder, {
      changed: () => void this.#sweepSoon(),
      failed: (reason) => {
        failed = true;
        this.#watch = undefined;
        this.#say('degraded', `no inotify (${reason}): listed every ${RELIST_MS / 1000} s`);
      },
    });
    return failed ? undefined : watch;
  }

  #say(state: SourceHealth['state'], detail: string): void {
    if (this.#lastHealth === state + detail) return;
    this.#lastHealth = state + detail;
    this.#handlers?.health({ source: this.name, state, detail });
  }
}
