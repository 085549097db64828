// The pause as the state folder keeps it: its end as wall time and the boot it belongs to, so that a reboot ends it.

import type { PassContext } from '../pass/types.ts';
import { bootId } from '../record/state.ts';

export interface PauseState {
  /** Wall time in ms since 1970. */
  readonly untilMs: number;
  readonly sinceMs: number;
  readonly bootId: string;
}

const NAME = 'pause';

/** The pause that holds now; undefined when there is none, its time is over or the host was booted since. */
export async function readPause({ files, host }: PassContext): Promise<PauseState | undefined> {
  const found = await files.state.read(NAME, isPause);
  if (found.kind !== 'found') return undefined;
  const pause = found.value;
  return pause.untilMs > host.clock.wallMs() && pause.bootId === (bootId(host) ?? 'unknown') ? pause : undefined;
}

export async function writePause({ files, host }: PassContext, forMs: number): Promise<PauseState> {
  const sinceMs = host.clock.wallMs();
  const pause: PauseState = { untilMs: sinceMs + forMs, sinceMs, bootId: bootId(host) ?? 'unknown' };
  await files.state.write(NAME, pause);
  return pause;
}

export async function endPause({ files }: PassContext): Promise<void> {
  await files.state.remove(NAME);
}

function isPause(value: Readonly<Record<string, unknown>>): value is Readonly<Record<string, unknown>> & PauseState {
  return (
    typeof value['untilMs'] === 'number' && typeof value['sinceMs'] === 'number' && typeof value['bootId'] === 'string'
  );
}
