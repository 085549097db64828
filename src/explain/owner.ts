// Whose the rule at a place is. Pure.

import type { Classified } from '../classify/classify.ts';
import type { OwnerId } from '../ruleset/user-part.ts';
import type { Place } from './program.ts';

/** Undefined for policies, which have no owner, and for native tables that nobody is known to own. */
export function ownerAt(
  classified: readonly Classified[],
  { engine, family, table, chain, index }: Place,
): OwnerId | undefined {
  if (engine === 'nft') return table === 'libvirt_network' ? 'libvirt' : undefined;
  const found = classified.find(({ ruleset }) => ruleset.family === family);
  return index === undefined ? undefined : found?.tables.get(table)?.chains.get(chain)?.claims[index]?.owner;
}
