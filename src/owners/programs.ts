// The programs of all owners: who is known by its process. What they are is said in each owner's own file.

import type { OwnerId } from '../ruleset/user-part.ts';
import { OWNERS } from './index.ts';
import type { Program } from './types.ts';

/** In the order in which owners are asked. */
export const PROGRAMS: readonly { readonly owner: OwnerId; readonly program: Program }[] = OWNERS.flatMap((owner) =>
  (owner.programs ?? []).map((program) => ({ owner: owner.id, program })),
);
