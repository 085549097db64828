// The user's part of a ruleset: the rules nobody else claims, in their order, with slots where a neighbour's runs of
// rules stood. This is what a snapshot holds, and what every merge works towards. Pure.

import type { Family, TableName } from './types.ts';

export type OwnerId = string;
export const USER: OwnerId = 'user';
export const MENDWALL: OwnerId = 'mendwall';

export type Item =
  /** One rule of the user's; `text` is its saved form. */
  | { readonly kind: 'rule'; readonly text: string }
  /** Where a run of a neighbour's rules stands; `texts` are those seen there. */
  | { readonly kind: 'slot'; readonly owner: OwnerId; readonly texts: readonly string[] };

export interface UserChain {
  readonly name: string;
  /** A built-in chain's policy; `-` for a chain of the user's own; `foreign` for a neighbour's chain that holds user rules. */
  readonly policy: string;
  readonly items: readonly Item[];
}

export interface UserTable {
  readonly name: TableName;
  readonly chains: ReadonlyMap<string, UserChain>;
}

export interface UserPart {
  readonly family: Family;
  readonly tables: ReadonlyMap<TableName, UserTable>;
}

/** A neighbour's rules of one family: its chains and its rules by chain, in live order. Kept for repairs. */
export interface NeighbourChain {
  readonly name: string;
  /** Who made the chain; undefined for a built-in chain or the user's, in which only the rules are the neighbour's. */
  readonly owner: OwnerId | undefined;
  readonly rules: readonly { readonly owner: OwnerId; readonly text: string }[];
}

export interface NeighbourPart {
  readonly family: Family;
  readonly tables: ReadonlyMap<TableName, ReadonlyMap<string, NeighbourChain>>;
}

export const isSlot = (item: Item): item is Extract<Item, { kind: 'slot' }> => item.kind === 'slot';

/** The user's rule texts of a chain, in order. */
export function ruleTexts(items: readonly Item[]): string[] {
  const texts: string[] = [];
  for (const item of items) if (item.kind === 'rule') texts.push(item.text);
  return texts;
}

/** How many rules of the user's a part, or one table of it, holds. */
export function countRules(part: UserPart | UserTable): number {
  if ('tables' in part) return [...part.tables.values()].reduce((sum, table) => sum + countRules(table), 0);
  let count = 0;
  for (const chain of part.chains.values()) for (const item of chain.items) if (item.kind === 'rule') count++;
  return count;
}

export function emptyPart(family: Family): UserPart {
  return { family, tables: new Map() };
}

/** Same tables, chains, policies, rules and slots, in the same order. */
export function sameUserPart(a: UserPart, b: UserPart): boolean {
  if (a === b) return true;
  return sameMaps(a.tables, b.tables, (one, two) => one === two || sameMaps(one.chains, two.chains, sameChain));
}

function sameChain(a: UserChain, b: UserChain): boolean {
  return (
    a === b ||
    (a.policy === b.policy &&
      a.items.length === b.items.length &&
      a.items.every((item, index) => sameItem(item, b.items[index] as Item)))
  );
}

function sameItem(a: Item, b: Item): boolean {
  if (a === b) return true;
  if (a.kind === 'rule' || b.kind === 'rule') return a.kind === 'rule' && b.kind === 'rule' && a.text === b.text;
  return (
    a.owner === b.owner && a.texts.length === b.texts.length && a.texts.every((text, index) => text === b.texts[index])
  );
}

function sameMaps<T>(a: ReadonlyMap<string, T>, b: ReadonlyMap<string, T>, same: (one: T, two: T) => boolean): boolean {
  if (a.size !== b.size) return false;
  for (const [key, one] of a) {
    const two = b.get(key);
    if (two === undefined || !same(one, two)) return false;
  }
  return true;
}
