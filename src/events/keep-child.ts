// A long-lived child that is started again when it ends, with a growing pause.
// Guarantees: one child at a time; nothing is called back after `close`; never throws.

import type { Command, Host, LineStream, Timer } from '../host/host.ts';

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 30_000;
/** A child that lived this long was well: the next pause is the first one again. */
const WELL_AFTER_MS = 10_000;

export interface ChildHandlers {
  /** A child was asked for; its pid may be known a moment later. */
  started(child: LineStream): void;
  line(text: string): void;
  /** `reason` is for people, without a full stop; the next start comes after `pauseMs`. */
  ended(reason: string, pauseMs: number): void;
}

export interface KeptChild {
  close(): void;
}

/** Starts `command` now, and again whenever it ends, until closed. */
export function keepChild(host: Host, command: Command, handlers: ChildHandlers): KeptChild {
  let child: LineStream | undefined;
  let timer: Timer | undefined;
  let closed = false;
  let pauseMs = FIRST_PAUSE_MS;

  function start(): void {
    const startedMs = host.clock.monoMs();
    const end = (reason: string): void => {
      if (closed) return;
      if (host.clock.monoMs() - startedMs >= WELL_AFTER_MS) pauseMs = FIRST_PAUSE_MS;
      timer = host.clock.after(pauseMs, start);
      handlers.ended(reason, pauseMs);
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    };
    child = host.lines(command, { line: (text) => void (closed || handlers.line(text)), end });
    handlers.started(child);
  }

  start();
  return {
    close() {
      closed = true;
      timer?.cancel();
      child?.close();
    },
  };
}
