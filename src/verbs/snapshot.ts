// `snapshot`: the live user rules become the new snapshot; what was pending is adopted, what waits is kept.

import type { ClassifiedTable } from '../classify/classify.ts';
import { userTableOf } from '../classify/classify.ts';
import { liveOrder } from '../merge/merge.ts';
import { reslot } from '../merge/reslot.ts';
import { weave } from '../merge/weave.ts';
import { guestBridgeTest } from '../plan/family-plan.ts';
import type { UserRules, WaitingRule } from '../record/memory.ts';
import { missingFrom } from '../ruleset/multiset.ts';
import { countNativeRules } from '../ruleset/nft/native-part.ts';
import type { NftFamily } from '../ruleset/nft/types.ts';
import { FAMILIES, type Family } from '../ruleset/types.ts';
import {
  countRules,
  emptyPart,
  ruleTexts,
  type UserChain,
  type UserPart,
  type UserTable,
} from '../ruleset/user-part.ts';
import { familyOf, neighboursAreQuiet, readLive, type SeenRulesets } from './hand.ts';
import { idOf } from './init.ts';
import { adoptedNative, nativeRulesGone, readLiveNative } from './native.ts';
import { noSnapshot, type Refusal, type World } from './types.ts';

export interface SnapshotArgs {
  readonly message: string;
  readonly dryRun: boolean;
  /** Go on although rules of the latest snapshot are dropped. */
  readonly yes: boolean;
}

export interface DroppedRule {
  /** A native table's own family. */
  readonly family: NftFamily;
  readonly table: string;
  readonly chain: string;
  readonly text: string;
}

/** `native` only where there are native tables. */
export type RuleCounts = Readonly<Record<Family, number>> & { readonly native?: number };

/** Of all the user's rules. */
export function countsOf({ ip, ip6, native }: UserRules): RuleCounts {
  const counts = { ip: countRules(ip), ip6: countRules(ip6) };
  return native.size === 0 ? counts : { ...counts, native: countNativeRules(native) };
}

/** `asks`: nothing was done; rules would be dropped, and `yes` was not given. */
export interface SnapshotResult {
  readonly kind: 'snapshot' | 'asks';
  readonly changed: boolean;
  readonly id: string;
  readonly rules: RuleCounts;
  readonly dropped: readonly DroppedRule[];
  readonly added: readonly DroppedRule[];
}

export async function snapshot(world: World, args: SnapshotArgs): Promise<SnapshotResult | Refusal> {
  const { context } = world;
  const { memory, files } = context;
  if (memory.snapshotId === undefined) return noSnapshot(memory);
  const complete = args.dryRun ? false : await neighboursAreQuiet(context);
  const live = await readLive(context);
  if (live.kind === 'refused') return live;
  const native = await readLiveNative(context);
  if (native.kind === 'refused') return native;
  const user = {
    ip: adopted(world, live, 'ip'),
    ip6: adopted(world, live, 'ip6'),
    native: adoptedNative(native, memory),
  };
  const result = {
    id: idOf(user),
    rules: countsOf(user),
    dropped: allRulesGone(memory.snapshot, user),
    added: allRulesGone(user, memory.snapshot),
  };
  const asks = result.dropped.length > 0 && !args.yes && !args.dryRun;
  if (asks || args.dryRun) return { kind: asks ? 'asks' : 'snapshot', changed: false, ...result };
  const same = memory.snapshotId === result.id;
  const id = await files.takeSnapshot(memory, user, complete, { trigger: 'snapshot', message: args.message });
  // This is how it should be now: what neighbours lost before is no drift any more.
  if ((memory.lost ?? []).length > 0 || Object.keys(memory.lostTables ?? {}).length > 0) {
    memory.lost = [];
    memory.lostTables = {};
    await files.saveKnown(memory);
  }
  await context.journal.append({
    event: 'snapshot',
    trigger: 'snapshot',
    id,
    message: args.message,
    dropped: result.dropped,
    by: ['hand'],
  });
  return { kind: 'snapshot', changed: !same, ...result, id };
}

/** The same of both families and the native tables. */
export function allRulesGone(before: UserRules, after: UserRules): DroppedRule[] {
  return [
    ...FAMILIES.flatMap((family) => rulesGone(before[family], after[family])),
    ...nativeRulesGone(before.native, after.native),
  ];
}

/** Rules (with copies) that `before` has and `after` has not. */
export function rulesGone(before: UserPart, after: UserPart): DroppedRule[] {
  return [...before.tables.values()].flatMap((table) =>
    [...table.chains.values()].flatMap((chain) => {
      const now = ruleTexts(after.tables.get(table.name)?.chains.get(chain.name)?.items ?? []);
      return missingFrom(ruleTexts(chain.items), now).map((text) => ({
        family: before.family,
        table: table.name,
        chain: chain.name,
        text,
      }));
    }),
  );
}

/** The live user part with the slots of the wish, and with the rules that wait where they stood. */
function adopted({ context }: World, live: SeenRulesets, family: Family): UserPart {
  const seen = familyOf(live, family);
  const { memory } = context;
  if (seen === undefined) return emptyPart(family);
  const isGuestBridge = guestBridgeTest(live.networks);
  const tables = new Map<string, UserTable>();
  for (const table of seen.classified.tables.values()) {
    const waiting = memory.waiting.filter((rule) => rule.family === family && rule.table === table.name);
    tables.set(table.name, adoptedTable(table, memory.wish[family].tables.get(table.name), waiting, isGuestBridge));
  }
  return { family, tables };
}

type BridgeTest = (name: string) => boolean;

function adoptedTable(
  live: ClassifiedTable,
  wish: UserTable | undefined,
  waiting: readonly WaitingRule[],
  isGuestBridge: BridgeTest,
): UserTable {
  const chains = new Map<string, UserChain>();
  for (const chain of userTableOf(live).chains.values()) {
    const before = wish?.chains.get(chain.name);
    const held = waiting.filter((rule) => rule.chain === chain.name).map((rule) => rule.text);
    chains.set(chain.name, before === undefined ? chain : adoptedChain(chain, before, live, held, isGuestBridge));
  }
  return { name: live.name, chains };
}

function adoptedChain(
  chain: UserChain,
  before: UserChain,
  live: ClassifiedTable,
  held: readonly string[],
  isGuestBridge: BridgeTest,
): UserChain {
  const items = reslot(before.items, liveOrder(live, chain.name), isGuestBridge);
  if (held.length === 0) return { ...chain, items };
  const texts = ruleTexts(items);
  const wanted = ruleTexts(before.items).filter((text) => texts.includes(text) || held.includes(text));
  const order = weave(texts, wanted).map((text) => ({ owner: 'user', text }));
  return { ...chain, items: reslot(items, order, isGuestBridge) };
}
