// Which pass runs next, and what it is told: the fast lane's look at what was touched, and the passes at rest.

import { type Heard, isNothing, joinHeard, NOTHING_HEARD } from './burst.ts';
import { contendedChains } from './contention.ts';
import type { Author } from '../events/types.ts';
import { describeAuthor } from '../observe/author.ts';
import { loaderOf, neighbourOf } from '../observe/author-kind.ts';
import type { PassRequest } from '../pass/types.ts';
import { LIBVIRT_QUIET_MS, type Next, quiet, type State, type Step } from './types.ts';

const BURST_CAP_MS = 10_000;

/** How long until the burst counts as over; 0 when it is, or when none is open. */
export function quietLeftMs({ burst, quietMs }: State, nowMs: number): number {
  if (burst === undefined) return 0;
  return Math.max(0, Math.min(burst.quietFromMs + quietMs, burst.startedMs + BURST_CAP_MS) - nowMs);
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

/** Fast lane: reads what was touched, now or as soon as the pass under way is done. */
export function look(state: State, nowMs: number): Step {
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

export function ask(state: State, next: Next, nowMs: number): Step {
  if (state.pausedUntilMs !== undefined) return quiet(state);
  if (state.running) return quiet({ ...state, next: stronger(state.next, next) });
  return start(state, next, nowMs);
}

const STRENGTH = { settled: 1, libvirt: 2, full: 3 };

function stronger(a: Next | undefined, b: Next): Next {
  return a === undefined || STRENGTH[b.kind] >= STRENGTH[a.kind] ? b : a;
}

export function start(state: State, next: Next, nowMs: number): Step {
  const base = baseRequest(state);
  const libvirtQuiet = nowMs - state.libvirtMs >= LIBVIRT_QUIET_MS || next.trigger === 'libvirt done';
  // A check by the clock inside a burst goes by what was heard; one because events were lost goes by the result.
  const byResult = state.missed || (next.kind === 'full' && isNothing(heard(state)));
  const request: PassRequest = {
    ...base,
    trigger: next.trigger,
    summaries: byResult ? undefined : base.summaries,
    native: byResult ? undefined : base.native,
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
function heard({ unsettled, burst }: State): Heard {
  if (isNothing(unsettled)) return burst ?? NOTHING_HEARD;
  return burst === undefined ? unsettled : joinHeard(unsettled, burst);
}

function baseRequest(state: State): Pick<PassRequest, 'mode' | 'dryRun' | 'summaries' | 'native' | 'standDown' | 'by'> {
  const { tables, native } = heard(state);
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
    native: state.settings.events ? native : undefined,
    standDown: contendedChains(state.contention),
    by: byOf(state),
  };
}

/** Within this time a hook of libvirt's speaks for the rules that changed around it. */
const HOOK_NEAR_MS = 2000;

/** Who wrote in the burst that is open, for people. */
export function byOf({ burst, hookMs }: State): string[] {
  if (burst === undefined) return [];
  const authors = burst.authors.map(describeWriter);
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

/** With whose it is, where the names of its processes and unit do not say it: `python3 pid 60 <- bash pid 3, ufw`. */
function describeWriter(author: Author): string {
  const text = describeAuthor(author);
  const loader = loaderOf(author)?.name;
  const name = loader ?? neighbourOf(author)?.name;
  if (name === undefined || text.includes(name)) return text;
  return loader === undefined ? `${text}, ${name}` : `${text}, a load by ${name}`;
}
