// The trial as the state folder keeps it: rules that were applied and wait to be confirmed, what stood before them, and when
// they go again. The end is kept as the host's uptime with the boot it belongs to: setting the clock moves nothing, and
// after a reboot a trial is over.

import type { PassContext } from '../pass/types.ts';
import { readParts, type UserRules, userTexts } from '../record/memory.ts';
import { bootId } from '../record/state.ts';
import type { Host } from '../host/host.ts';
import type { UserTexts } from '../record/snapshot-id.ts';
import { type Refusal, refused } from './types.ts';

export interface Trial {
  readonly id: string;
  readonly bootId: string;
  /** Uptime in ms at which it is rolled back. */
  readonly endsUptimeMs: number;
  /** Wall time of its start, ms since 1970; for people. */
  readonly sinceMs: number;
  /** What was applied, in words. */
  readonly what: string;
  /** The snapshot before, and its rules; the wish before (with what was pending), and what was replaced. */
  readonly before: {
    readonly snapshotId: string;
    readonly snapshot: UserTexts;
    readonly wish: UserTexts;
    readonly replaced: readonly string[];
  };
}

const NAME = 'trial';

/** The trial that is open, due or not; undefined when there is none. A damaged one is moved aside, with a warning. */
export async function readTrial({ files, host }: PassContext): Promise<Trial | undefined> {
  const found = await files.state.read(NAME, isTrial);
  if (found.kind === 'damaged')
    host.log.write(
      'warning',
      `the record of rules on trial is damaged: ${found.reason}; nothing is rolled back by itself`,
    );
  return found.kind === 'found' ? found.value : undefined;
}

export interface NewTrial {
  readonly id: string;
  readonly forMs: number;
  readonly what: string;
}

export async function writeTrial(context: PassContext, { id, forMs, what }: NewTrial): Promise<Trial> {
  const { files, host, memory } = context;
  const trial: Trial = {
    id,
    bootId: bootId(host) ?? 'unknown',
    endsUptimeMs: uptimeMs(host) + forMs,
    sinceMs: host.clock.wallMs(),
    what,
    before: {
      snapshotId: memory.snapshotId ?? '',
      snapshot: userTexts(memory.snapshot),
      wish: userTexts(memory.wish),
      replaced: memory.replaced,
    },
  };
  await files.state.write(NAME, trial);
  return trial;
}

export async function endTrial({ files }: PassContext): Promise<void> {
  await files.state.remove(NAME);
}

/** ms until it is rolled back; 0 when it is due, a reboot included. */
export function leftMs(host: Host, trial: Trial): number {
  if (trial.bootId !== (bootId(host) ?? 'unknown')) return 0;
  return Math.max(0, trial.endsUptimeMs - uptimeMs(host));
}

/** The rules before the trial; `notes` says what could not be read of them. */
export function rulesBefore({ id, before }: Trial, notes: string[]): { snapshot: UserRules; wish: UserRules } {
  return {
    snapshot: readParts(before.snapshot, `trial ${id}, the snapshot before`, notes),
    wish: readParts(before.wish, `trial ${id}, the rules before`, notes),
  };
}

/** For a verb that has to wait for the end of it. */
export function stillOnTrial({ host }: PassContext, trial: Trial): Refusal {
  const left = Math.ceil(leftMs(host, trial) / 1000);
  return refused(
    'on-trial',
    `${trial.what} is on trial (${left} s left): \`mendwall confirm\` keeps it, \`mendwall rollback\` takes it back`,
  );
}

/** ms since boot, suspend included; /proc/uptime has hundredths of seconds: `812.34 3021.12`. Where it cannot be read: the process's clock. */
export function uptimeMs({ proc, clock }: Host): number {
  const seconds = Number(proc.read('/proc/uptime')?.split(' ')[0]);
  return seconds > 0 ? seconds * 1000 : clock.monoMs();
}

function isTrial(value: Readonly<Record<string, unknown>>): value is Readonly<Record<string, unknown>> & Trial {
  const before = value['before'];
  return (
    typeof value['id'] === 'string' &&
    typeof value['bootId'] === 'string' &&
    typeof value['endsUptimeMs'] === 'number' &&
    typeof before === 'object' &&
    before !== null &&
    'snapshot' in before &&
    'wish' in before &&
    'replaced' in before
  );
}
