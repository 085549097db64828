// `restore`: the user's rules of a snapshot back into the live ruleset, exactly, merged around today's neighbours.

import { runPass } from '../pass.ts';
import type { Outcome, PassContext } from '../pass/types.ts';
import { readParts, type UserRules } from '../record/memory.ts';
import { userPartOf } from '../classify/classify.ts';
import type { Family } from '../ruleset/types.ts';
import { emptyPart, type UserPart } from '../ruleset/user-part.ts';
import { familyOf, handRequest, neighboursAreQuiet, readLive, readOnly } from './hand.ts';
import { readLiveNative } from './native.ts';
import { allRulesGone, type DroppedRule } from './snapshot.ts';
import { loadSnapshot } from './snapshots.ts';
import { type Refusal, refused, type World } from './types.ts';

export interface RestoreArgs {
  readonly ref: string;
  readonly dryRun: boolean;
  /** Go on although live rules are taken out. */
  readonly yes: boolean;
}

/** `asks`: nothing was done; live rules would be taken out, and `yes` was not given. */
export interface RestoreResult {
  readonly kind: 'restore' | 'asks';
  readonly changed: boolean;
  readonly id: string;
  /** Live rules of the user's that are not in the snapshot. */
  readonly dropped: readonly DroppedRule[];
  /** Rules of the snapshot that are not live now. */
  readonly returned: readonly DroppedRule[];
  readonly outcome: Outcome | undefined;
}

export async function restore(world: World, args: RestoreArgs): Promise<RestoreResult | Refusal> {
  const { context, config } = world;
  const loaded = await loadSnapshot(context.files.store, args.ref);
  if (loaded.kind === 'refused') return loaded;
  const notes: string[] = [];
  const parts = readParts(loaded.content.user, `snapshot ${loaded.id}`, notes);
  if (notes.length > 0) return refused('damaged-snapshot', notes.join('; '));
  const live = await readLive(context);
  if (live.kind === 'refused') return live;
  if (live.mixed !== undefined) return refused('mixed-engines', `${live.mixed}; nothing is written`);
  const native = await readLiveNative(context);
  if (native.kind === 'refused') return native;
  const partNow = (family: Family): UserPart => {
    const seen = familyOf(live, family);
    return seen === undefined ? emptyPart(family) : userPartOf(seen.classified);
  };
  const now = { ip: partNow('ip'), ip6: partNow('ip6'), native: native.part };
  const dropped = allRulesGone(now, parts);
  const returned = allRulesGone(parts, now);
  const result = { id: loaded.id, dropped, returned };
  if (args.dryRun) return { kind: 'restore', changed: false, ...result, outcome: await preview(context, parts) };
  if (dropped.length > 0 && !args.yes) return { kind: 'asks', changed: false, ...result, outcome: undefined };
  const quiet = await neighboursAreQuiet(context);
  const outcome = await takeAndApply(context, parts, {
    trigger: 'restore',
    message: `snapshot ${loaded.id}`,
    repair: quiet && config.repair,
  });
  return { kind: 'restore', changed: outcome.changed, ...result, outcome };
}

/** What putting `parts` in place would edit; writes nothing. */
export async function preview(context: PassContext, parts: UserRules): Promise<Outcome> {
  const memory = { ...context.memory, wish: parts, waiting: [], replaced: [] };
  return runPass(
    { ...readOnly(context), memory },
    { ...handRequest('merge', { dryRun: true }), authority: 'snapshot' },
  );
}

/** The parts become the newest snapshot; then one pass in which they are the only voice. */
export async function takeAndApply(
  context: PassContext,
  parts: UserRules,
  how: { readonly trigger: string; readonly message: string; readonly repair: boolean },
): Promise<Outcome> {
  const { memory, files } = context;
  memory.waiting = [];
  delete memory.waitingNative;
  const id = await files.takeSnapshot(memory, parts, memory.known.ip !== undefined, {
    trigger: how.trigger,
    message: how.message,
  });
  await context.journal.append({ event: 'snapshot', trigger: how.trigger, id, message: how.message, by: ['hand'] });
  return runPass(context, {
    ...handRequest('merge', { trigger: how.trigger, repair: how.repair }),
    authority: 'snapshot',
  });
}
