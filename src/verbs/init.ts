// `init`: the first snapshot, from the live rules or from rule files. Changes no live rule.
// As found: a user rule that stands hidden below a neighbour's verdict is said, not moved; waking a dead DROP could cut the
// guests off. `place: 'above'` is the user's decision to wake them.

import { type Classified, classify, neighbourPartOf, userPartOf } from '../classify/classify.ts';
import type { Drift } from '../merge/drift.ts';
import { libvirtReference } from '../merge/libvirt-reference.ts';
import { lossesOf } from '../merge/repair.ts';
import { shadowedIn } from '../merge/shadowed.ts';
import type { PassContext } from '../pass/types.ts';
import { guestBridgeTest } from '../plan/family-plan.ts';
import { type UserRules, userTexts } from '../record/memory.ts';
import { snapshotId } from '../record/snapshot-id.ts';
import { FAMILIES, type Family } from '../ruleset/types.ts';
import type { UserPart } from '../ruleset/user-part.ts';
import { familyOf, neighboursAreQuiet, readLive, type SeenRulesets } from './hand.ts';
import { lowerSlots } from './init-place.ts';
import { type LeftOut, leftOut, leftOutNative, type TakenChain, takenChains, takenNative } from './init-report.ts';
import { type LiveNative, readLiveNative } from './native.ts';
import { readRulesFile, type RulesFile } from './rules-file.ts';
import { type Refusal, refused, type World } from './types.ts';

export interface InitArgs {
  readonly from: readonly string[];
  readonly place: 'as-found' | 'above';
  /** Replace an existing snapshot. */
  readonly force: boolean;
  readonly dryRun: boolean;
}

export interface InitResult {
  readonly kind: 'init';
  readonly changed: boolean;
  readonly id: string;
  readonly from: Readonly<Record<Family, string>>;
  readonly taken: readonly TakenChain[];
  readonly left: readonly LeftOut[];
  readonly shadowed: readonly Drift[];
  readonly neighbours: 'complete' | 'partial';
  /** Chains whose slot of libvirt's was put lower than it stands. */
  readonly moved: readonly string[];
}

interface Source {
  readonly name: string;
  readonly classified: Classified;
}

export async function init(world: World, args: InitArgs): Promise<InitResult | Refusal> {
  const { context } = world;
  if (context.memory.snapshotId !== undefined && !args.force) {
    return refused(
      'snapshot-exists',
      `there is a snapshot already (${context.memory.snapshotId}); \`mendwall snapshot\` adopts the live rules, \`mendwall init --force\` begins anew`,
    );
  }
  const files: RulesFile[] = [];
  for (const path of args.from) {
    const read = await readRulesFile(context, path);
    if (read.kind === 'refused') return read;
    files.push(read);
  }
  const quiet = await neighboursAreQuiet(context);
  const live = await readLive(context);
  if (live.kind === 'refused') return live;
  const native = await readLiveNative(context);
  return native.kind === 'refused' ? native : take(world, args, { ...live, native }, files, quiet);
}

type Live = SeenRulesets & { readonly native: LiveNative };

async function take(
  world: World,
  args: InitArgs,
  live: Live,
  files: readonly RulesFile[],
  quiet: boolean,
): Promise<InitResult> {
  const { context } = world;
  const sources: Record<Family, Source> = { ip: sourceOf(live, files, 'ip'), ip6: sourceOf(live, files, 'ip6') };
  const found: Record<Family, UserPart> = {
    ip: userPartOf(sources.ip.classified),
    ip6: userPartOf(sources.ip6.classified),
  };
  const isGuestBridge = guestBridgeTest(live.networks);
  const lowered = FAMILIES.map((family) =>
    args.place === 'above' ? lowerSlots(found[family], isGuestBridge) : { part: found[family], moved: [] },
  );
  const user = { ip: lowered[0]?.part ?? found.ip, ip6: lowered[1]?.part ?? found.ip6, native: live.native.part };
  const complete =
    quiet &&
    live.families.every(
      ({ family, classified }) =>
        lossesOf(libvirtReference(family, live.networks ?? [], classified), classified).length === 0,
    );
  if (!args.dryRun) await save(context, live, user, complete, args);
  return {
    kind: 'init',
    changed: !args.dryRun,
    id: args.dryRun ? idOf(user) : (context.memory.snapshotId ?? ''),
    from: { ip: sources.ip.name, ip6: sources.ip6.name },
    taken: [...FAMILIES.flatMap((family) => takenChains(user[family])), ...takenNative(user.native)],
    left: [
      ...FAMILIES.flatMap((family) => leftOut(sources[family].classified)),
      ...leftOutNative(live.native.classified),
    ],
    shadowed: live.families.flatMap(({ family, classified }) =>
      [...classified.tables.values()].flatMap((table) => shadowedIn(family, table, live.networks ?? [])),
    ),
    neighbours: complete ? 'complete' : 'partial',
    moved: lowered.flatMap(({ moved }) => moved),
  };
}

function sourceOf(live: SeenRulesets, files: readonly RulesFile[], family: Family): Source {
  const file = files.find((each) => each.ruleset.family === family);
  if (file !== undefined) return { name: file.path, classified: classify(file.ruleset, live.networks) };
  return {
    name: 'live',
    classified: familyOf(live, family)?.classified ?? classify({ family, tables: new Map() }, undefined),
  };
}

async function save(
  context: PassContext,
  live: SeenRulesets,
  user: UserRules,
  complete: boolean,
  args: InitArgs,
): Promise<void> {
  const { memory, files } = context;
  if (complete) {
    const part = (family: Family) => {
      const seen = familyOf(live, family);
      return seen === undefined ? undefined : neighbourPartOf(seen.classified);
    };
    memory.known = { ip: part('ip'), ip6: part('ip6') };
    memory.lost = [];
    memory.lostTables = {};
    await files.saveKnown(memory);
  }
  memory.waiting = [];
  delete memory.waitingNative;
  const message = args.from.length > 0 ? `from ${args.from.join(', ')}` : 'from the live rules';
  const id = await files.takeSnapshot(memory, user, complete, { trigger: 'init', message });
  await context.journal.append({ event: 'snapshot', trigger: 'init', id, message, by: ['hand'] });
}

/** The id a snapshot of these rules would have. */
export const idOf = (user: UserRules): string => snapshotId(userTexts(user));
