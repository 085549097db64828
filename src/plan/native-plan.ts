// What is to be done for the user's native tables: the decisions as one transaction, and what it puts right. Pure.
// Guarantees: only tables whose decision wants something else than what stands are written; a neighbour's chains within
// them stay as they are; a table that cannot be loaded back is never written, and said.

import type { ClassifiedNative, ClassifiedNativeTable } from '../classify/classify-native.ts';
import type { NativeDecision } from '../merge/decide-native.ts';
import type { Drift } from '../merge/drift.ts';
import { nativeDrift } from '../merge/native-drift.ts';
import { weave } from '../merge/weave.ts';
import { isSameTable, mapObjects, type NativePart, rulesOf } from '../ruleset/nft/native-part.ts';
import { chainsOf, type NftTable } from '../ruleset/nft/types.ts';
import { type NftRefusal, renderReplacement } from './nft-replace.ts';

/** A rule of the user's native tables that nft refuses now, and why (its own words). */
export interface NativeWaiting {
  /** `inet filter` */
  readonly key: string;
  /** Empty: the whole table waits. */
  readonly chain: string;
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
): NativePlan {
  const edits = decisions.flatMap((decision) => editOf(decision, live, held));
  const wanted = edits.flatMap(({ table, key }) =>
    table === undefined ? [] : [withStrangers(table, classified.get(key))],
  );
  const remove = edits.flatMap(({ kind, key }) => (kind === 'delete' ? [key] : []));
  const standing = [...classified.values()].map(({ table }) => table);
  const { input, replaced, refused } = renderReplacement(wanted, standing, { remove });
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
  if (isSameTable(table, now)) return [];
  if (table === undefined) return now === undefined ? [] : [{ kind: 'delete', key, table }];
  return [{ kind: now === undefined ? 'create' : 'replace', key, table }];
}

/** The table without the rules that wait; undefined when it waits as a whole. */
export function withoutHeld(table: NftTable, held: readonly NativeWaiting[]): NftTable | undefined {
  if (held.length === 0) return table;
  if (held.some(({ chain }) => chain === '')) return undefined;
  return mapObjects(table, (object) => {
    if (object.kind !== 'chain') return object;
    const texts = held.filter(({ chain }) => chain === object.name).map(({ text }) => text);
    if (texts.length === 0) return object;
    const isHeld = takesEach(texts);
    const parts = object.parts.filter((part) => part.kind !== 'rule' || !isHeld(part.text));
    return { ...object, parts, rules: parts.filter((part) => part.kind === 'rule') };
  });
}

/** The table with the rules that wait where they stood in `wish`: what cannot be loaded now is still wanted. */
export function withWaiting(table: NftTable, wish: NftTable | undefined, waiting: readonly NativeWaiting[]): NftTable {
  if (wish === undefined || waiting.length === 0) return table;
  return mapObjects(table, (object) => {
    const before = chainsOf(wish).find(({ name }) => object.kind === 'chain' && name === object.name);
    const held = waiting.filter(({ chain }) => chain === before?.name).map(({ text }) => text);
    if (object.kind !== 'chain' || before === undefined || held.length === 0) return object;
    const texts = object.rules.map(({ text }) => text);
    const wanted = before.rules.map(({ text }) => text).filter((text) => texts.includes(text) || held.includes(text));
    const byText = new Map([...before.rules, ...object.rules].map((rule) => [rule.text, rule]));
    const rules = weave(texts, wanted).flatMap((text) => byText.get(text) ?? []);
    return { ...object, rules, parts: [...object.parts.filter(({ kind }) => kind !== 'rule'), ...rules] };
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

function mendOf({ kind, key, table }: NativeEdit, now: NftTable | undefined): Drift[] {
  const rules = table === undefined ? 0 : rulesOf(table).length - (now === undefined ? 0 : rulesOf(now).length);
  return [nativeDrift('lost', key, '', '', kind === 'create' ? `the table was gone, with ${rules} rules` : kind)];
}
