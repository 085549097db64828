// The user's rules changed; where do the slots stand now? Used when a new ruleset is adopted and when single changes are
// pending. Each slot keeps its place between the user rules that were around it. Pure.

import { ownerById } from '../owners/index.ts';
import { pairCopies } from '../ruleset/align.ts';
import { sameSequence } from '../ruleset/multiset.ts';
import { type Item, ruleTexts } from '../ruleset/user-part.ts';
import { catchAllPlace } from './catch-all.ts';
import type { LiveOrder } from './place.ts';

/**
 * `old` with its user rules replaced by those of `live`. A slot stands below the last rule above it that is still there
 * and above the first rule below it that is still there; between these, where its rules stand live, else at its
 * owner's default.
 */
export function reslot(old: readonly Item[], live: LiveOrder, isGuestBridge: (name: string) => boolean): Item[] {
  const users = live.filter((rule) => rule.owner === 'user').map((rule) => rule.text);
  const before = ruleTexts(old);
  if (sameSequence(before, users)) return [...old];
  const nowAt = pairCopies(users, before);
  const placed: { slot: Item; place: number }[] = [];
  let passed = 0;
  for (const item of old) {
    if (item.kind === 'rule') passed++;
    else placed.push({ slot: item, place: placeOf(item, passed, nowAt, users, live, isGuestBridge) });
  }
  return interleave(users, placed);
}

function placeOf(
  slot: Extract<Item, { kind: 'slot' }>,
  passed: number,
  nowAt: Int32Array,
  users: readonly string[],
  live: LiveOrder,
  isGuestBridge: (name: string) => boolean,
): number {
  const above = survivorAbove(nowAt, passed) + 1;
  const below = survivorBelow(nowAt, passed) ?? users.length;
  // Rules that were moved past each other leave both sides open between them.
  const [low, high] = above <= below ? [above, below] : [below, above];
  const clamp = (place: number): number => Math.min(high, Math.max(low, place));
  const livePlace = liveUsersAbove(slot, live);
  if (livePlace !== undefined) return clamp(livePlace);
  if (ownerById(slot.owner)?.place === 'catch-all') return clamp(catchAllPlace(users, isGuestBridge));
  return passed === 0 ? low : high;
}

function survivorAbove(nowAt: Int32Array, passed: number): number {
  for (let i = passed - 1; i >= 0; i--) if (nowAt[i] !== -1) return nowAt[i] as number;
  return -1;
}

function survivorBelow(nowAt: Int32Array, passed: number): number | undefined {
  for (let i = passed; i < nowAt.length; i++) if (nowAt[i] !== -1) return nowAt[i] as number;
  return undefined;
}

/** How many user rules stand above the first live rule that the slot holds. */
function liveUsersAbove(slot: Extract<Item, { kind: 'slot' }>, live: LiveOrder): number | undefined {
  let users = 0;
  for (const rule of live) {
    if (rule.owner === 'user') users++;
    else if (rule.owner === slot.owner && slot.texts.includes(rule.text)) return users;
  }
  return undefined;
}

function interleave(users: readonly string[], placed: readonly { slot: Item; place: number }[]): Item[] {
  const items: Item[] = [];
  const slots = [...placed].sort((a, b) => a.place - b.place);
  let next = 0;
  users.forEach((text, index) => {
    while (next < slots.length && (slots[next]?.place ?? 0) <= index)
      items.push((slots[next++] as { slot: Item }).slot);
    items.push({ kind: 'rule', text });
  });
  while (next < slots.length) items.push((slots[next++] as { slot: Item }).slot);
  return items;
}
