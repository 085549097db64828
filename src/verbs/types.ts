// What every verb works with and answers. A verb does not know who runs it: the daemon between two passes, or the command
// line under the pass lock. Results are plain JSON: they travel through the control socket as they are.

import type { Config } from '../config.ts';
import type { PassContext } from '../pass-types.ts';

export interface World {
  readonly context: PassContext;
  readonly config: Config;
}

/** Why a verb did nothing. Each code has a row in docs/errors.md and an exit code in cli/exit-codes.ts. */
export const REFUSAL_CODES = [
  'no-snapshot',
  'snapshot-exists',
  'unknown-snapshot',
  'ambiguous-snapshot',
  'bad-snapshot-name',
  'damaged-snapshot',
  'unreadable-rules',
  'mixed-engines',
  'bad-rules-file',
  'no-such-file',
  'nothing-to-accept',
  'unknown-pass',
  'ambiguous-pass',
  'not-paused',
] as const;
export type RefusalCode = (typeof REFUSAL_CODES)[number];

export interface Refusal {
  readonly kind: 'refused';
  readonly code: RefusalCode;
  /** Complete for a person, with the next command to run where there is one. */
  readonly message: string;
}

export function refused(code: RefusalCode, message: string): Refusal {
  return { kind: 'refused', code, message };
}

export const NO_SNAPSHOT = refused(
  'no-snapshot',
  'there is no snapshot yet; run `mendwall init` first (it changes no rule)',
);
