// Carries out `[repair]`: asks a neighbour that has lost rules to put them back, or puts them back by text, and looks afterwards.
// Goals: nobody is asked who would have come back by itself, and nobody for ever.
// Guarantees: an owner has GRACE_MS to notice by itself (Docker after firewalld's reload needs 3 s), and nothing is done while a burst
// is open; at most MOST times an hour for each owner; one command at a time for each, 30 s, no shell; what came of it is said.
// Does not: hold up a pass. The command runs beside the queue: what it writes is heard and judged as always.

import type { Timer } from '../host/host.ts';
import {
  describeAction,
  familiesOf,
  lostOwners,
  type LostNow,
  type OwnerAction,
  ownerActions,
  reinsertText,
  type Repairs,
} from '../merge/owner-actions.ts';
import { readFamily, RESTORE } from '../observe/rulesets.ts';
import type { PassContext } from '../pass/types.ts';
import type { Family } from '../ruleset/types.ts';
import type { OwnerId } from '../ruleset/user-part.ts';

const GRACE_MS = 5_000;
const TIMEOUT_MS = 30_000;
const MOST = 3;
const WITHIN_MS = 60 * 60 * 1000;

export interface OwnerRepairs {
  /** After a pass at rest: who has lost rules is asked soon; of whom was asked it is said whether its rules stand. */
  look(): void;
  stop(): void;
}

export interface RepairWorld {
  readonly context: PassContext;
  readonly repairs: Repairs;
  /** Nobody writes, and nothing is paused. */
  readonly isQuiet: () => boolean;
  /** Asks for a pass. */
  readonly lookAgain: (reason: string) => void;
}

export const lostNow = ({ memory }: PassContext): LostNow => ({
  rules: memory.lost ?? [],
  tables: memory.lostTables ?? {},
});

export function openOwnerRepairs({ context, repairs, isQuiet, lookAgain }: RepairWorld): OwnerRepairs {
  const { clock, log } = context.host;
  const timers = new Map<OwnerId, Timer>();
  const running = new Set<OwnerId>();
  /** When each was asked, monotonic ms, and whose answer is awaited. */
  const times = new Map<OwnerId, number[]>();
  const awaited = new Set<OwnerId>();
  const givenUp = new Set<OwnerId>();

  function look(): void {
    const lost = lostOwners(lostNow(context));
    for (const owner of [...awaited, ...givenUp].filter((each) => !lost.has(each))) {
      log.write('notice', `${owner}'s rules stand again`);
      awaited.delete(owner);
      givenUp.delete(owner);
    }
    for (const { owner } of ownerActions(lostNow(context), repairs))
      if (!timers.has(owner) && !running.has(owner)) consider(owner);
  }

  function consider(owner: OwnerId): void {
    const now = clock.monoMs();
    const recent = (times.get(owner) ?? []).filter((time) => now - time < WITHIN_MS);
    times.set(owner, recent);
    if (recent.length < MOST) return plan(owner);
    if (!givenUp.has(owner))
      log.write('error', `${owner}'s rules are still missing after ${MOST} tries; it is not asked again for an hour`);
    givenUp.add(owner);
  }

  function plan(owner: OwnerId): void {
    const timer = clock.after(GRACE_MS, () => {
      timers.delete(owner);
      const action = ownerActions(lostNow(context), repairs).find((each) => each.owner === owner);
      if (action === undefined) return;
      if (!isQuiet()) return plan(owner);
      void act(action);
    });
    timers.set(owner, timer);
  }

  async function act(action: OwnerAction): Promise<void> {
    const { owner } = action;
    running.add(owner);
    awaited.add(owner);
    times.set(owner, [...(times.get(owner) ?? []), clock.monoMs()]);
    log.write('notice', `${owner} has lost rules: ${describeAction(action)}`);
    const trouble = await carryOut(context, action);
    if (trouble !== undefined) log.write('warning', `${describeAction(action)}: ${trouble}`);
    running.delete(owner);
    lookAgain(`${owner} was asked`);
  }

  return {
    look,
    stop: () => {
      for (const timer of timers.values()) timer.cancel();
      timers.clear();
    },
  };
}

/** Carries one action out. What went wrong; undefined: nothing that the program said. */
export async function carryOut(context: PassContext, action: OwnerAction): Promise<string | undefined> {
  const { host, memory } = context;
  memory.lost = (memory.lost ?? []).map((loss) => (loss.owner === action.owner ? { ...loss, asked: true } : loss));
  if (action.kind === 'reinsert') return reinsert(context, action);
  const [file, ...args] = action.command;
  const { exitCode, stderr } = await host.exec({ file, args, timeoutMs: TIMEOUT_MS });
  return exitCode === 0 ? undefined : whatItSaid(exitCode, stderr);
}

async function reinsert(
  context: PassContext,
  { losses }: Extract<OwnerAction, { kind: 'reinsert' }>,
): Promise<string | undefined> {
  for (const family of familiesOf(losses)) {
    const trouble = await reinsertFamily(context, family, losses);
    if (trouble !== undefined) return trouble;
  }
  return undefined;
}

async function reinsertFamily(
  { host, cache }: PassContext,
  family: Family,
  losses: Extract<OwnerAction, { kind: 'reinsert' }>['losses'],
): Promise<string | undefined> {
  const read = await readFamily(host, family);
  if (read.kind === 'unreadable') return read.why;
  const input = reinsertText(losses, read.ruleset, (name) => cache.interfaces.has(name));
  if (input === '') return undefined;
  const args = ['--noflush', '-w', '5'];
  const { exitCode, stderr } = await host.exec({ file: RESTORE[family], args, input, timeoutMs: TIMEOUT_MS });
  return exitCode === 0 ? undefined : whatItSaid(exitCode, stderr);
}

const whatItSaid = (exitCode: number, stderr: string): string =>
  `ended with ${exitCode}: ${stderr.split('\n').find((line) => line.trim() !== '') ?? 'it said nothing'}`;
