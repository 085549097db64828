// Every owner mendwall knows, in the order in which they claim. The first claim stands; what nobody claims is the user's.
// A new neighbour is one file beside this one, and its name in NEIGHBOURS.

import type { OwnerId } from '../ruleset/user-part.ts';
import { calico } from './calico.ts';
import { neighbourClaims } from './claim-neighbours.ts';
import { cloudstack } from './cloudstack.ts';
import { cni } from './cni.ts';
import { crowdsec } from './crowdsec.ts';
import { docker } from './docker.ts';
import { fail2ban } from './fail2ban.ts';
import { firewalld } from './firewalld.ts';
import { incus } from './incus.ts';
import { keepalived } from './keepalived.ts';
import { kubernetes } from './kubernetes.ts';
import { filteredNic, isNwfilterChain, libvirtNwfilter } from './libvirt-nwfilter.ts';
import { isLibvirtChain, libvirt } from './libvirt.ts';
import { lxcNet } from './lxc-net.ts';
import { lxd } from './lxd.ts';
import { mendwall } from './mendwall.ts';
import { miniupnpd } from './miniupnpd.ts';
import { nativeTableOwners } from './native-tables.ts';
import { opennebula } from './opennebula.ts';
import { openstackNeutron } from './openstack-neutron.ts';
import { openstackNova } from './openstack-nova.ts';
import { podman } from './podman.ts';
import { proxmox } from './proxmox.ts';
import { rackconnect } from './rackconnect.ts';
import { shorewall } from './shorewall.ts';
import { sshguard } from './sshguard.ts';
import { strongswan } from './strongswan.ts';
import { systemdNetworkd } from './systemd-networkd.ts';
import { tailscale } from './tailscale.ts';
import type { ClaimSheet, Neighbour, Owner, OwnerTraits, OwnerView } from './types.ts';
import { ufw } from './ufw.ts';
import { wgQuick } from './wg-quick.ts';
import { xen } from './xen.ts';

/** Owners with a signature of their own making. */
const OWNERS_FIRST: readonly Owner[] = [mendwall, libvirt, libvirtNwfilter];

/** Neighbours described by data, in the order of docs/owners.md. No chain is claimed by two of them. */
export const NEIGHBOURS: readonly Neighbour[] = [
  docker,
  podman,
  cni,
  firewalld,
  ufw,
  fail2ban,
  xen,
  openstackNeutron,
  openstackNova,
  rackconnect,
  cloudstack,
  opennebula,
  proxmox,
  kubernetes,
  calico,
  lxd,
  incus,
  lxcNet,
  tailscale,
  wgQuick,
  strongswan,
  keepalived,
  sshguard,
  crowdsec,
  miniupnpd,
  systemdNetworkd,
  shorewall,
];

/** All that is compiled in. */
export const OWNERS: readonly OwnerTraits[] = [...OWNERS_FIRST, ...NEIGHBOURS];

let neighbours: readonly Neighbour[] = NEIGHBOURS;
let claims = neighbourClaims(NEIGHBOURS);
let byId = idsOf(NEIGHBOURS);
let tableOwners = nativeTableOwners(NEIGHBOURS);

function idsOf(list: readonly Neighbour[]): ReadonlyMap<OwnerId, OwnerTraits> {
  return new Map([...OWNERS_FIRST, ...list].map((owner) => [owner.id, owner]));
}

/**
 * Takes the owners that the configuration describes (`[[owners]]`) in front of the built-in neighbours. Called where the
 * configuration is opened, before anything is classified; a later call replaces those of the one before.
 */
export function useConfiguredOwners(configured: readonly Neighbour[]): void {
  neighbours = [...configured, ...NEIGHBOURS];
  claims = neighbourClaims(neighbours);
  byId = idsOf(neighbours);
  tableOwners = nativeTableOwners(neighbours);
}

/** The user's rules of this chain are to stand above this neighbour's (`[[order]]`). */
export interface OrderWish {
  readonly chain: string;
  readonly above: OwnerId;
}

let orderWishes: readonly OrderWish[] = [];

/** Takes the orders that the configuration asks for; called where `useConfiguredOwners` is. */
export function useConfiguredOrder(wishes: readonly OrderWish[]): void {
  orderWishes = wishes;
}

/** True where the configuration wants the user's rules of this chain above this owner's. */
export const isWantedBelow = (id: OwnerId, chain: string): boolean =>
  orderWishes.some((wish) => wish.above === id && wish.chain === chain);

/** Everybody's claims on one table. */
export function claimAll(view: OwnerView, sheet: ClaimSheet): void {
  for (const owner of OWNERS_FIRST) owner.claim(view, sheet);
  claims.claim(view, sheet);
}

export function ownerById(id: OwnerId): OwnerTraits | undefined {
  return byId.get(id);
}

/** A neighbour described by data; undefined for libvirt, mendwall and the user. */
export function neighbourById(id: OwnerId): Neighbour | undefined {
  return neighbours.find((each) => each.id === id);
}

/** libvirt or its nwfilter: the owners whose part mendwall repairs. */
export function isLibvirts(id: OwnerId | undefined): boolean {
  return id === libvirt.id || id === libvirtNwfilter.id;
}

/**
 * Whose chain this is by its name alone: for events, before anything is read. Undefined for the user's, for chains that
 * their owner leaves to the user, and for names that need more evidence.
 */
export function ownerOfChain(name: string): OwnerId | undefined {
  if (isLibvirtChain(name)) return libvirt.id;
  return isNwfilterChain(name) ? libvirtNwfilter.id : claims.ownerOfChain(name);
}

/** The same for a chain of ebtables' or arptables' tables, where nwfilter has names of its own. */
export const ownerOfSavedChain = (name: string): OwnerId | undefined =>
  filteredNic(name) === undefined ? ownerOfChain(name) : libvirtNwfilter.id;

/** Whose native table (`inet filter`) this is by its name alone; undefined: the user's. */
export function ownerOfNativeTable(key: string): OwnerId | undefined {
  return tableOwners(key);
}

/** True for a chain that a neighbour keeps for itself. */
export function isNeighbourChain(name: string): boolean {
  return ownerOfChain(name) !== undefined;
}

/** True where the snapshot remembers how this owner's rules stand among the user's. */
export function keepsSlot(id: OwnerId, chain: string): boolean {
  if (byId.get(id)?.slot === 'kept') return true;
  return neighbourById(id)?.chains?.some((sign) => sign.name === chain && sign.slot === 'kept') === true;
}

/** True for a chain that this owner made and leaves to the user. */
export function isLeftToUser(id: OwnerId, chain: string): boolean {
  return neighbourById(id)?.chains?.some((sign) => sign.name === chain && sign.users !== undefined) === true;
}
