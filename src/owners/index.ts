// Every owner mendwall knows, in the order in which they claim. The first claim stands; what nobody claims is the user's.

import type { OwnerId } from '../ruleset/user-part.ts';
import { isNwfilterChain, libvirtNwfilter } from './libvirt-nwfilter.ts';
import { isLibvirtChain, libvirt } from './libvirt.ts';
import { mendwall } from './mendwall.ts';
import type { Owner } from './types.ts';

export const OWNERS: readonly Owner[] = [mendwall, libvirt, libvirtNwfilter];

const byId: ReadonlyMap<OwnerId, Owner> = new Map(OWNERS.map((owner) => [owner.id, owner]));

export function ownerById(id: OwnerId): Owner | undefined {
  return byId.get(id);
}

/** True for a chain that a neighbour keeps for itself, by its name alone: for events, before anything is read. */
export function isNeighbourChain(name: string): boolean {
  return isLibvirtChain(name) || isNwfilterChain(name);
}
