// What is heard: commits and touched chains of the kernel, hooks and signals of libvirt's, and the quiet after them.

import { addCommit, type Burst, openBurst } from './burst.ts';
import { type Contention, noteWrite, restorePauseMs } from './contention.ts';
import type { Commit, GuardEvent } from '../events/types.ts';
import { neighbourOf } from '../observe/author-kind.ts';
import { isNeighbourChain } from '../owners/index.ts';
import { libvirtBusy, libvirtDone, libvirtWrote } from './libvirt.ts';
import { ask, look, quietLeftMs } from './passes.ts';
import { concerns, takesLibvirts } from './native.ts';
import { type Effect, join, LIBVIRT_QUIET_MS, type Place, quiet, type State, type Step } from './types.ts';

const WRITER_CHECK_MS = 10;
const LIBVIRT_LATER: Effect = { kind: 'timer', name: 'libvirt', ms: LIBVIRT_QUIET_MS };

export function onEvent(state: State, event: GuardEvent, nowMs: number): Step {
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
  if (commit.changes.length === 0 && !concerns(commit)) return quiet(state);
  const burst = addCommit(state.burst ?? openBurst(nowMs), commit, nowMs);
  const takes = takesLibvirts(commit);
  const wiped = takes || commit.changes.some((change) => isWipeOf(burst, change));
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
  const contention = noteWrites(state.contention, commit, nowMs);
  let result: Step = { state: { ...state, burst, wipe, waiting, touched, contention }, effects: [] };
  // Another neighbour's rewrite of its own chains is over soon, too, and what stands then is its word.
  if (usersConcern || !byLibvirt) result = join(result, (next) => armSettle(next, nowMs));
  if (byLibvirt) result = join(result, (next) => libvirtWrote(next, nowMs));
  // Only libvirt writes its nftables rules anew: it is asked, once it is known not to be at it by itself.
  if (takes) result = join(result, (next) => ({ state: next, effects: [LIBVIRT_LATER] }));
  return replaced.length > 0 ? join(result, (next) => look(next, nowMs)) : result;
}

function noteWrites(contention: Contention, commit: Commit, nowMs: number): Contention {
  if (contention.size === 0) return contention;
  const chains = commit.changes.flatMap(({ family, table, ruleChains }) =>
    ruleChains.map((chain) => `${family} ${table} ${chain}`),
  );
  return chains.reduce((noted, chain) => noteWrite(noted, chain, nowMs), contention);
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

export function onSettle(state: State, writerLives: boolean, nowMs: number): Step {
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
  const contention = [...state.contention.keys()].reduce(
    (noted, chain) => noteWrite(noted, chain, nowMs),
    state.contention,
  );
  const armed = armSettle({ ...state, burst, touched, waiting: [], contention }, nowMs);
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
