// The exit codes of cli.md. An unknown code means failure.

import type { Drift } from '../merge/drift.ts';
import type { Outcome } from '../pass/types.ts';
import type { Refusal, RefusalCode } from '../verbs/types.ts';

export const EXIT = {
  ok: 0,
  drift: 1,
  usage: 2,
  noDaemon: 3,
  busy: 4,
  refused: 5,
  rolledBack: 6,
  needsRoot: 7,
  contended: 8,
} as const;

const BY_REFUSAL: Readonly<Record<RefusalCode, number>> = {
  'no-snapshot': EXIT.usage,
  'snapshot-exists': EXIT.refused,
  'unknown-snapshot': EXIT.usage,
  'ambiguous-snapshot': EXIT.usage,
  'bad-snapshot-name': EXIT.usage,
  'damaged-snapshot': EXIT.refused,
  'unreadable-rules': EXIT.refused,
  'mixed-engines': EXIT.refused,
  'bad-rules-file': EXIT.usage,
  'no-such-file': EXIT.usage,
  'file-exists': EXIT.refused,
  'nothing-to-accept': EXIT.usage,
  'unknown-pass': EXIT.usage,
  'ambiguous-pass': EXIT.usage,
  'not-paused': EXIT.ok,
  'on-trial': EXIT.refused,
  'nothing-on-trial': EXIT.ok,
  'trial-over': EXIT.rolledBack,
  'would-cut': EXIT.refused,
};

export function exitOfRefusal(code: RefusalCode): number {
  return BY_REFUSAL[code];
}

/**
 * `shadowed` rules stand as they were found, and moving them is the user's decision; `blocked` traffic is no deviation
 * from the snapshot, and may be meant. So they alone are no failure.
 */
export function exitOfDrift(drift: readonly Drift[]): number {
  if (drift.some(({ kind }) => kind === 'contended')) return EXIT.contended;
  return drift.some(({ kind }) => kind !== 'shadowed' && kind !== 'blocked') ? EXIT.drift : EXIT.ok;
}

/** Of the last pass of a command: what is left decides, not what was done. */
export function exitOfOutcome(outcome: Outcome | undefined): number {
  switch (outcome?.kind) {
    case undefined:
      return EXIT.ok;
    case 'unreadable':
      return EXIT.refused;
    case 'failed':
      return /xtables lock/.test(outcome.why ?? '') ? EXIT.busy : EXIT.drift;
    case 'would-mend':
      return /both engines/.test(outcome.why ?? '') ? EXIT.refused : EXIT.drift;
    case 'mended':
    case 'unchanged':
    case 'waiting-for-quiet':
      return exitOfDrift(outcome.drift);
  }
}

/** Ends a command with one message for standard error and an exit code. */
export class Stop extends Error {
  readonly exitCode: number;
  constructor(exitCode: number, message: string) {
    super(message);
    this.name = 'Stop';
    this.exitCode = exitCode;
  }
}

/** A refusal as the end of a command. */
export function stopFor(refusal: Refusal): Stop {
  return new Stop(exitOfRefusal(refusal.code), refusal.message);
}
