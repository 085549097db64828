// What a neighbour of the coexistence matrix is: a real program, and how it is driven. One file a neighbour.

import type { OwnerId } from '../../../src/ruleset/user-part.ts';

/**
 * The steps in the order in which they are taken. `wiped` is somebody else's `iptables -F`; `recover` is what the program's
 * owner is told to do then.
 */
export const STEPS = ['start', 'rewrite', 'reload', 'wiped', 'recover', 'stop'] as const;
export type Step = (typeof STEPS)[number];

/** Shell scripts (`sh -e`), run inside the private hypervisor. Each ends when the program has written its rules. */
export type Scripts = Readonly<Partial<Record<Exclude<Step, 'wiped'>, string>>>;

export interface LabNeighbour {
  readonly name: string;
  /** As whose its rules must count; undefined for a loader: what it loads is the user's. */
  readonly owner: OwnerId | undefined;
  /** Debian packages, unpacked for the lab by unpack.sh; the version of the first one is told. */
  readonly packages: readonly string[];
  /** A file that must be there inside: without it there is nothing to measure. */
  readonly program: string;
  /** Runs once, before the guard starts: configuration, nothing of netfilter. */
  readonly prepare?: string;
  /** A step without a script is not taken. */
  readonly steps: Scripts;
  /** What the program does by itself, whoever else is there, and what follows from it. For people. */
  readonly note?: string;
}

/** `until` for scripts: asks every 50 ms, for 15 s. */
export const WAIT = `
wait_for() {
  n=0
  until "$@" >/dev/null 2>&1; do n=$((n + 1)); [ $n -lt 300 ] || { echo "waited in vain for: $*" >&2; return 1; }; sleep 0.05; done
}
gone() { ! kill -0 "$1" 2>/dev/null; }
`;
