// Whose the rule at a place is. Pure.

import type { Classified } from '../classify/classify.ts';
import { isMarked } from '../owners/mendwall.ts';
import { MENDWALL, type OwnerId } from '../ruleset/user-part.ts';
import type { Place } from './program.ts';

/** Tables that hold one program's rules alone. */
const NATIVE_OWNERS: Readonly<Record<string, OwnerId>> = { libvirt_network: 'libvirt', mendwall: MENDWALL };

/** Undefined for policies, which have no owner, and for native tables that nobody is known to own. */
export function ownerAt(
  classified: readonly Classified[],
  { engine, family, table, chain, index, text }: Place,
): OwnerId | undefined {
  if (engine === 'nft') return text !== undefined && isMarked(text) ? MENDWALL : NATIVE_OWNERS[table];
  const found = classified.find(({ ruleset }) => ruleset.family === family);
  return index === undefined ? undefined : found?.tables.get(table)?.chains.get(chain)?.claims[index]?.owner;
}
