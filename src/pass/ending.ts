// How a pass ended, as far as the walk itself knows it.

import type { FamilyWork, TableWork, Waiting } from '../plan/family-plan.ts';
import type { Applied } from './apply.ts';
import type { Seen } from './observe.ts';

export type SeenRulesets = Extract<Seen, { kind: 'rulesets' }>;

/** What every ending knows: when it began, what was committed, and which texts the journal kept of what was replaced. */
interface Walked {
  readonly started: number;
  readonly done: readonly Applied[];
  readonly kept: ReadonlySet<string>;
}

/** What was read and worked out last, and what was done before. */
export type Ending =
  | (Walked & { readonly kind: 'unreadable'; readonly why: string })
  | (Walked & {
      readonly kind: 'failed';
      readonly seen: SeenRulesets | undefined;
      readonly work: readonly FamilyWork[];
      readonly held: readonly Waiting[];
    })
  | (Walked & {
      readonly kind: 'seen';
      readonly seen: SeenRulesets;
      readonly work: readonly FamilyWork[];
      readonly edits: readonly TableWork[];
      readonly held: readonly Waiting[];
      readonly rounds: number;
    });
