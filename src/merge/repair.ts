// libvirt's own part after a wipe: what it should hold, what is missing, and what may be put back by text. Pure.
// Goals: after a repair libvirt can net-destroy, net-start and restart without an error and without a duplicate.
// Guarantees: only rules of owners that delete by text are put back, and only for bridges and NICs that exist.
// Does not: decide when it is safe (the guard does: never while libvirt rebuilds by itself).

import { type Classified, type ClassifiedChain, type ClassifiedTable, neighbourTableOf } from '../classify/classify.ts';
import { ownerById } from '../owners/index.ts';
import { isLibvirtChain } from '../owners/libvirt.ts';
import type { Claim } from '../owners/types.ts';
import { isLibvirtJump } from '../owners/libvirt-shapes.ts';
import { countTexts, missingFrom } from '../ruleset/multiset.ts';
import type { NeighbourChain, NeighbourPart, OwnerId } from '../ruleset/user-part.ts';
import { weave } from './weave.ts';

type NeighbourTable = ReadonlyMap<string, NeighbourChain>;

/** What is missing of the neighbours' part, per table. */
export interface Loss {
  readonly owner: OwnerId;
  readonly table: string;
  readonly kind: 'foreign-lost' | 'foreign-unhooked';
  readonly chain: string;
  /** The rule that is missing; the chain itself when empty. */
  readonly text: string;
}

/** True for an interface that is there now. */
export type InterfaceExists = (name: string) => boolean;

/**
 * The part of `known` that may go back: its owner deletes by text, and every bridge or NIC it names exists. Rules that name
 * a subnet only (NAT) go by the bridge that `known` has for this subnet.
 */
export function restorable(known: NeighbourPart, exists: InterfaceExists): NeighbourPart {
  const goneSubnets = subnetsOfGoneBridges(known, exists);
  const tables = new Map<string, NeighbourTable>();
  for (const [table, chains] of known.tables) {
    const kept = [...chains.values()]
      .filter((chain) => chain.owner === undefined || (isByText(chain.owner) && nicExists(chain.name, exists)))
      .map((chain) => ({
        ...chain,
        rules: chain.rules.filter((rule) => isByText(rule.owner) && standsNow(rule.text, goneSubnets, exists)),
      }));
    tables.set(table, new Map(kept.map((chain) => [chain.name, chain])));
  }
  return { family: known.family, tables };
}

const isByText = (owner: OwnerId): boolean => ownerById(owner)?.byText === true;

/** `FI-vnet3`: nwfilter's chain of one guest NIC. */
const NIC_CHAIN = /^(?:FI|FO|HI|FJ|FP|HJ)-(\S+)$/;
/** `-i virbr0`, `-o virbr0`, `--physdev-in vnet3` */
const INTERFACES = / (?:-i|-o|--physdev-in|--physdev-out) (\S+)/g;
/** Interfaces that come and go with libvirt's networks and guests; others (eth0) may be down and still meant. */
const VOLATILE = /^(?:virbr|vnet|vif|tap|macvtap)/;

function nicExists(chain: string, exists: InterfaceExists): boolean {
  const nic = NIC_CHAIN.exec(chain)?.[1];
  return nic === undefined || exists(nic);
}

function standsNow(text: string, goneSubnets: ReadonlySet<string>, exists: InterfaceExists): boolean {
  const target = / -[jg] (\S+)/.exec(text)?.[1] ?? '';
  if (!nicExists(target, exists)) return false;
  for (const [, name] of text.matchAll(INTERFACES)) if (isGone(name as string, exists)) return false;
  const subnet = / -s (\S+)/.exec(text)?.[1];
  return subnet === undefined || !goneSubnets.has(subnet);
}

function isGone(name: string, exists: InterfaceExists): boolean {
  return !exists(name) && VOLATILE.test(name);
}

/** `-A LIBVIRT_FWO -s 192.168.122.0/24 -i virbr0 -j ACCEPT` */
const SUBNET_AND_BRIDGE = / -s (\S+) -i (\S+)/;

function subnetsOfGoneBridges(known: NeighbourPart, exists: InterfaceExists): Set<string> {
  const gone = new Set<string>();
  const standing = new Set<string>();
  for (const chain of known.tables.get('filter')?.values() ?? []) {
    for (const rule of chain.rules) {
      const [, subnet, bridge] = SUBNET_AND_BRIDGE.exec(rule.text) ?? [];
      if (subnet === undefined || bridge === undefined) continue;
      (exists(bridge) ? standing : gone).add(subnet);
    }
  }
  for (const subnet of standing) gone.delete(subnet);
  return gone;
}

/** What `reference` holds that does not stand live: lost rules and chains, and chains nothing jumps to. */
export function lossesOf(reference: NeighbourPart, live: Classified): Loss[] {
  const losses: Loss[] = [];
  for (const [table, chains] of reference.tables) {
    const present = live.tables.get(table);
    for (const chain of chains.values()) losses.push(...chainLosses(table, chain, present));
  }
  return losses;
}

function chainLosses(table: string, chain: NeighbourChain, live: ClassifiedTable | undefined): Loss[] {
  const entry = live?.chains.get(chain.name);
  const losses: Loss[] = [];
  if (entry === undefined && chain.owner !== undefined) {
    losses.push({ owner: chain.owner, table, kind: 'foreign-lost', chain: chain.name, text: '' });
  }
  const standing = entry?.chain.rules.map((rule) => rule.text) ?? [];
  const owners = new Map(chain.rules.map((rule) => [rule.text, rule.owner]));
  for (const text of missingFrom(
    chain.rules.map((rule) => rule.text),
    standing,
  )) {
    const kind = isHook(chain, text) && targetFilled(text, live) ? 'foreign-unhooked' : 'foreign-lost';
    losses.push({ owner: owners.get(text) ?? 'libvirt', table, kind, chain: chain.name, text });
  }
  return losses;
}

function isHook(chain: NeighbourChain, text: string): boolean {
  return chain.owner === undefined && / -[jg] (?:LIBVIRT_|libvirt-)/.test(text);
}

function targetFilled(text: string, live: ClassifiedTable | undefined): boolean {
  const target = / -[jg] (\S+)/.exec(text)?.[1] ?? '';
  return (live?.chains.get(target)?.chain.rules.length ?? 0) > 0;
}

/**
 * Further copies of what libvirt writes once: rules in its own chains, and its jumps. They are left when something else put
 * rules there while it rebuilt them; it deletes one copy by text, so the others would outlive their network. What stood
 * twice in `reference`, the last complete read, is no news.
 */
export function duplicatesOf(
  reference: NeighbourPart,
  live: Classified,
): { readonly table: string; readonly chain: string; readonly text: string }[] {
  return [...live.tables.values()].flatMap((table) =>
    [...table.chains.values()].flatMap((entry) =>
      [...duplicateIndexes(entry, reference.tables.get(table.name))].map((index) => ({
        table: table.name,
        chain: entry.chain.name,
        text: entry.chain.rules[index]?.text ?? '',
      })),
    ),
  );
}

/** libvirt inserts at the head, so the first copy is the one it wrote last. */
function duplicateIndexes({ chain, claims }: ClassifiedChain, reference: NeighbourTable | undefined): Set<number> {
  const indexes = new Set<number>();
  const known = countTexts(reference?.get(chain.name)?.rules.map((rule) => rule.text) ?? []);
  const seen = new Map<string, number>();
  chain.rules.forEach(({ text }, index) => {
    if (claims[index]?.owner !== 'libvirt' || !(isLibvirtChain(chain.name) || isLibvirtJump(text))) return;
    const copies = (seen.get(text) ?? 0) + 1;
    seen.set(text, copies);
    if (copies > Math.max(1, known.get(text) ?? 0)) indexes.add(index);
  });
  return indexes;
}

/**
 * libvirt writes a network's rules before the file that says it runs, and removes that file before the rules: while its bridge
 * exists, its rules are no stale copies. (networkStartNetwork, networkShutdownNetwork in libvirt's bridge_driver.c)
 */
export function settleStale(classified: Classified, exists: InterfaceExists): Classified {
  const isBetween = (claim: Claim): boolean => claim.bridge !== undefined && exists(claim.bridge);
  const tables = new Map(classified.tables);
  for (const table of classified.tables.values()) {
    const chains = new Map(table.chains);
    for (const [name, entry] of table.chains) {
      if (!entry.claims.some(isBetween)) continue;
      const claims = entry.claims.map((claim) =>
        isBetween(claim)
          ? { owner: claim.owner, evidence: `its network is being started or stopped (${claim.bridge} exists)` }
          : claim,
      );
      chains.set(name, { ...entry, claims });
      tables.set(table.name, { name: table.name, chains });
    }
  }
  return { ruleset: classified.ruleset, tables };
}

/** How the neighbours' part of a table should be. */
export interface ForeignWish {
  /** Put back what `restorable` gave; undefined: leave the neighbours as they stand. */
  readonly restore: NeighbourTable | undefined;
  /** Take out stale copies, which a load brought back, of owners that delete by text. */
  readonly dropStale: boolean;
  /** Take out further copies of libvirt's than this has, only while libvirt is quiet; undefined: leave them. */
  readonly onceEach: NeighbourTable | undefined;
}

/** The neighbours' chains and rules of one table as merge should place them. */
export function foreignTable(live: ClassifiedTable | undefined, wish: ForeignWish): Map<string, NeighbourChain> {
  const standing = live === undefined ? new Map<string, NeighbourChain>() : neighbourTableOf(withoutCopies(live, wish));
  for (const chain of wish.restore?.values() ?? [])
    standing.set(chain.name, restoredChain(chain, standing.get(chain.name)));
  return standing;
}

function restoredChain(known: NeighbourChain, standing: NeighbourChain | undefined): NeighbourChain {
  if (standing === undefined || standing.rules.length === 0) return { ...known, owner: standing?.owner ?? known.owner };
  const owners = new Map([...standing.rules, ...known.rules].map((rule) => [rule.text, rule.owner]));
  const missing = missingFrom(
    known.rules.map((rule) => rule.text),
    standing.rules.map((rule) => rule.text),
  );
  if (missing.length === 0) return standing;
  const texts = weave(
    standing.rules.map((rule) => rule.text),
    known.rules.map((rule) => rule.text),
  );
  return {
    name: known.name,
    owner: standing.owner ?? known.owner,
    rules: texts.map((text) => ({ owner: owners.get(text) ?? 'libvirt', text })),
  };
}

function withoutCopies(table: ClassifiedTable, { dropStale, onceEach }: ForeignWish): ClassifiedTable {
  const chains = new Map(table.chains);
  for (const entry of table.chains.values()) {
    const duplicates = onceEach === undefined ? new Set<number>() : duplicateIndexes(entry, onceEach);
    const keep = entry.claims.map(
      (claim, index) => !duplicates.has(index) && !(dropStale && claim.stale === true && isByText(claim.owner)),
    );
    if (!keep.includes(false)) continue;
    const rules = entry.chain.rules.filter((_, index) => keep[index]);
    const claims = entry.claims.filter((_, index) => keep[index]);
    chains.set(entry.chain.name, { ...entry, chain: { ...entry.chain, rules }, claims });
  }
  return { name: table.name, chains };
}
