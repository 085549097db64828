// What the daemon's mind holds, hears and asks for.

import { type Burst, type Heard, NOTHING_HEARD } from './burst.ts';
import type { Contention, ContentionSettings } from './contention.ts';
import type { GuardEvent } from '../events/types.ts';
import type { Mode, Outcome, PassRequest } from '../pass/types.ts';
import type { Family, TableName } from '../ruleset/types.ts';

export interface MachineSettings {
  readonly mode: Mode;
  readonly repair: boolean;
  /** The kernel tells who did what (nft engine); on the legacy engine a pass goes by the result alone. */
  readonly events: boolean;
  readonly contention: ContentionSettings;
}

export type TimerName = 'settle' | 'libvirt' | 'resume' | 'age' | 'retry';

export interface Place {
  readonly family: Family;
  readonly table: TableName;
}

/** A flush or load that took libvirt's part along, and what happened since. */
export interface Wipe {
  readonly atMs: number;
  /** libvirt (or firewalld, whose `Reloaded` makes it) wrote after the wipe: overlapping repairs are wrong. */
  readonly libvirtSince: boolean;
}

export interface State {
  readonly settings: MachineSettings;
  readonly burst: Burst | undefined;
  readonly running: boolean;
  /** What the pass under way goes by, when it is to end a burst. */
  readonly settling: Heard;
  /** What bursts said whose last pass failed: it counts until one succeeds. */
  readonly unsettled: Heard;
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
  /** libvirt was asked as often as it may be, and is not whole since: what is missing by the result is no new wipe. */
  readonly gaveUp: boolean;
  readonly pausedUntilMs: number | undefined;
  readonly contention: Contention;
  readonly restoredMs: readonly number[];
  /** The quiet that ends a burst, in ms: grows with the ruleset. */
  readonly quietMs: number;
  readonly chainsWithUserRules: ReadonlySet<string>;
}

export interface Next {
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

export function initialState(settings: MachineSettings): State {
  return {
    settings,
    burst: undefined,
    running: false,
    settling: NOTHING_HEARD,
    unsettled: NOTHING_HEARD,
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
    gaveUp: false,
    pausedUntilMs: undefined,
    contention: new Map(),
    restoredMs: [],
    quietMs: 50,
    chainsWithUserRules: new Set(),
  };
}

/** libvirt is quiet when it has not written for so long (measured: 230 ms at most within one rewrite). */
export const LIBVIRT_QUIET_MS = 500;

/** Nothing is asked for. */
export const quiet = (state: State): Step => ({ state, effects: [] });

/** One step after another. */
export function join(first: Step, more: (state: State) => Step): Step {
  const second = more(first.state);
  return { state: second.state, effects: [...first.effects, ...second.effects] };
}
