// The daemon's mind: (state, input, time) -> state and effects. Pure; guard.ts carries the effects out.
// Two speeds. Fast lane: a touched table is read at once, and a displacement or a whole-table load is dealt with; anything
// that lacks user rules waits for the burst's end. Slow lane: libvirt's own part is judged when libvirt has been quiet.
// libvirt's part is never put back while libvirt may be rebuilding it (measured: overlapping leaves rules doubled or lost).

import { addCommit, type Burst, joinTables, openBurst } from './burst.ts';
import {
  ageContention,
  type Contention,
  type ContentionSettings,
  contendedChains,
  noteDisplacement,
  restorePauseMs,
} from './contention.ts';
import type { Commit, GuardEvent } from './events/types.ts';
import { describeAuthor } from './observe/author.ts';
import { neighbourOf } from './observe/author-kind.ts';
import type { Drift } from './merge/drift.ts';
import { isLibvirts, isNeighbourChain } from './owners/index.ts';
import type { Mode, Outcome, PassRequest } from './pass-types.ts';
import type { Family, TableName } from './ruleset/types.ts';

export interface MachineSettings {
  readonly mode: Mode;
  readonly repair: boolean;
  /** The kernel tells who did what (nft engine); on the legacy engine a pass goes by the result alone. */
  readonly events: boolean;
  readonly contention: ContentionSettings;
}

type TimerName = 'settle' | 'libvirt' | 'resume' | 'age' | 'retry';

interface Place {
  readonly family: Family;
  readonly table: TableName;
}

/** A flush or load that took libvirt's part along, and what happened since. */
interface Wipe {
  readonly atMs: number;
  /** libvirt (or firewalld, whose `Reloaded` makes it) wrote after the wipe: overlapping repairs are wrong. */
  readonly libvirtSince: boolean;
}

export interface State {
  readonly settings: MachineSettings;
  readonly burst: Burst | undefined;
  readonly running: boolean;
  /** What the pass under way goes by, when it is to end a burst. */
  readonly settling: Burst['tables'];
  /** What bursts said whose last pass failed: it counts until one succeeds. */
  readonly unsettled: Burst['tables'];
  /** Passes at rest that failed in a row, and how the last one is tried again. */
  readonly failures: number;
  /** Something may have happened unheard: until a pass at rest succeeds, what stands is judged by its result. */
  readonly missed: boolean;
  /** Tables to look at as soon as no pass is under way. */
  readonly touched: readonly Place[];
  /** Tables that lack user rules: not looked at again before the burst is over. */
  readonly waiting: readonly Place[];
  /** A pass to run next, after the one under way. */
  readonly next: Next | undefined;
  readonly wipe: Wipe | undefined;
  readonly libvirtMs: number;
  /** When a libvirt hook last ran. */
  readonly hookMs: number;
  readonly libvirtBusySinceMs: number | undefined;
  readonly reloadsAsked: number;
  readonly pausedUntilMs: number | undefined;
  readonly contention: Contention;
  readonly restoredMs: readonly number[];
  /** The quiet that ends a burst, in ms: grows with the ruleset. */
  readonly quietMs: number;
  readonly chainsWithUserRules: ReadonlySet<string>;
}

interface Next {
  readonly kind: 'settled' | 'libvirt' | 'full';
  readonly trigger: string;
}

export type Input =
  | { readonly kind: 'event'; readonly event: GuardEvent }
  /** `writerLives`: the process that wrote last has not ended, or the script that flushed the rules in this burst still runs. */
  | { readonly kind: 'timer'; readonly name: TimerName; readonly writerLives?: boolean }
  | { readonly kind: 'pass-done'; readonly request: PassRequest; readonly outcome: Outcome }
  | { readonly kind: 'facts'; readonly rules: number; readonly chainsWithUserRules: ReadonlySet<string> }
  | { readonly kind: 'pause'; readonly untilMs: number }
  | { readonly kind: 'resume' };

export type Effect =
  | { readonly kind: 'pass'; readonly request: PassRequest }
  | { readonly kind: 'timer'; readonly name: TimerName; readonly ms: number }
  | { readonly kind: 'stop-timer'; readonly name: TimerName }
  | {
      readonly kind: 'log';
      readonly level: 'debug' | 'info' | 'notice' | 'warning' | 'error';
      readonly message: string;
    }
  | { readonly kind: 'poke-libvirt-dbus' }
  /** Ask libvirt to rebuild: firewalld's `Reloaded`, to libvirt's own bus names only. */
  | { readonly kind: 'ask-libvirt' };

export interface Step {
  readonly state: State;
  readonly effects: readonly Effect[];
}

const LIBVIRT_QUIET_MS = 500;
const LIBVIRT_CAP_MS = 5000;
const BURST_CAP_MS = 10_000;
const WRITER_CHECK_MS = 10;
/** A pass that failed is tried again after 1, 2, 4 ... 60 s, whatever the backstop does. */
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 60_000;
const MOST_RELOADS = 3;
const BIG_RULESET = 5000;
/** So many rules of a neighbour's gone at once are no single deletion by hand. */
const LOST_BY_WIPE = 3;

export function initialState(settings: MachineSettings): State {
  return {
    settings,
    burst: undefined,
    running: false,
    settling: new Map(),
    unsettled: new Map(),
    failures: 0,
    missed: false,
    touched: [],
    waiting: [],
    next: undefined,
    wipe: undefined,
    libvirtMs: Number.NEGATIVE_INFINITY,
    hookMs: Number.NEGATIVE_INFINITY,
    libvirtBusySinceMs: undefined,
    reloadsAsked: 0,
    pausedUntilMs: undefined,
    contention: new Map(),
    restoredMs: [],
    quietMs: 50,
    chainsWithUserRules: new Set(),
  };
}

/** One input; `nowMs` is monotonic. */
export function step(state: State, input: Input, nowMs: number): Step {
  switch (input.kind) {
    case 'event':
      return onEvent(state, input.event, nowMs);
    case 'timer':
      return onTimer(state, input.name, input.writerLives === true, nowMs);
    case 'pass-done':
      return onPassDone(state, input.request, input.outcome, nowMs);
    case 'facts':
      return quiet({
        ...state,
        quietMs: input.rules >= BIG_RULESET || !state.settings.events ? 150 : 50,
        chainsWithUserRules: input.chainsWithUserRules,
      });
    case 'pause':
      return {
        state: { ...state, pausedUntilMs: input.untilMs },
        effects: [{ kind: 'timer', name: 'resume', ms: Math.max(0, input.untilMs - nowMs) }],
      };
    case 'resume':
      // Differences made meanwhile are pending, as if heard one by one; whole-table wipes are mended.
      return ask(
        { ...state, pausedUntilMs: undefined, burst: undefined },
        { kind: 'settled', trigger: 'resume' },
        nowMs,
      );
  }
}

const quiet = (state: State): Step => ({ state, effects: [] });

function join(first: Step, more: (state: State) => Step): Step {
  const second = more(first.state);
  return { state: second.state, effects: [...first.effects, ...second.effects] };
}

// --- events ----------------------------------------------------------------------------------------------------

function onEvent(state: State, event: GuardEvent, nowMs: number): Step {
  switch (event.kind) {
    case 'touched':
      return onTouched(state, event, nowMs);
    case 'commit':
      return onCommit(state, event.commit, nowMs);
    case 'look':
      return ask({ ...state, missed: true }, { kind: 'full', trigger: event.reason }, nowMs);
    case 'legacy-changed':
      return onLegacyChanged(state, nowMs);
    case 'hook':
      return onHook({ ...state, hookMs: nowMs }, event.object, event.operation, nowMs);
    case 'network':
      return event.change === 'started' || event.change === 'stopped' ? libvirtDone(state, nowMs) : quiet(state);
    case 'firewalld':
      return libvirtBusy(state, nowMs);
    case 'unit':
      return onUnit(state, event.unit, nowMs);
    case 'domain':
      return quiet(state);
    case 'backstop':
      return ask(state, { kind: 'full', trigger: 'backstop' }, nowMs);
  }
}

function onTouched(
  state: State,
  { family, table, chain }: Extract<GuardEvent, { kind: 'touched' }>,
  nowMs: number,
): Step {
  // Chains that neighbours keep for themselves and in which the user has nothing cannot displace a user rule.
  if (chain !== undefined && isNeighbourChain(chain) && !state.chainsWithUserRules.has(`${family} ${table} ${chain}`))
    return quiet(state);
  if (state.waiting.some((place) => place.family === family && place.table === table)) return quiet(state);
  return look({ ...state, touched: addPlace(state.touched, { family, table }) }, nowMs);
}

function addPlace(places: readonly Place[], place: Place): readonly Place[] {
  return places.some((other) => other.family === place.family && other.table === place.table)
    ? places
    : [...places, place];
}

function onCommit(state: State, commit: Commit, nowMs: number): Step {
  if (commit.changes.length === 0) return quiet(state);
  const burst = addCommit(state.burst ?? openBurst(nowMs), commit, nowMs);
  const wiped = commit.changes.some((change) => isWipeOf(burst, change));
  const byLibvirt = burst.libvirtMs === nowMs && burst.libvirt !== undefined;
  const byFirewalld = neighbourOf(commit.author)?.name === 'firewalld';
  const wipe = wiped
    ? { atMs: nowMs, libvirtSince: byFirewalld }
    : state.wipe === undefined
      ? undefined
      : { ...state.wipe, libvirtSince: state.wipe.libvirtSince || byLibvirt || byFirewalld };
  const replaced = commit.changes.filter((change) => change.deletesTable && change.addsTable);
  const waiting = state.waiting.filter(
    (place) => !replaced.some((change) => change.family === place.family && change.table === place.table),
  );
  const touched = replaced.reduce((places, change) => addPlace(places, change), state.touched);
  const usersConcern = burst.authors[0] === commit.author;
  let result: Step = { state: { ...state, burst, wipe, waiting, touched }, effects: [] };
  // Another neighbour's rewrite of its own chains is over soon, too, and what stands then is its word.
  if (usersConcern || !byLibvirt) result = join(result, (next) => armSettle(next, nowMs));
  if (byLibvirt) result = join(result, (next) => libvirtWrote(next, nowMs));
  return replaced.length > 0 ? join(result, (next) => look(next, nowMs)) : result;
}

function isWipeOf(
  burst: Burst,
  change: Place & {
    readonly deletesTable: boolean;
    readonly rulesDeleted: number;
    readonly ruleChains: readonly string[];
  },
): boolean {
  const summary = burst.tables.get(`${change.family} ${change.table}`);
  const usersChains = change.ruleChains.some((chain) => !isNeighbourChain(chain));
  return change.deletesTable || (summary?.wiped === true && usersChains && change.rulesDeleted > 0);
}

/**
 * After a flush or a load the quiet counts from the end of the writer and of the script that called it, so they are watched
 * (measured: `iptables -F` returns 15-30 ms after its commit, under load much later; then the script's next command comes).
 */
function armSettle(state: State, nowMs: number): Step {
  const left = quietLeftMs(state, nowMs);
  const watched = state.burst?.wiped === true && state.burst.quietFromMs === nowMs;
  return { state, effects: [{ kind: 'timer', name: 'settle', ms: watched ? Math.min(WRITER_CHECK_MS, left) : left }] };
}

/** How long until the burst counts as over; 0 when it is, or when none is open. */
function quietLeftMs({ burst, quietMs }: State, nowMs: number): number {
  if (burst === undefined) return 0;
  return Math.max(0, Math.min(burst.quietFromMs + quietMs, burst.startedMs + BURST_CAP_MS) - nowMs);
}

function onSettle(state: State, writerLives: boolean, nowMs: number): Step {
  const burst = state.burst === undefined || !writerLives ? state.burst : { ...state.burst, quietFromMs: nowMs };
  const next = { ...state, burst };
  if (quietLeftMs(next, nowMs) > 0) return armSettle(next, nowMs);
  const pauseMs = burst?.wiped === true ? restorePauseMs(state.restoredMs, nowMs, state.settings.contention) : 0;
  const since = state.restoredMs.at(-1) ?? Number.NEGATIVE_INFINITY;
  if (pauseMs > 0 && nowMs - since < pauseMs)
    return { state: next, effects: [{ kind: 'timer', name: 'settle', ms: pauseMs - (nowMs - since) }] };
  return ask(next, { kind: 'settled', trigger: 'settled' }, nowMs);
}

function onLegacyChanged(state: State, nowMs: number): Step {
  const burst = { ...(state.burst ?? openBurst(nowMs)), quietFromMs: nowMs };
  const touched = [
    { family: 'ip' as const, table: 'filter' },
    { family: 'ip6' as const, table: 'filter' },
  ];
  const armed = armSettle({ ...state, burst, touched, waiting: [] }, nowMs);
  // Who it was is not known: it may be libvirt, whose new rules are remembered, and after a wipe waited for.
  return join(
    join(armed, (next) => libvirtWrote(next, nowMs)),
    (next) => look(next, nowMs),
  );
}

function onHook(state: State, object: string, operation: string, nowMs: number): Step {
  const complete = object === 'network' && ['started', 'updated', 'stopped'].includes(operation);
  if (complete) return libvirtDone(state, nowMs);
  // `daemon start` and `daemon reload` run before libvirt rewrites; libvirt-dbus is mute after a start until it is called.
  if (object === 'daemon')
    return join(libvirtBusy(state, nowMs), (next) => ({ state: next, effects: [{ kind: 'poke-libvirt-dbus' }] }));
  return object === 'network' ? libvirtBusy(state, nowMs) : quiet(state);
}

function onUnit(state: State, unit: string, nowMs: number): Step {
  if (!/^(?:libvirtd|virtnetworkd|virtqemud|firewalld)\.service$/.test(unit)) return quiet(state);
  return join(libvirtBusy(state, nowMs), (next) => ({ state: next, effects: [{ kind: 'poke-libvirt-dbus' }] }));
}

// --- libvirt's own part ----------------------------------------------------------------------------------------

function libvirtWrote(state: State, nowMs: number): Step {
  const busySince = state.libvirtBusySinceMs ?? nowMs;
  const ms = Math.max(0, Math.min(LIBVIRT_QUIET_MS, busySince + LIBVIRT_CAP_MS - nowMs));
  return {
    state: { ...state, libvirtMs: nowMs, libvirtBusySinceMs: busySince },
    effects: [{ kind: 'timer', name: 'libvirt', ms }],
  };
}

/** libvirt is about to rewrite, or was told to. */
function libvirtBusy(state: State, nowMs: number): Step {
  const wipe = state.wipe === undefined ? undefined : { ...state.wipe, libvirtSince: true };
  return libvirtWrote({ ...state, wipe }, nowMs);
}

/** libvirt says that it is done: no need to wait for quiet. */
function libvirtDone(state: State, nowMs: number): Step {
  const stopped: Step = { state, effects: [{ kind: 'stop-timer', name: 'libvirt' }] };
  return join(stopped, (next) => ask(next, { kind: 'libvirt', trigger: 'libvirt done' }, nowMs));
}

/** Nobody has written to the user's part since the burst that is being judged. Goes by whole commits: a first line may be ours. */
export function isStillOver({ burst }: State): boolean {
  return burst === undefined || burst.authors.length === 0;
}

/** libvirt's part may go back by text: it went with a wipe, and libvirt has not begun to rebuild it. */
export function mayRepair(state: State, nowMs: number): boolean {
  if (!state.settings.repair || state.wipe === undefined) return false;
  return (state.settings.events && !state.wipe.libvirtSince) || nowMs - state.libvirtMs >= LIBVIRT_QUIET_MS;
}

// --- passes ----------------------------------------------------------------------------------------------------

/** Fast lane: reads what was touched, now or as soon as the pass under way is done. */
function look(state: State, nowMs: number): Step {
  if (state.running || state.touched.length === 0 || state.pausedUntilMs !== undefined) return quiet(state);
  const request: PassRequest = {
    ...baseRequest(state),
    trigger: 'event',
    scope: state.touched,
    burstOver: false,
    repair: mayRepair(state, nowMs),
    neighboursQuiet: false,
  };
  return { state: { ...state, running: true, touched: [] }, effects: [{ kind: 'pass', request }] };
}

function ask(state: State, next: Next, nowMs: number): Step {
  if (state.pausedUntilMs !== undefined) return quiet(state);
  if (state.running) return quiet({ ...state, next: stronger(state.next, next) });
  return start(state, next, nowMs);
}

const STRENGTH = { settled: 1, libvirt: 2, full: 3 };

function stronger(a: Next | undefined, b: Next): Next {
  return a === undefined || STRENGTH[b.kind] >= STRENGTH[a.kind] ? b : a;
}

function start(state: State, next: Next, nowMs: number): Step {
  const base = baseRequest(state);
  const libvirtQuiet = nowMs - state.libvirtMs >= LIBVIRT_QUIET_MS || next.trigger === 'libvirt done';
  // A check by the clock inside a burst goes by what was heard; one because events were lost goes by the result.
  const byResult = state.missed || (next.kind === 'full' && heard(state).size === 0);
  const request: PassRequest = {
    ...base,
    trigger: next.trigger,
    summaries: byResult ? undefined : base.summaries,
    scope: undefined,
    // Nothing is restored between the rules of a new ruleset, whoever asks for the pass.
    burstOver: quietLeftMs(state, nowMs) === 0,
    capped: state.burst !== undefined && nowMs - state.burst.startedMs >= BURST_CAP_MS,
    repair: mayRepair(state, nowMs),
    neighboursQuiet: libvirtQuiet && state.wipe === undefined,
  };
  const started = {
    ...state,
    running: true,
    touched: [],
    waiting: [],
    next: undefined,
    settling: request.burstOver ? heard(state) : state.settling,
    missed: request.burstOver ? false : state.missed,
    burst: request.burstOver ? undefined : state.burst,
  };
  return { state: started, effects: [{ kind: 'pass', request }] };
}

/** What was heard and not yet dealt with. */
function heard({ unsettled, burst }: State): Burst['tables'] {
  if (unsettled.size === 0) return burst?.tables ?? unsettled;
  return burst === undefined ? unsettled : joinTables(unsettled, burst.tables);
}

function baseRequest(state: State): Pick<PassRequest, 'mode' | 'dryRun' | 'summaries' | 'standDown' | 'by'> {
  const tables = heard(state);
  return {
    mode: state.settings.mode,
    dryRun: false,
    summaries: !state.settings.events
      ? undefined
      : (family) =>
          new Map(
            [...tables]
              .filter(([key]) => key.startsWith(`${family} `))
              .map(([key, summary]) => [key.slice(family.length + 1), summary]),
          ),
    standDown: contendedChains(state.contention),
    by: byOf(state),
  };
}

/** Within this time a hook of libvirt's speaks for the rules that changed around it. */
const HOOK_NEAR_MS = 2000;

/** Who wrote in the burst that is open, for people. */
export function byOf({ burst, hookMs }: State): string[] {
  if (burst === undefined) return [];
  const authors = burst.authors.map((author) => describeAuthor(author));
  const sinceHookMs = burst.libvirtMs - hookMs;
  const hook =
    Math.abs(sinceHookMs) > HOOK_NEAR_MS
      ? ''
      : `, hook ${Math.abs(Math.round(sinceHookMs))} ms ${sinceHookMs < 0 ? 'after' : 'before'}`;
  const libvirt =
    burst.libvirtAuthor !== undefined
      ? [`${burst.libvirtCommits} commits of libvirt's, one by ${describeAuthor(burst.libvirtAuthor)}${hook}`]
      : burst.libvirt === 'inferred'
        ? [`libvirtd (inferred: only its rules${hook})`]
        : [];
  return [...new Set([...authors, ...libvirt])];
}

function onPassDone(state: State, request: PassRequest, outcome: Outcome, nowMs: number): Step {
  const atRest = request.burstOver && outcome.overtaken !== true;
  const waiting = outcome.tables
    .filter((table) => table.decision === 'wait')
    .map(({ family, table }) => ({ family, table }));
  const idle = { ...state, running: false, waiting: atRest ? [] : [...state.waiting, ...waiting] };
  let result = countRivals(idle, outcome, nowMs);
  if (atRest) result = join(result, (next) => wipeByResult(next, request, outcome, nowMs));
  if (atRest) result = join(result, (next) => settleRepair(next, request, outcome, nowMs));
  if (request.burstOver) result = join(result, (next) => keepEvidence(next, request, outcome));
  return join(result, (next) => {
    if (next.next !== undefined) return start(next, next.next, nowMs);
    return look(next, nowMs);
  });
}

/**
 * A pass that failed decided nothing: what it went by is kept, and it is tried again. Without this a wipe that could not be
 * mended at once would look like the user's deletions as soon as somebody adds a rule.
 */
function keepEvidence(state: State, request: PassRequest, outcome: Outcome): Step {
  const done = { ...state, settling: new Map() };
  // The burst that goes on is judged together with this one.
  const missed = state.missed || request.summaries === undefined;
  if (outcome.overtaken === true) return quiet({ ...done, missed, unsettled: state.settling });
  if (outcome.kind !== 'failed' && outcome.kind !== 'unreadable')
    return {
      state: { ...done, unsettled: new Map(), failures: 0 },
      effects: state.failures === 0 ? [] : [{ kind: 'stop-timer', name: 'retry' }],
    };
  const ms = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(state.failures, 10));
  return {
    state: {
      ...done,
      unsettled: state.settling,
      failures: state.failures + 1,
      // Where nothing was heard, the result alone can tell.
      missed: missed || state.settling.size === 0,
    },
    effects: [{ kind: 'timer', name: 'retry', ms }],
  };
}

/** Without events a wipe is known by its result; libvirt's part goes back after a quiet, since libvirt may be at it. */
function wipeByResult(state: State, request: PassRequest, outcome: Outcome, nowMs: number): Step {
  if (request.summaries !== undefined || state.wipe !== undefined) return quiet(state);
  const lost = outcome.drift.filter(isLibvirtsLoss).length;
  const decided = outcome.tables.some(
    (table) => table.decision === 'wipe' || table.decision === 'load' || table.decision === 'replaced',
  );
  if (lost === 0 || (!decided && lost < LOST_BY_WIPE)) return quiet(state);
  return {
    state: { ...state, wipe: { atMs: nowMs, libvirtSince: nowMs - state.libvirtMs < LIBVIRT_QUIET_MS } },
    effects: [{ kind: 'timer', name: 'libvirt', ms: LIBVIRT_QUIET_MS }],
  };
}

/** What other neighbours lost is reported, never repaired. */
function isLibvirtsLoss({ kind, owner }: Drift): boolean {
  return (kind === 'foreign-lost' || kind === 'foreign-unhooked') && isLibvirts(owner);
}

function countRivals(state: State, outcome: Outcome, nowMs: number): Step {
  const chainOf = (drift: Drift): string => `${drift.family} ${drift.table} ${drift.chain}`;
  const left = contendedChains(state.contention);
  const displaced = [...outcome.mended, ...outcome.drift.filter((drift) => left.has(chainOf(drift)))].filter(
    (drift) => drift.kind === 'displaced',
  );
  let contention = state.contention;
  const effects: Effect[] = [];
  for (const drift of displaced) {
    const noted = noteDisplacement(contention, chainOf(drift), drift.owner, nowMs, state.settings.contention);
    contention = noted.contention;
    if (noted.change !== undefined) {
      const who = outcome.by[0] === undefined ? '' : ` (last by ${outcome.by[0]})`;
      effects.push({
        kind: 'log',
        level: 'warning',
        message: `contended ${noted.change.chain}: ${noted.change.rival}${who} keeps changing the order; it is left alone until the rival is quiet`,
      });
      effects.push({ kind: 'timer', name: 'age', ms: state.settings.contention.windowMs });
    }
  }
  const restored =
    outcome.changed && outcome.mended.some((drift) => drift.kind === 'lost')
      ? [...state.restoredMs.slice(-16), nowMs]
      : state.restoredMs;
  return { state: { ...state, contention, restoredMs: restored }, effects };
}

/** Copies in libvirt's own chains that it did not write, or no longer wants: they go when it is quiet. */
function hasCopies({ drift }: Outcome): boolean {
  return drift.some((each) => each.kind === 'stale' && each.owner === 'libvirt');
}

function repairWhenQuiet(state: State, nowMs: number): Step {
  const wipe = { atMs: nowMs, ...state.wipe, libvirtSince: true };
  const ms = Math.max(1, LIBVIRT_QUIET_MS - (nowMs - state.libvirtMs));
  return { state: { ...state, wipe }, effects: [{ kind: 'timer', name: 'libvirt', ms }] };
}

/** After a pass at rest: is libvirt's part whole? If not, and libvirt is quiet, it is asked to rebuild; bounded. */
function settleRepair(state: State, request: PassRequest, outcome: Outcome, nowMs: number): Step {
  if (outcome.kind === 'unreadable' || outcome.kind === 'failed') return quiet(state);
  const lost = outcome.drift.filter(isLibvirtsLoss);
  const overlapped = state.wipe?.libvirtSince === true;
  if (lost.length === 0) {
    if (!request.repair && mayWrite(state) && hasCopies(outcome)) return repairWhenQuiet(state, nowMs);
    // After an overlap libvirt's own memory may be wrong although its rules are right: one Reloaded puts both right.
    if (overlapped && request.repair && outcome.changed && state.reloadsAsked === 0 && mayWrite(state))
      return askLibvirt(state, nowMs, 'it was rebuilding while its rules were put back');
    const whole = request.neighboursQuiet || state.wipe === undefined || nowMs - state.libvirtMs >= LIBVIRT_QUIET_MS;
    return quiet(whole ? { ...state, wipe: undefined, libvirtBusySinceMs: undefined, reloadsAsked: 0 } : state);
  }
  if (!mayWrite(state) || state.wipe === undefined || nowMs - state.libvirtMs < LIBVIRT_QUIET_MS) return quiet(state);
  // By text first (guests are out 130 ms instead of 700, measured); what text could not put right is asked for.
  if (!request.repair) return { state, effects: [{ kind: 'timer', name: 'libvirt', ms: LIBVIRT_QUIET_MS }] };
  if (state.reloadsAsked >= MOST_RELOADS) {
    const message = `libvirt's rules are incomplete after ${MOST_RELOADS} requests to rebuild: ${lost.length} missing, first ${lost[0]?.table} ${lost[0]?.chain} ${lost[0]?.text}`;
    return {
      state: { ...state, wipe: undefined, reloadsAsked: 0 },
      effects: [{ kind: 'log', level: 'error', message }],
    };
  }
  return askLibvirt(state, nowMs, `${lost.length} of its rules are missing`);
}

const mayWrite = (state: State): boolean => state.settings.mode === 'merge' && state.settings.repair;

function askLibvirt(state: State, nowMs: number, why: string): Step {
  const asked = libvirtBusy({ ...state, reloadsAsked: state.reloadsAsked + 1, libvirtBusySinceMs: undefined }, nowMs);
  const effects: Effect[] = [
    { kind: 'ask-libvirt' },
    { kind: 'log', level: 'notice', message: `asked libvirt to rebuild its rules: ${why}` },
  ];
  return { state: asked.state, effects: [...asked.effects, ...effects] };
}

// --- timers ----------------------------------------------------------------------------------------------------

function onTimer(state: State, name: TimerName, writerLives: boolean, nowMs: number): Step {
  switch (name) {
    case 'settle':
      return onSettle(state, writerLives, nowMs);
    case 'libvirt':
      return ask({ ...state, libvirtBusySinceMs: undefined }, { kind: 'libvirt', trigger: 'libvirt quiet' }, nowMs);
    case 'retry':
      return ask(state, { kind: 'settled', trigger: 'retry' }, nowMs);
    case 'resume':
      return join({ state, effects: [{ kind: 'log', level: 'notice', message: 'the pause is over' }] }, (next) =>
        step(next, { kind: 'resume' }, nowMs),
      );
    case 'age': {
      const aged = ageContention(state.contention, nowMs, state.settings.contention);
      const effects = aged.changes.map((change): Effect => ({
        kind: 'log',
        level: 'notice',
        message: `no longer contended ${change.chain}: ${change.rival} is quiet`,
      }));
      const next = { ...state, contention: aged.contention };
      if (aged.changes.length === 0 && aged.contention.size > 0)
        return { state: next, effects: [{ kind: 'timer', name: 'age', ms: state.settings.contention.windowMs / 4 }] };
      return join({ state: next, effects }, (after) =>
        effects.length > 0 ? ask(after, { kind: 'settled', trigger: 'recovered' }, nowMs) : quiet(after),
      );
    }
  }
}
