// The daemon: one queue, one worker, timers; carries out what machine.ts asks for.
// Guarantees: one pass or one command at a time; stopping leaves every rule in place; an error in one pass is logged and
// the next event starts another. Does not: decide anything.

import { openSources, type SourceOptions, type Sources } from './guard/sources.ts';
import { step } from './machine.ts';
import { byOf, isStillOver, mayRepair } from './machine/passes.ts';
import { type Effect, initialState, type Input, type MachineSettings, type State } from './machine/types.ts';
import { askLibvirtToRebuild } from './guard/libvirt-ask.ts';
import type { GuardEvent, SourceHealth } from './events/types.ts';
import { HostError, type Timer } from './host/host.ts';
import { concernsLibvirt, isOwn } from './guard/own-commits.ts';
import { outcomeReporter } from './guard/report.ts';
import { failedOutcome } from './pass/outcome.ts';
import { runPass } from './pass.ts';
import { letGoOfPins } from './pass/pin-owner.ts';
import { dropPins, type PinReport } from './pass/pin.ts';
import type { Outcome, PassContext, PassRequest } from './pass/types.ts';
import { countRules, type UserPart } from './ruleset/user-part.ts';
import { FAMILIES } from './ruleset/types.ts';
import { armSentinels, dropSentinels } from './guard/sentinels.ts';
import { afterRepair } from './guard/flows.ts';
import { openNotifier } from './guard/notify.ts';
import { openOwnerRepairs } from './guard/owner-repairs.ts';
import type { Repairs } from './merge/owner-actions.ts';

export interface GuardOptions extends SourceOptions, Omit<MachineSettings, 'events'> {
  readonly fixConntrack: boolean;
  /** `[user] pin_drops`. */
  readonly pinDrops: boolean;
  /** `[repair]`. Default: nobody is asked. */
  readonly repairs?: Repairs;
  /** `[user] pin_owner`; without pins nothing. Default false. */
  readonly pinOwner?: boolean;
  /** Left of a pause that a command began before this start. */
  readonly pausedForMs: number | undefined;
  /** Speaks for the process to systemd. Default true. */
  readonly notifies?: boolean;
  /** How many guards share the processor's time for regular checks. Default 1. */
  readonly sharing?: () => number;
}

export interface GuardStatus {
  readonly mode: string;
  readonly running: boolean;
  readonly pausedForMs: number | undefined;
  readonly contended: readonly string[];
  readonly burst: boolean;
  /** What is waited for: `settle`, `libvirt`, `resume`, `age`, `retry`. */
  readonly timers: readonly string[];
  readonly sources: readonly SourceHealth[];
  readonly lastOutcome: Outcome | undefined;
  /** What is pinned, and where pinning stopped. */
  readonly pins: PinReport;
  readonly startedAtMs: number;
  readonly passes: number;
}

/** What the control socket may ask of the running daemon. */
export interface GuardApi {
  status(): GuardStatus;
  /** Runs a command between two passes; then looks at everything again. */
  exclusive<T>(job: (context: PassContext) => Promise<T>): Promise<T>;
  pause(forMs: number): void;
  resume(): void;
}

export interface Guard extends GuardApi {
  /** Starts listening and looks at everything once. */
  start(): Promise<void>;
  /** Ends after the pass under way; all rules stay. `gone`: the namespace is to end, which our listeners would keep alive. */
  stop(gone?: 'gone'): Promise<void>;
}

export function createGuard(context: PassContext, options: GuardOptions): Guard {
  const { clock, log } = context.host;
  const timers = new Map<string, Timer>();
  const notifier = options.notifies === false ? openNotifier(context.host, {}) : openNotifier(context.host);
  const startedAtMs = clock.wallMs();
  let sources: Sources | undefined;
  let state: State = initialState({ ...options, events: true });
  let queue: Promise<void> = Promise.resolve();
  let lastOutcome: Outcome | undefined;
  const report = outcomeReporter(log);
  let passes = 0;
  let stopped = false;
  let knownWish: unknown;
  const keepsPins = options.pinDrops && options.mode === 'merge';
  const ownerRepairs = openOwnerRepairs({
    context,
    repairs: options.mode === 'merge' ? (options.repairs ?? {}) : {},
    isQuiet: () => state.burst === undefined && !state.running && state.pausedUntilMs === undefined,
    lookAgain: (reason) => feed({ kind: 'event', event: { kind: 'look', reason } }),
  });

  function feed(input: Input): void {
    if (stopped) return;
    const result = step(state, input, clock.monoMs());
    state = result.state;
    for (const effect of result.effects) carryOut(effect);
  }

  function carryOut(effect: Effect): void {
    switch (effect.kind) {
      case 'pass':
        return enqueue(() =>
          pass({
            ...effect.request,
            byNow: () => byOf(state),
            overNow: () => isStillOver(state),
            repairNow: () => mayRepair(state, clock.monoMs()),
          }),
        );
      case 'timer':
        timers.get(effect.name)?.cancel();
        timers.set(
          effect.name,
          clock.after(effect.ms, () => {
            timers.delete(effect.name);
            feed({ kind: 'timer', name: effect.name, writerLives: effect.name === 'settle' && writerLives() });
          }),
        );
        return;
      case 'stop-timer':
        timers.get(effect.name)?.cancel();
        timers.delete(effect.name);
        return;
      case 'log':
        return log.write(effect.level, effect.message);
      case 'poke-libvirt-dbus':
        return sources?.poke();
      case 'ask-libvirt':
        return enqueue(askLibvirt);
    }
  }

  /** The last writer, or the script that flushed the rules: as long as either runs, more is to come. */
  function writerLives(): boolean {
    const { script, authors } = state.burst ?? {};
    const runs = ({ pid, comm }: { readonly pid: number; readonly comm: string }): boolean =>
      context.host.proc.read(`${options.procfs}/${pid}/comm`)?.trim() === comm;
    return [script, authors?.[0]].some((process) => process !== undefined && runs(process));
  }

  function enqueue(job: () => Promise<void>): void {
    queue = queue
      .then(job)
      .catch((error: unknown) =>
        log.write(
          'error',
          `internal error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
        ),
      );
  }

  async function pass(request: PassRequest): Promise<void> {
    let done: Outcome | undefined;
    try {
      // No pass runs while paused, so none stand then.
      context.pins.watched = keepsPins;
      done = await runPass(context, request);
      passes++;
      if (request.scope === undefined) await context.files.keep(context.memory);
      await afterRepair(context, done, options.fixConntrack);
    } catch (error) {
      // A file that cannot be written or read is told once, with the outcome; anything else is a fault of ours.
      if (done === undefined && error instanceof HostError) done = { ...failedOutcome(request), why: error.message };
      else log.write('error', `the pass failed: ${error instanceof Error ? error.message : String(error)}`);
    }
    const outcome = done ?? failedOutcome(request);
    report(outcome, request);
    lastOutcome = outcome;
    // What a hanging program cost says nothing about the next check.
    const failed = outcome.kind === 'failed' || outcome.kind === 'unreadable';
    if (request.scope === undefined && !failed)
      sources?.backstop.reportCost(outcome.durationMs * (options.sharing?.() ?? 1));
    tellFacts();
    feed({ kind: 'pass-done', request, outcome });
    if (request.mode !== 'merge' || request.scope !== undefined || !request.burstOver || failed) return;
    ownerRepairs.look();
    // At rest, so that the next mend is one read and one commit.
    await armSentinels(context);
  }

  function tellFacts(): void {
    if (context.memory.wish === knownWish) return;
    knownWish = context.memory.wish;
    const parts = FAMILIES.map((family) => context.memory.wish[family]);
    feed({
      kind: 'facts',
      rules: parts.reduce((sum, part) => sum + countRules(part), 0),
      chainsWithUserRules: new Set(parts.flatMap(chainsWithUserRules)),
    });
  }

  async function askLibvirt(): Promise<void> {
    const asked = await askLibvirtToRebuild(context.host, options.bus);
    if (asked.kind === 'nobody') log.write('warning', `libvirt could not be asked to rebuild its rules: ${asked.why}`);
  }

  const lookForPins = (): void => feed({ kind: 'event', event: { kind: 'look', reason: 'pins without owner' } });

  function onEvent(event: GuardEvent): void {
    if (isOwn(context, event)) return;
    if (concernsLibvirt(event)) context.cache.stale = true;
    feed({ kind: 'event', event });
  }

  return {
    async start() {
      sources = await openSources(context, options);
      state = initialState({ ...options, events: sources.kernelEvents });
      tellFacts();
      if (keepsPins && options.pinOwner === true) context.pins.hold.wanted = { lost: lookForPins };
      if (!keepsPins || options.pausedForMs !== undefined) await dropPins(context);
      if (options.pausedForMs !== undefined) feed({ kind: 'pause', untilMs: clock.monoMs() + options.pausedForMs });
      await sources.start({
        event: onEvent,
        health: (health) =>
          log.write(
            health.state === 'degraded' ? 'warning' : 'debug',
            `${health.source}: ${health.state}: ${health.detail}`,
          ),
      });
      feed({ kind: 'event', event: { kind: 'look', reason: 'start' } });
      await notifier.ready();
    },
    async stop(gone) {
      await notifier.stopping();
      for (const timer of timers.values()) timer.cancel();
      ownerRepairs.stop();
      stopped = true;
      if (gone !== undefined) await Promise.all([sources?.close(), letGoOfPins(context)]);
      await queue;
      if (gone !== undefined) return;
      await sources?.close();
      await dropPins(context);
      await dropSentinels(context);
    },
    status: () => ({
      mode: options.mode,
      running: state.running,
      pausedForMs: state.pausedUntilMs === undefined ? undefined : Math.max(0, state.pausedUntilMs - clock.monoMs()),
      contended: [...state.contention].filter(([, rivalry]) => rivalry.contended).map(([chain]) => chain),
      burst: state.burst !== undefined,
      timers: [...timers.keys()],
      sources: [...(sources?.health.values() ?? [])],
      lastOutcome,
      pins: context.pins.report,
      startedAtMs,
      passes,
    }),
    exclusive: (job) =>
      new Promise((resolve, reject) => {
        enqueue(async () => {
          try {
            resolve(await job(context));
          } catch (error) {
            reject(error instanceof Error ? error : new Error(String(error)));
          }
          tellFacts();
        });
      }),
    pause: (forMs) => {
      feed({ kind: 'pause', untilMs: clock.monoMs() + forMs });
      enqueue(() => dropPins(context));
    },
    resume: () => feed({ kind: 'resume' }),
  };
}

function chainsWithUserRules(part: UserPart): string[] {
  return [...part.tables.values()].flatMap((table) =>
    [...table.chains.values()]
      .filter((chain) => chain.items.some((item) => item.kind === 'rule'))
      .map((chain) => `${part.family} ${table.name} ${chain.name}`),
  );
}
