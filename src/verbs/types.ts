// What every verb works with and answers. A verb does not know who runs it: the daemon between two passes, or the command
// line under the pass lock. Results are plain JSON: they travel through the control socket as they are.

import type { Config } from '../config.ts';
import type { PassContext } from '../pass/types.ts';

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
  'file-exists',
  'nothing-to-accept',
  'unknown-pass',
  'ambiguous-pass',
  'not-paused',
  'on-trial',
  'nothing-on-trial',
  'trial-over',
  'would-cut',
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

/** Why there is no snapshot to work with: none was taken, or none of those taken is whole. */
export function noSnapshot({ damaged }: PassContext['memory']): Refusal {
  if (damaged === undefined || damaged[0] === undefined)
    return refused('no-snapshot', 'there is no snapshot yet; run `mendwall init` first (it changes no rule)');
  const others = damaged.length === 1 ? '' : `, and ${damaged.length - 1} older`;
  return refused(
    'damaged-snapshot',
    `no snapshot is whole: ${damaged[0].id}${others}: ${damaged[0].reason}; put its files back from a backup, or run \`mendwall init\`: it takes the live rules, changes none, and keeps what is left of the old ones`,
  );
}
