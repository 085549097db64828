// What a pass means for the memory: the user's wish, the neighbours' last word, who lost rules, and a load as a new snapshot.

import { withoutOurs } from '../classify/classify.ts';
import { HostError } from '../host/host.ts';
import type { ChangeSummary, DecisionKind } from '../merge/decide.ts';
import { joinLost, type LostNeighbour, newlyLost, stillLost } from '../merge/foreign-lost.ts';
import { libvirtReference } from '../merge/libvirt-reference.ts';
import { foreignTable, lossesOf } from '../merge/repair.ts';
import { isLibvirtJump } from '../owners/libvirt-shapes.ts';
import type { FamilyWork, TableWork, Waiting } from '../plan/family-plan.ts';
import type { UserRules, WaitingNative } from '../record/memory.ts';
import { missingFrom } from '../ruleset/multiset.ts';
import { type NativePart, rulesOf as rulesOfTable, sameNative } from '../ruleset/nft/native-part.ts';
import { canonicalRule } from '../ruleset/nft/same.ts';
import { printNeighbourPart } from '../ruleset/part-text.ts';
import { FAMILIES, type Family } from '../ruleset/types.ts';
import { ruleTexts, sameUserPart, type UserPart } from '../ruleset/user-part.ts';
import { countersOf } from './counters.ts';
import type { Ending, SeenRulesets } from './ending.ts';
import type { NativeEnding } from './native.ts';
import type { SeenFamily } from './observe.ts';
import type { PassContext, PassRequest } from './types.ts';

/** Updates wish, neighbours and snapshot. Returns the id of the snapshot a load was adopted as. */
export async function remember(
  context: PassContext,
  request: PassRequest,
  ending: Extract<Ending, { kind: 'seen' }>,
  native: NativeEnding,
  lost: readonly LostNeighbour[],
): Promise<string | undefined> {
  const { memory, files } = context;
  if (request.dryRun || memory.snapshotId === undefined) return undefined;
  await saveLost(context, lost);
  const word = request.neighboursQuiet && !(request.summaries === undefined && ending.work.some(isUnhooked));
  if (word && rememberNeighbours(context, ending.seen)) await files.saveKnown(memory);
  if (!request.burstOver) return undefined;
  for (const { family, classified } of ending.seen.families) context.cache.counters.set(family, countersOf(classified));
  const decided = ending.work.flatMap((family) => family.tables).filter((work) => work.decision.kind !== 'wait');
  const waiting = [...ending.held, ...ending.work.flatMap((family) => family.homeless)];
  const tried = request.mode === 'merge' && ending.seen.mixed === undefined;
  return rememberWish(context, request, native, { decided, waiting, tried });
}

/** The same for the native tables alone, where iptables' rules could not be read or written to the end. */
export async function rememberNative(
  context: PassContext,
  request: PassRequest,
  native: NativeEnding,
): Promise<string | undefined> {
  const { memory } = context;
  if (request.dryRun || memory.snapshotId === undefined || !request.burstOver || native.wish === undefined)
    return undefined;
  return rememberWish(context, request, native, { decided: [], waiting: memory.waiting, tried: false });
}

interface Iptables {
  readonly decided: readonly TableWork[];
  readonly waiting: readonly Waiting[];
  /** What waits has been tried. */
  readonly tried: boolean;
}

async function rememberWish(
  context: PassContext,
  request: PassRequest,
  native: NativeEnding,
  { decided, waiting, tried }: Iptables,
): Promise<string | undefined> {
  const { memory } = context;
  const wish = { ...withTables(memory.wish, decided), native: native.wish ?? memory.wish.native };
  const loaded = decided.filter((work) => work.decision.kind === 'load');
  const replaced = [
    ...decided.filter((work) => work.decision.kind === 'replaced').map((work) => `${work.plan.family} ${work.table}`),
    ...keysOf(native, 'replaced'),
  ];
  const changed =
    !sameParts(wish, memory.wish) ||
    replaced.some((table) => !memory.replaced.includes(table)) ||
    !sameWaiting(memory.waiting, waiting) ||
    (native.wish !== undefined && !sameNativeWaiting(memory.waitingNative ?? [], native.waiting)) ||
    memory.unsaved === true;
  if (tried) memory.waiting = waiting;
  if (request.mode === 'merge' && native.wish !== undefined) memory.waitingNative = native.waiting;
  if (loaded.length > 0 || keysOf(native, 'load').length > 0) return adopt(context, wish, loaded, native, replaced);
  if (!changed) return undefined;
  memory.wish = wish;
  memory.replaced = [...new Set([...memory.replaced, ...replaced])];
  await saveWish(context);
  return undefined;
}

/** Who lost rules to a flush or load, until they have written again. Asked before anything is remembered anew. */
export function lostAfter({ memory }: PassContext, request: PassRequest, ending: Ending): readonly LostNeighbour[] {
  const before = memory.lost ?? [];
  if (ending.kind !== 'seen' || !request.burstOver) return before;
  // A wipe that this pass has mended shows in its first round only.
  const tables = [...ending.work.flatMap((family) => family.tables), ...ending.done.flatMap((each) => each.work)];
  return ending.seen.families.reduce((lost, { family, classified }) => {
    const summaries = request.summaries?.(family);
    const writers = new Set([...(summaries?.values() ?? [])].flatMap((summary) => summary.writers ?? []));
    const wiped = (table: string): boolean =>
      tables.some(
        (work) => work.table === table && work.plan.family === family && isWiped(work, summaries?.get(table)),
      );
    const now = newlyLost(memory.known[family], classified, { wiped, writers });
    return joinLost(stillLost(lost, classified, writers), now);
  }, before);
}

/** Not by `loaded` alone: without events that only says that the user's rules are those of a boot file. */
export function isWiped({ decision }: TableWork, summary: ChangeSummary | undefined): boolean {
  const emptied = decision.kind === 'wipe' || decision.kind === 'load' || decision.kind === 'replaced';
  return emptied || summary?.wiped === true || summary?.replaced === true;
}

async function saveLost({ memory, files }: PassContext, lost: readonly LostNeighbour[]): Promise<void> {
  if (JSON.stringify(lost) === JSON.stringify(memory.lost ?? [])) return;
  memory.lost = lost;
  await files.saveKnown(memory);
}

/** A wish that cannot be written is kept in memory, and written by a later pass: what is pending survives a full disk. */
async function saveWish({ host, memory, files }: PassContext): Promise<void> {
  memory.unsaved = true;
  try {
    await files.saveWish(memory);
    memory.unsaved = false;
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    host.log.write('error', `what is pending is not saved yet: ${error.message}`);
  }
}

/** Rules of the user's that the old snapshot has and the new one lacks, as `ip filter -A ...`. */
export function droppedBetween(before: UserRules, now: UserRules): string[] {
  const rulesOf = (part: UserPart): string[] =>
    [...part.tables.values()].flatMap((table) =>
      [...table.chains.values()].flatMap((chain) =>
        ruleTexts(chain.items).map((text) => `${part.family} ${table.name} ${text}`),
      ),
    );
  return [
    ...FAMILIES.flatMap((family) => missingFrom(rulesOf(before[family]), rulesOf(now[family]))),
    ...missingFrom(nativeRulesOf(before.native), nativeRulesOf(now.native)),
  ];
}

/** The native tables that were decided so. Only where they could be read to the end. */
const keysOf = ({ wish, decisions }: NativeEnding, kind: DecisionKind): string[] =>
  wish === undefined ? [] : decisions.filter((decision) => decision.kind === kind).map(({ key }) => key);

/** `inet filter input tcp dport 22 accept` */
const nativeRulesOf = (part: NativePart): string[] =>
  [...part].flatMap(([key, table]) =>
    rulesOfTable(table).map(({ chain, text }) => `${key} ${chain} ${canonicalRule(text)}`),
  );

/** A load becomes the new snapshot for its tables; what is pending elsewhere stays pending. */
async function adopt(
  context: PassContext,
  wish: UserRules,
  loaded: readonly TableWork[],
  native: NativeEnding,
  replaced: readonly string[],
): Promise<string> {
  const { memory, files } = context;
  const nativeKeys = keysOf(native, 'load');
  const snapshot = {
    ...withTables(memory.snapshot, loaded),
    native: withNative(memory.snapshot.native, wish.native, nativeKeys),
  };
  const names = [...loaded.map((work) => `${work.plan.family} ${work.table}`), ...nativeKeys];
  const stillReplaced = [...new Set([...memory.replaced, ...replaced])].filter((table) => !names.includes(table));
  const id = await files.takeSnapshot(memory, snapshot, memory.known.ip !== undefined, {
    trigger: 'load',
    message: `loaded: ${names.join(', ')}`,
  });
  memory.wish = wish;
  memory.replaced = stillReplaced;
  await files.saveWish(memory);
  return id;
}

function withTables(parts: Readonly<Record<Family, UserPart>>, work: readonly TableWork[]): Record<Family, UserPart> {
  const result = { ...parts };
  for (const family of FAMILIES) {
    const mine = work.filter((each) => each.plan.family === family);
    if (mine.length === 0) continue;
    const tables = new Map(parts[family].tables);
    for (const each of mine) tables.set(each.table, each.decision.next);
    result[family] = { family, tables };
  }
  return result;
}

/** `before` with the tables `keys` as `now` has them, in the order of `now`. */
function withNative(before: NativePart, now: NativePart, keys: readonly string[]): NativePart {
  const order = [...new Set([...now.keys(), ...before.keys()])];
  return new Map(
    order.flatMap((key) => {
      const table = (keys.includes(key) ? now : before).get(key);
      return table === undefined ? [] : [[key, table] as const];
    }),
  );
}

function sameParts(a: UserRules, b: UserRules): boolean {
  return FAMILIES.every((family) => sameUserPart(a[family], b[family])) && sameNative(a.native, b.native);
}

const sameNativeWaiting = (a: readonly WaitingNative[], b: readonly WaitingNative[]): boolean =>
  JSON.stringify(a) === JSON.stringify(b);

/** True when the same rules wait for the same places. */
export function sameWaiting(a: readonly Waiting[], b: readonly Waiting[]): boolean {
  return (
    a.length === b.length && a.every((rule, index) => rule.text === b[index]?.text && rule.chain === b[index]?.chain)
  );
}

/**
 * libvirt never takes its chains and jumps away: where nothing was heard, their absence is a load's or a flush's doing. libvirt
 * believes that they stand, and cannot start a network without them (measured).
 */
function isUnhooked({ losses }: FamilyWork): boolean {
  return losses.some((loss) => loss.text === '' || isLibvirtJump(loss.text));
}

/** What stands is the neighbours' word when nothing is missing of what libvirt's active networks need. */
function rememberNeighbours({ memory }: PassContext, seen: SeenRulesets): boolean {
  let changed = false;
  const known = { ...memory.known };
  for (const entry of seen.families) {
    if (!isComplete(entry, seen)) continue;
    const part = {
      family: entry.family,
      tables: new Map(
        [...entry.classified.tables].map(([name, table]) => [
          name,
          withoutOurs(
            foreignTable(table, {
              restore: undefined,
              dropStale: true,
              onceEach: known[entry.family]?.tables.get(name) ?? new Map(),
            }),
          ),
        ]),
      ),
    };
    const before = known[entry.family];
    if (before !== undefined && printNeighbourPart(before, '') === printNeighbourPart(part, '')) continue;
    known[entry.family] = part;
    changed = true;
  }
  if (changed) memory.known = known;
  return changed;
}

function isComplete(entry: SeenFamily, seen: SeenRulesets): boolean {
  return lossesOf(libvirtReference(entry.family, seen.networks ?? [], entry.classified), entry.classified).length === 0;
}
