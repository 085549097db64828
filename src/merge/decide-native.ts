// Whose voice is it? The same table of the design as decide.ts, for the user's native nft tables: whole tables and chains
// instead of single places among neighbours, since nobody else writes there. Pure.
// Goals: `nft flush ruleset` is an accident, and what it took comes back; `nft -f` with the user's new ruleset is adopted.
// Guarantees: with `burstOver` false nothing is decided; what a person changes by single commands stays.
// Does not: write foreign tables, or know places: in the user's own tables nobody is displaced.

import { countShared } from '../ruleset/multiset.ts';
import { isSameTable, mapObjects, type NativePart, objectKey, rulesOf } from '../ruleset/nft/native-part.ts';
import { canonicalRule } from '../ruleset/nft/same.ts';
import { chainsOf, type NftChain, type NftTable } from '../ruleset/nft/types.ts';
import type { DecisionKind } from './decide.ts';
import { type BootEvidence, broughtBy, explains, NO_BOOT_FILES, standingBootFile } from './native-boot.ts';
import { withLost, withObjectsOf } from './native-objects.ts';
import type { NativeSummary } from './native-summary.ts';

export interface NativeSituation {
  readonly wish: NativePart;
  /** The user's part of what stands (classify-native.ts). */
  readonly live: NativePart;
  readonly summaries: ReadonlyMap<string, NativeSummary> | undefined;
  readonly burstOver: boolean;
  readonly onDelete: 'pending' | 'restore';
  readonly onLoad: 'adopt' | 'restore';
  /** The wish is the user's word, given by hand. */
  readonly byHand: boolean;
  /** Known boot files, read where `needsBootFiles` asked for them. */
  readonly boot?: BootEvidence;
}

export interface NativeDecision {
  /** `inet filter` */
  readonly key: string;
  readonly kind: DecisionKind;
  /** The table to have from now on; undefined: none. For `wait`: the wish, unchanged. */
  readonly next: NftTable | undefined;
  readonly evidence: readonly string[];
}

/** The decision for each native table of the user's that stands or is wanted, in the wish's order, then live order; a load's is the live one. */
export function decideNative(situation: NativeSituation): NativeDecision[] {
  const { wish, live } = situation;
  const keys = [...new Set([...wish.keys(), ...live.keys()])];
  const load = situation.summaries === undefined ? decideByResult(situation, keys) : decideLoad(situation, keys);
  // What was loaded is wanted in the order in which it stands: chains of one priority run so.
  const order = load.size === 0 ? keys : [...new Set([...live.keys(), ...keys])];
  return order.map((key) => load.get(key) ?? decideTable(situation, key));
}

/** A boot file may explain it: a load of which nothing is known, or where nobody was heard, other rules than wanted. */
export function needsBootFiles(
  { summaries, live, burstOver, byHand }: NativeSituation,
  made: readonly NativeDecision[],
): boolean {
  if (!burstOver || byHand) return false;
  return made.some(
    ({ key, kind }) => kind === 'replaced' || (summaries === undefined && kind !== 'kept' && live.has(key)),
  );
}

function decideTable(situation: NativeSituation, key: string): NativeDecision {
  const [wish, live] = [situation.wish.get(key), situation.live.get(key)];
  const answer = (kind: DecisionKind, next: NftTable | undefined, ...evidence: string[]): NativeDecision => ({
    key,
    kind,
    next,
    evidence,
  });
  if (isSameTable(wish, live)) return answer('kept', wish, 'user=same');
  if (situation.byHand) return answer('wipe', wish, 'by=hand');
  if (!situation.burstOver) return answer('wait', wish, 'burst=open', 'user=changed');
  const summary = situation.summaries?.get(key);
  if (live === undefined) return decideGone(situation, key, answer, wish);
  if (wish === undefined) return answer('pending', live, 'table=added');
  if (summary?.byNeighbour !== undefined && !summary.byOther)
    return answer('damage', withLost(live, wish), `by=${summary.byNeighbour}`);
  return decideChanged(situation, summary, wish, live, answer);
}

type Answer = (kind: DecisionKind, next: NftTable | undefined, ...evidence: string[]) => NativeDecision;

/**
 * A table that somebody deletes by its name is meant to go; one that a flush took along is not. In the file of an `nft -f` the
 * name cannot be read: there a deletion that left another table of the user's alone is no flush.
 */
function decideGone(
  situation: NativeSituation,
  key: string,
  answer: Answer,
  wish: NftTable | undefined,
): NativeDecision {
  const summary = situation.summaries?.get(key);
  const by = summary?.named === true ? 'name' : isSingledOut(situation, summary) ? 'file' : undefined;
  const meant = by !== undefined && summary?.byNeighbour === undefined && situation.onDelete === 'pending';
  return meant
    ? answer('pending', undefined, 'table=deleted', `by=${by}`)
    : answer('wipe', wish, 'table=gone', summary === undefined ? 'by=result' : 'by=flush');
}

function isSingledOut({ wish, live, summaries }: NativeSituation, summary: NativeSummary | undefined): boolean {
  if (summary?.byOther !== true || summary.flushed) return false;
  return [...wish.keys()].some((key) => live.has(key) && summaries?.get(key)?.wiped !== true);
}

/** What was emptied comes back, what was changed one by one stays. */
function decideChanged(
  { onDelete }: NativeSituation,
  summary: NativeSummary | undefined,
  wish: NftTable,
  live: NftTable,
  answer: Answer,
): NativeDecision {
  // Nobody was heard, and there are other rules now: a ruleset that was loaded while nobody listened, without this chain.
  const isOther = summary === undefined && countShared(placed(live), placed(wish)) < placed(live).length;
  const emptied =
    summary === undefined || summary.wiped ? chainsOf(wish).filter((chain) => isEmptied(chain, live, isOther)) : [];
  if (emptied.length === 0 && onDelete === 'restore' && isMissing(wish, live))
    return answer('damage', withLost(live, wish), 'on_delete=restore');
  if (emptied.length === 0) return answer('pending', live, 'user=changed');
  return answer('wipe', withChains(live, wish, emptied), ...emptied.map(({ name }) => `chain=${name}`));
}

function isEmptied({ name, base, rules }: NftChain, live: NftTable, isOther: boolean): boolean {
  const now = chainsOf(live).find((chain) => chain.name === name);
  if (rules.length === 0) return false;
  // A regular chain can only be deleted on purpose: nft refuses while a rule leads to it.
  return now === undefined ? base !== undefined && !isOther : now.rules.length === 0;
}

function isMissing(wish: NftTable, live: NftTable): boolean {
  const [wanted, standing] = [placed(wish), placed(live)];
  return countShared(wanted, standing) < wanted.length;
}

/** `live` with these chains of the wish in their place; what they lead to and name comes with them. */
function withChains(live: NftTable, wish: NftTable, chains: readonly NftChain[]): NftTable {
  const back = new Map(chains.map((chain) => [objectKey(chain), chain]));
  return withObjectsOf(
    mapObjects(live, (object) => back.get(objectKey(object)) ?? object),
    wish,
  );
}

/** One `nft -f`, or one script, that replaces tables: they are judged together. */
function decideLoad(situation: NativeSituation, keys: readonly string[]): Map<string, NativeDecision> {
  const { wish, live, summaries, burstOver, byHand } = situation;
  const judged = keys.filter((key) => isLoaded(summaries?.get(key)));
  // Without these a program that only makes its own table again after a flush would seem to have replaced the user's.
  const isLoad = judged.some((key) => placedIn(live, key).length > 0);
  if (!burstOver || byHand || !isLoad) return new Map();
  const concerned = keys.filter((key) => judged.includes(key) || isNew(situation, key));
  const brought = concerned.flatMap((key) => placedIn(live, key));
  const heard = concerned.map((key) => summaries?.get(key));
  const neighbour = heard.find((summary) => summary?.byNeighbour !== undefined && !summary.byOther)?.byNeighbour;
  if (neighbour !== undefined || situation.onLoad === 'restore')
    return decided(concerned, 'wipe', wish, [`loader=${neighbour ?? 'on_load=restore'}`]);
  const wanted = concerned.flatMap((key) => placedIn(wish, key));
  const shared = countShared(wanted, brought);
  const boot = situation.boot ?? NO_BOOT_FILES;
  const file = standingBootFile(boot);
  const loader =
    heard.find((summary) => summary?.loader !== undefined)?.loader ??
    (file !== undefined && explains(file, boot, concerned) ? file.file : undefined);
  const isKnown = loader !== undefined || shared * 2 >= wanted.length;
  const evidence = [`shared=${shared}/${wanted.length}`, ...(loader === undefined ? [] : [`loader=${loader}`])];
  return decided(concerned, isKnown ? 'load' : 'replaced', live, evidence, wish);
}

/** Nobody was heard: what stands now, and did not before, is what a boot file brings. */
function decideByResult(
  { wish, live, burstOver, byHand, onLoad, boot = NO_BOOT_FILES }: NativeSituation,
  keys: readonly string[],
): Map<string, NativeDecision> {
  const file = burstOver && !byHand ? standingBootFile(boot) : undefined;
  if (file === undefined) return new Map();
  const differing = keys.filter((key) => !isSameTable(wish.get(key), live.get(key)));
  const concerned = broughtBy(file, differing, (key) => live.has(key));
  if (onLoad === 'restore') return decided(concerned, 'wipe', wish, ['loader=on_load=restore']);
  return decided(concerned, 'load', live, ['by=result', `loader=${file.file}`]);
}

function isLoaded(summary: NativeSummary | undefined): boolean {
  if (summary === undefined) return false;
  if (summary.replaced || summary.madeByLoad) return true;
  return summary.wiped && (summary.addedAfterWipe || (summary.leftOut && !summary.named));
}

/** A table of the user's that was made while the load went on. */
function isNew({ wish, live, summaries }: NativeSituation, key: string): boolean {
  const summary = summaries?.get(key);
  return !wish.has(key) && live.has(key) && summary !== undefined && summary.neighbour === undefined;
}

function decided(
  keys: readonly string[],
  kind: DecisionKind,
  next: NativePart,
  evidence: readonly string[],
  before?: NativePart,
): Map<string, NativeDecision> {
  return new Map(
    keys.map((key) => {
      const same = before !== undefined && isSameTable(before.get(key), next.get(key));
      return [key, { key, kind: same ? 'kept' : kind, next: next.get(key), evidence }];
    }),
  );
}

const placed = (table: NftTable): string[] =>
  rulesOf(table).map(({ chain, text }) => `${chain} ${canonicalRule(text)}`);

function placedIn(part: NativePart, key: string): string[] {
  const table = part.get(key);
  return table === undefined ? [] : placed(table).map((rule) => `${key} ${rule}`);
}
