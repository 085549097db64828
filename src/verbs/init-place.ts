// `init --place above`: libvirt's place goes below the user's rules, down to the catch-all, so that rules it hid wake. Pure.

import { catchAllPlace } from '../merge/catch-all.ts';
import { type Item, ruleTexts, type UserChain, type UserPart, type UserTable } from '../ruleset/user-part.ts';

export interface Lowered {
  readonly part: UserPart;
  /** Chains whose slot went down: `ip filter FORWARD`. */
  readonly moved: readonly string[];
}

/** libvirt's slots in built-in chains go down to directly above the first catch-all; none goes up. */
export function lowerSlots(part: UserPart, isGuestBridge: (name: string) => boolean): Lowered {
  const moved: string[] = [];
  const tables = new Map<string, UserTable>();
  for (const table of part.tables.values()) {
    const chains = new Map<string, UserChain>();
    for (const chain of table.chains.values()) {
      const items =
        chain.policy === '-' || chain.policy === 'foreign' ? chain.items : lowered(chain.items, isGuestBridge);
      if (items !== chain.items) moved.push(`${part.family} ${table.name} ${chain.name}`);
      chains.set(chain.name, { ...chain, items });
    }
    tables.set(table.name, { name: table.name, chains });
  }
  return { part: { family: part.family, tables }, moved };
}

function lowered(items: readonly Item[], isGuestBridge: (name: string) => boolean): readonly Item[] {
  const users = ruleTexts(items);
  const place = catchAllPlace(users, isGuestBridge);
  const mine: Item[] = [];
  const rest: Item[] = [];
  let above = 0;
  for (const item of items) {
    if (item.kind === 'rule') above++;
    (item.kind === 'slot' && item.owner === 'libvirt' && above < place ? mine : rest).push(item);
  }
  if (mine.length === 0) return items;
  const at = indexBelow(rest, place);
  return [...rest.slice(0, at), ...mine, ...rest.slice(at)];
}

/** Index of the first item that has `rules` rules above it. */
function indexBelow(items: readonly Item[], rules: number): number {
  let above = 0;
  for (const [index, item] of items.entries()) {
    if (above >= rules) return index;
    if (item.kind === 'rule') above++;
  }
  return items.length;
}
