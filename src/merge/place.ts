// Where each neighbour's rule stands among the user's rules of one chain.
// Goals: user rules once each, in their order; a foreign rule in the slot that holds its text, a new one beside its
// nearest sibling, else at its owner's default, else where it stands now.
// Guarantees: foreign rules keep their live order within one place; nothing is lost, doubled or altered.

import { isLeftToUser, isWantedBelow, keepsSlot, ownerById } from '../owners/index.ts';
import { pairCopies } from '../ruleset/align.ts';
import { type Item, type OwnerId, ruleTexts } from '../ruleset/user-part.ts';
import { catchAllPlace } from './catch-all.ts';

export interface PlacedRule {
  readonly owner: OwnerId;
  readonly text: string;
}

/** A live chain as seen by placement: everybody's rules in order. */
export type LiveOrder = readonly PlacedRule[];

interface SlotPlace {
  readonly owner: OwnerId;
  readonly place: number;
  readonly texts: readonly string[];
}

/**
 * Merges the user's items with the neighbours' rules of one chain. `foreign` is in live order; `live` says where rules
 * stand now (asked only for neighbours without a slot); `isGuestBridge` names libvirt's bridges.
 */
export function mergeChain(
  items: readonly Item[],
  foreign: readonly PlacedRule[],
  live: () => LiveOrder,
  isGuestBridge: (name: string) => boolean,
): PlacedRule[] {
  const users = ruleTexts(items);
  if (foreign.length === 0) return users.map(asUser);
  const places = placeForeign(items, users, foreign, live, isGuestBridge);
  const order = foreign.map((_, index) => index).sort((a, b) => (places[a] as number) - (places[b] as number) || a - b);
  const merged: PlacedRule[] = [];
  let next = 0;
  for (const index of order) {
    while (next < (places[index] as number)) merged.push(asUser(users[next++] as string));
    merged.push(foreign[index] as PlacedRule);
  }
  while (next < users.length) merged.push(asUser(users[next++] as string));
  return merged;
}

function asUser(text: string): PlacedRule {
  return { owner: 'user', text };
}

/** For each foreign rule, the number of user rules above it. */
function placeForeign(
  items: readonly Item[],
  users: readonly string[],
  foreign: readonly PlacedRule[],
  live: () => LiveOrder,
  isGuestBridge: (name: string) => boolean,
): number[] {
  const slots = slotPlaces(items);
  const bySlot = placesBySlotText(slots, foreign);
  const above = nearestKnown(foreign, bySlot, 1);
  const below = nearestKnown(foreign, bySlot, -1);
  let livePlaces: readonly (number | undefined)[] | undefined;
  let catchAll: number | undefined;
  let end: number | undefined;
  const asLive = (index: number): number | undefined => (livePlaces ??= placesInLive(users, foreign, live()))[index];
  const placeOf = (rule: PlacedRule, index: number): number => {
    const known = bySlot[index] ?? betweenSiblings(above[index], below[index], () => asLive(index));
    if (known !== undefined) return known;
    const owner = ownerById(rule.owner);
    const slot = slots.find((candidate) => candidate.owner === rule.owner);
    if (slot !== undefined && keepsSlot(rule.owner, chainOf(rule.text))) return slot.place;
    if (owner?.place === 'catch-all') return (catchAll ??= catchAllPlace(users, isGuestBridge));
    return asLive(index) ?? (isLeftToUser(rule.owner, chainOf(rule.text)) ? users.length : 0);
  };
  // Below the user's rules, but not below what ends the chain for every interface: there the neighbour's would be dead.
  return foreign.map((rule, index) =>
    isWantedBelow(rule.owner, chainOf(rule.text))
      ? Math.max(placeOf(rule, index), (end ??= catchAllPlace(users, () => true)))
      : placeOf(rule, index),
  );
}

/**
 * A new rule stands with its siblings. Between two whose slots differ it stays where it is, as far as they allow: a place
 * that depended on distances would change with the next pass. Out of order they are libvirt's new rules above its old
 * ones, so the one below says where.
 */
function betweenSiblings(
  above: number | undefined,
  below: number | undefined,
  asLive: () => number | undefined,
): number | undefined {
  if (above === undefined || below === undefined || above >= below) return below ?? above;
  return Math.min(below, Math.max(above, asLive() ?? below));
}

function slotPlaces(items: readonly Item[]): SlotPlace[] {
  const slots: SlotPlace[] = [];
  let place = 0;
  for (const item of items) {
    if (item.kind === 'rule') place++;
    else slots.push({ owner: item.owner, place, texts: item.texts });
  }
  return slots;
}

/** The k-th live copy of a text goes to the slot of its k-th copy; further copies go where the last one is. */
function placesBySlotText(slots: readonly SlotPlace[], foreign: readonly PlacedRule[]): (number | undefined)[] {
  const waiting = new Map<string, number[]>();
  for (const slot of slots) {
    for (const text of slot.texts) {
      const key = keyOf({ owner: slot.owner, text });
      const list = waiting.get(key);
      if (list === undefined) waiting.set(key, [slot.place]);
      else list.push(slot.place);
    }
  }
  return foreign.map((rule) => {
    const list = waiting.get(keyOf(rule));
    return list !== undefined && list.length > 1 ? list.shift() : list?.[0];
  });
}

/** For each rule: the place of the nearest one of the same owner before it (step 1) or behind it (-1) whose slot is known. */
function nearestKnown(
  foreign: readonly PlacedRule[],
  known: readonly (number | undefined)[],
  step: 1 | -1,
): (number | undefined)[] {
  const nearest = new Array<number | undefined>(foreign.length);
  const last = new Map<OwnerId, number>();
  for (let at = step === 1 ? 0 : foreign.length - 1; at >= 0 && at < foreign.length; at += step) {
    const owner = (foreign[at] as PlacedRule).owner;
    nearest[at] = last.get(owner);
    const place = known[at];
    if (place !== undefined) last.set(owner, place);
  }
  return nearest;
}

/** `-A DOCKER-USER -j RETURN`: DOCKER-USER */
const chainOf = (text: string): string => text.split(' ', 2)[1] ?? '';

/**
 * Where foreign rules stand now: below the nearest user rule above them that is still wanted. Undefined: not there, or there is
 * no user rule that could tell.
 */
function placesInLive(
  users: readonly string[],
  foreign: readonly PlacedRule[],
  live: LiveOrder,
): (number | undefined)[] {
  const liveUsers = live.filter((rule) => rule.owner === 'user').map((rule) => rule.text);
  if (liveUsers.length === 0) return [];
  const wantedAt = pairCopies(users, liveUsers);
  const liveForeign = live.filter((rule) => rule.owner !== 'user');
  const placeOf: number[] = [];
  let seen = 0;
  let place = 0;
  for (const rule of live) {
    if (rule.owner !== 'user') placeOf.push(place);
    else place = Math.max(place, (wantedAt[seen++] ?? -1) + 1);
  }
  const pairs = pairCopies(liveForeign.map(keyOf), foreign.map(keyOf));
  return foreign.map((_, index) => placeOf[pairs[index] as number]);
}

function keyOf(rule: PlacedRule): string {
  return `${rule.owner}\n${rule.text}`;
}
