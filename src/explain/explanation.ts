// What became of a packet, with the rules that say so. Plain data.

import type { Packet } from './packet.ts';
import type { Hook, Place } from './program.ts';

export type Verdict = 'accept' | 'drop' | 'reject' | 'depends';

/** A rule whose matches hold. `certain` is false when something before it, or in it, depends. */
export interface Visit {
  readonly hook: Hook;
  readonly place: Place;
  readonly certain: boolean;
}

/** How a packet leaves one base chain: by a rule, or by the policy (a place without index). */
export interface Ending {
  readonly hook: Hook;
  readonly kind: 'accept' | 'drop' | 'reject';
  /** Of a reject: `icmp-port-unreachable`. */
  readonly how?: string;
  readonly place: Place;
  readonly certain: boolean;
  /** Set when the rule gave the flow new addresses. */
  readonly translated?: true;
  /** As it leaves. */
  readonly packet: Packet;
}

/** Something the rules ask that is not known, where it makes a difference. */
export interface Dependency {
  readonly why: string;
  readonly place?: Place;
}

export interface Explanation {
  /** `depends`: not every possible way ends the same. */
  readonly verdict: Verdict;
  /** What stopped the packet; for `accept` the last rule that accepted it, else the last policy. Undefined for `depends`. */
  readonly deciding: Ending | undefined;
  /** Every way out of every base chain passed, in order. */
  readonly endings: readonly Ending[];
  readonly trace: readonly Visit[];
  /** Each once; may hold some for a definite verdict, where all ways led to it. */
  readonly depends: readonly Dependency[];
  /** What may stop packets and was not evaluated. */
  readonly unseen: readonly string[];
}
