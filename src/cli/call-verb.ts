// How a command gets a writing verb done: by the daemon when one answers, else in this process under the pass lock.

import type { Config } from '../config.ts';
import { acquireLock, type LockHolder } from '../host/lock.ts';
import { callControl, type CallOutcome } from '../host/socket.ts';
import type { VerbName } from '../verbs/dispatch.ts';
import type { DaemonStatus } from '../verbs/status.ts';
import type { Refusal } from '../verbs/types.ts';
import { EXIT, Stop } from './exit-codes.ts';
import { contextOf, openConfig, openHost, requireRoot, type Session, unlessRefused } from './session.ts';

/** Within this a daemon says that it is there. */
export const DAEMON_ANSWERS_MS = 5_000;
/** A verb waits for the pass under way, a burst's end and the neighbours' quiet. */
const VERB_TIMEOUT_MS = 120_000;
export const DEFAULT_WAIT_MS = 10_000;

export function socketPath(config: Pick<Config, 'runDir'>): string {
  return `${config.runDir}/control.sock`;
}

/** What the daemon says of itself; undefined when none runs. Throws Stop 4 for one that does not answer. */
export async function askDaemon(config: Config): Promise<DaemonStatus | undefined> {
  const outcome = await callControl(socketPath(config), { schema: 1, verb: 'status', args: {} }, DAEMON_ANSWERS_MS);
  if (outcome.kind === 'silent') throw new Stop(EXIT.busy, silence(config));
  return outcome.kind === 'answer' && outcome.answer.ok ? (outcome.answer.result as DaemonStatus) : undefined;
}

function silence(config: Config): string {
  return `mendwall run listens at ${socketPath(config)} but did not answer in ${DAEMON_ANSWERS_MS / 1000} s; see: systemctl status mendwall`;
}

/** `--wait SECONDS` in ms. Throws Stop 2. */
export function waitMs({ options }: Session): number {
  if (options.wait === undefined) return DEFAULT_WAIT_MS;
  const seconds = Number(options.wait);
  if (!Number.isFinite(seconds) || seconds < 0)
    throw new Stop(EXIT.usage, `--wait: expected seconds, as in 10, found "${options.wait}"`);
  return seconds * 1000;
}

/**
 * Runs a verb and gives its result. `T` is the verb's result type. Throws Stop: 4 busy or silent, 7 not root, and what the
 * verb's refusal means.
 */
export async function callVerb<T extends { readonly kind: string }>(
  session: Session,
  verb: VerbName,
  args: Readonly<Record<string, unknown>>,
): Promise<Exclude<T, Refusal>> {
  requireRoot(session, `mendwall ${verb}`);
  const { config } = await openConfig(session, verb === 'init');
  const daemon = await askDaemon(config);
  const result =
    daemon === undefined ? await runHere<T>(session, config, verb, args) : await runThere<T>(config, verb, args);
  return unlessRefused<T>(result);
}

async function runThere<T>(config: Config, verb: VerbName, args: Readonly<Record<string, unknown>>): Promise<T> {
  const outcome: CallOutcome = await callControl(socketPath(config), { schema: 1, verb, args }, VERB_TIMEOUT_MS);
  if (outcome.kind !== 'answer')
    throw new Stop(EXIT.busy, `the daemon ended or hung while it did this; see: mendwall status`);
  if (!outcome.answer.ok)
    throw new Stop(EXIT.drift, `the daemon could not do it: ${outcome.answer.code}: ${outcome.answer.message}`);
  return outcome.answer.result as T;
}

async function runHere<T>(
  session: Session,
  config: Config,
  verb: VerbName,
  args: Readonly<Record<string, unknown>>,
): Promise<T> {
  const host = openHost(session, config);
  await host.files.makeDir(config.runDir);
  const lock = await acquireLock({
    runDir: config.runDir,
    name: 'pass',
    waitMs: waitMs(session),
    command: `mendwall ${verb}`,
    netns: session.inside?.netns.inode,
  });
  if (lock.kind === 'busy')
    throw new Stop(EXIT.busy, `${describeHolder(lock.holder)} holds the lock; nothing was done`);
  try {
    // Only now: the holder before us may have written the state folder.
    const context = await contextOf(session, host, config);
    const { runVerb } = await import('../verbs/dispatch.ts');
    return (await runVerb({ context, config }, verb, args)) as T;
  } finally {
    await lock.release();
    await host.close();
  }
}

/** `mendwall run (pid 812)` */
export function describeHolder(holder: LockHolder | undefined): string {
  return holder === undefined ? 'another mendwall' : `${holder.command} (pid ${holder.pid})`;
}
