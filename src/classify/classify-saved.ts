// Whose the rules of ebtables' and arptables' tables are. Pure.
// A chain is a neighbour's by its name (nwfilter's, neutron's), with all in it; so is a rule elsewhere that jumps or goes there, and
// what mendwall left is mendwall's. The rest is the user's: in the built-in chains both stand side by side.

import { ownerOfSavedChain } from '../owners/index.ts';
import { SENTINEL } from '../owners/mendwall.ts';
import { mapObjects } from '../ruleset/nft/native-part.ts';
import { isBuiltinName, policyOf, savedChain } from '../ruleset/nft/saved.ts';
import { chainsOf, type NftTable } from '../ruleset/nft/types.ts';
import { MENDWALL, type OwnerId, USER } from '../ruleset/user-part.ts';

/** `user` for built-in chains, whose policy is the user's to set. */
export function ownerOfSaved(chain: string): OwnerId {
  if (isBuiltinName(chain)) return USER;
  return SENTINEL.test(chain) ? MENDWALL : (ownerOfSavedChain(chain) ?? USER);
}

/** Whose one rule is, `-A PREROUTING -i vnet0 -j libvirt-I-vnet0`, in this chain. */
export function ownerOfSavedRule(chain: string, text: string): OwnerId {
  const owner = ownerOfSaved(chain);
  if (owner !== USER) return owner;
  const target = / -j (\S+)/.exec(text)?.[1];
  return target === undefined ? USER : ownerOfSaved(target);
}

/** Chains of neighbours, by name. */
export function savedStrangers(table: NftTable): Map<string, OwnerId> {
  return new Map(
    chainsOf(table).flatMap(({ name }): [string, OwnerId][] => {
      const owner = ownerOfSaved(name);
      return owner === USER ? [] : [[name, owner]];
    }),
  );
}

/** The user's part of the table: without neighbours' chains, and jumps into them. */
export function usersSaved(table: NftTable): NftTable {
  return mapObjects(table, (object) => {
    if (object.kind !== 'chain') return object;
    if (ownerOfSaved(object.name) !== USER) return undefined;
    const texts = object.rules.map(({ text }) => text);
    const own = texts.filter((text) => ownerOfSavedRule(object.name, text) === USER);
    return own.length === texts.length ? object : savedChain(object.name, policyOf(object), own);
  });
}
