// What is to be done for the user's native tables: the decisions as one transaction, and what it puts right. Pure.
// Guarantees: only tables whose decision wants something else than what stands are written; a neighbour's chains within
// them stay as they are; a table that cannot be loaded back is never written, and said.

import type { ClassifiedNative, ClassifiedNativeTable } from '../classify/classify-native.ts';
import type { NativeDecision } from '../merge/decide-native.ts';
import type { Drift } from '../merge/drift.ts';
import { nativeDrift } from '../merge/native-drift.ts';
import { withObjectsOf, withRules, withRulesOf } from '../merge/native-objects.ts';
import { isSameTable, mapObjects, type NativePart, objectKey, rulesOf } from '../ruleset/nft/native-part.ts';
import { canonicalObjectText } from '../ruleset/nft/same.ts';
import { chainsOf, type NftTable, setsOf } from '../ruleset/nft/types.ts';
import { type NftLock, type NftRefusal, renderReplacement } from './nft-replace.ts';

/** A rule of the user's native tables that nft refuses now, and why (its own words). */
export interface NativeWaiting {
  /** `inet filter` */
  readonly key: string;
  /** Empty: something else of the table waits. */
  readonly chain: string;
  /** A rule, or without a chain an object (`set banned`, `chain input`); empty: the whole table waits. */
  readonly text: string;
  readonly why: string;
}

export interface NativeEdit {
  readonly kind: 'create' | 'replace' | 'delete';
  readonly key: string;
  /** Undefined for `delete`. */
  readonly table: NftTable | undefined;
}

export interface NativePlan {
  readonly edits: readonly NativeEdit[];
  /** For `nft -f -`; empty when there is nothing to do. */
  readonly input: string;
  readonly refused: readonly NftRefusal[];
  /** What the edits put right. */
  readonly mends: readonly Drift[];
}

/** `held`: rules to leave out, since nft refused them. */
export function planNative(
  decisions: readonly NativeDecision[],
  live: NativePart,
  classified: ClassifiedNative,
  held: readonly NativeWaiting[] = [],
  locks: ReadonlyMap<string, NftLock> = new Map(),
): NativePlan {
  const edits = decisions.flatMap((decision) => editOf(decision, live, held));
  const wanted = edits.flatMap(({ table, key }) =>
    table === undefined ? [] : [withState(withStrangers(table, classified.get(key)), classified.get(key)?.table)],
  );
  const remove = edits.flatMap(({ kind, key }) => (kind === 'delete' ? [key] : []));
  const standing = [...classified.values()].map(({ table }) => table);
  const { input, replaced, refused } = renderReplacement(wanted, standing, { remove, locks });
  const made = edits.filter(({ key }) => replaced.includes(key));
  return { edits: made, input, refused, mends: made.flatMap((edit) => mendOf(edit, live.get(edit.key))) };
}

function editOf({ key, next, kind }: NativeDecision, live: NativePart, held: readonly NativeWaiting[]): NativeEdit[] {
  if (kind === 'wait') return [];
  const table =
    next === undefined
      ? undefined
      : withoutHeld(
          next,
          held.filter((rule) => rule.key === key),
        );
  const now = live.get(key);
  // What stands of a table that cannot be loaded stays.
  if (isSameTable(table, now) || (table === undefined && next !== undefined)) return [];
  if (table === undefined) return now === undefined ? [] : [{ kind: 'delete', key, table }];
  return [{ kind: now === undefined ? 'create' : 'replace', key, table }];
}

/** The whole table waits. */
export const isWhole = ({ chain, text }: Pick<NativeWaiting, 'chain' | 'text'>): boolean => chain === '' && text === '';

/** The table without the rules that wait; undefined when it waits as a whole. */
export function withoutHeld(table: NftTable, held: readonly NativeWaiting[]): NftTable | undefined {
  if (held.length === 0) return table;
  if (held.some(isWhole)) return undefined;
  const objects = new Set(held.filter(({ chain }) => chain === '').map(({ text }) => text));
  return mapObjects(table, (object) => {
    if (objects.has(objectKey(object))) return undefined;
    if (object.kind !== 'chain') return object;
    const texts = new Set(held.filter(({ chain }) => chain === object.name).map(({ text }) => text));
    if (texts.size === 0) return object;
    // All copies: what nft refuses once it refuses twice.
    const parts = object.parts.filter((part) => part.kind !== 'rule' || !texts.has(part.text));
    return { ...object, parts, rules: parts.filter((part) => part.kind === 'rule') };
  });
}

/** The table with what waits of it where it stood in `wish`: what cannot be loaded now is still wanted. */
export function withWaiting(table: NftTable, wish: NftTable | undefined, waiting: readonly NativeWaiting[]): NftTable {
  if (wish === undefined || waiting.length === 0) return table;
  const objects = new Set(waiting.filter(({ chain }) => chain === '').map(({ text }) => text));
  const inWish = new Map(chainsOf(wish).map((chain) => [chain.name, chain]));
  for (const object of table.objects) objects.add(objectKey(object));
  const whole = withObjectsOf(
    table,
    mapObjects(wish, (object) => (objects.has(objectKey(object)) ? object : undefined)),
  );
  return mapObjects(whole, (object) => {
    const before = object.kind === 'chain' ? inWish.get(object.name) : undefined;
    if (object.kind !== 'chain' || before === undefined) return object;
    const held = new Set(waiting.filter(({ chain }) => chain === object.name).map(({ text }) => text));
    const isStanding = takesEach(object.rules.map(({ text }) => text));
    return withRulesOf(
      object,
      withRules(
        before,
        before.rules.filter(({ text }) => isStanding(text) || held.has(text)),
      ),
    );
  });
}

/** Somebody has put it in himself; of a table that waits as a whole: made it. */
export function doesStand(live: NativePart, { key, chain, text }: NativeWaiting): boolean {
  const table = live.get(key);
  if (table === undefined || chain === '') return table !== undefined;
  return rulesOf(table).some((rule) => rule.chain === chain && rule.text === text);
}

/** True once for each copy. */
function takesEach(texts: readonly string[]): (text: string) => boolean {
  const left = [...texts];
  return (text) => {
    const at = left.indexOf(text);
    if (at !== -1) left.splice(at, 1);
    return at !== -1;
  };
}

/** A neighbour's chains in the user's table as they stand now: their owner's rules are not in the user's part. */
function withStrangers(table: NftTable, now: ClassifiedNativeTable | undefined): NftTable {
  if (now === undefined || now.strangers.size === 0) return table;
  const theirs = new Map(
    chainsOf(now.table)
      .filter(({ name }) => now.strangers.has(name))
      .map((c) => [c.name, c]),
  );
  const known = new Set(chainsOf(table).map(({ name }) => name));
  const added = [...theirs.values()].filter(({ name }) => !known.has(name));
  const merged = mapObjects(table, (object) => (object.kind === 'chain' && theirs.get(object.name)) || object);
  return { ...merged, parts: [...merged.parts, ...added], objects: [...merged.objects, ...added] };
}

/** What packets put into the sets that stay stands there again: who is locked out, stays so. */
function withState(table: NftTable, now: NftTable | undefined): NftTable {
  const filled = new Map((now === undefined ? [] : setsOf(now)).map((set) => [set.name, set]));
  return mapObjects(table, (object) => {
    const standing = object.kind === 'set' && object.flags.includes('dynamic') ? filled.get(object.name) : undefined;
    return standing !== undefined && canonicalObjectText(standing) === canonicalObjectText(object) ? standing : object;
  });
}

function mendOf({ kind, key, table }: NativeEdit, now: NftTable | undefined): Drift[] {
  const rules = table === undefined ? 0 : rulesOf(table).length - (now === undefined ? 0 : rulesOf(now).length);
  return [nativeDrift('lost', key, '', '', kind === 'create' ? `the table was gone, with ${rules} rules` : kind)];
}
