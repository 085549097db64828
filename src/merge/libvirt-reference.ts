// What libvirt's part should hold by its definitions: the reference where no complete read is known, and what a complete read
// lacks of networks that were started since. Pure.

import type { Classified } from '../classify/classify.ts';
import { isLibvirtChain } from '../owners/libvirt.ts';
import { expectedLibvirtRules } from '../owners/libvirt-rules.ts';
import { isLibvirtJump } from '../owners/libvirt-shapes.ts';
import { missingFrom } from '../ruleset/multiset.ts';
import type { Network } from '../ruleset/network.ts';
import type { Family } from '../ruleset/types.ts';
import type { NeighbourChain, NeighbourPart, OwnerId } from '../ruleset/user-part.ts';

/**
 * Chains and plain jumps that libvirt makes once in its life, and the rules of its active networks: the reference where no
 * complete read is known. `networks` as read from its run folder; those of the nftables backend have none of this, nor has a
 * libvirt before 5.1, told by its bare rules in `live`.
 */
export function libvirtReference(family: Family, networks: readonly Network[], live?: Classified): NeighbourPart {
  const bare = live !== undefined && writesBareRules(live);
  const filtered = networks.filter(
    (network) => !bare && network.active && network.backend !== 'nftables' && hasRules(network),
  );
  const tables = new Map<string, Map<string, NeighbourChain>>();
  if (filtered.length === 0) return { family, tables };
  for (const [table, chain, target] of PRIVATE_CHAINS) {
    addChain(tables, table, target, 'libvirt');
    addRule(tables, table, chain, `-A ${chain} -j ${target}`);
  }
  for (const network of filtered) {
    for (const [table, rules] of expectedLibvirtRules(network).get(family) ?? []) {
      for (const rule of rules) addRule(tables, table, rule.chain, rule.text);
    }
  }
  return { family, tables };
}

function writesBareRules(live: Classified): boolean {
  return [...live.tables.values()].some((table) =>
    [...table.chains.values()].some(
      ({ chain, claims }) =>
        !isLibvirtChain(chain.name) &&
        chain.rules.some((rule, index) => claims[index]?.owner === 'libvirt' && !isLibvirtJump(rule.text)),
    ),
  );
}

const hasRules = (network: Network): boolean => expectedLibvirtRules(network).size > 0;

/** libvirt network_iptables.c, iptablesSetupPrivateChains: same set in IPv4 and IPv6; FORWARD ends as FWX, FWI, FWO. */
const PRIVATE_CHAINS: readonly (readonly [string, string, string])[] = [
  ['filter', 'INPUT', 'LIBVIRT_INP'],
  ['filter', 'OUTPUT', 'LIBVIRT_OUT'],
  ['filter', 'FORWARD', 'LIBVIRT_FWX'],
  ['filter', 'FORWARD', 'LIBVIRT_FWI'],
  ['filter', 'FORWARD', 'LIBVIRT_FWO'],
  ['nat', 'POSTROUTING', 'LIBVIRT_PRT'],
  ['mangle', 'POSTROUTING', 'LIBVIRT_PRT'],
];

function chainsOf(tables: Map<string, Map<string, NeighbourChain>>, table: string): Map<string, NeighbourChain> {
  const chains = tables.get(table) ?? new Map<string, NeighbourChain>();
  tables.set(table, chains);
  return chains;
}

function addChain(tables: Map<string, Map<string, NeighbourChain>>, table: string, name: string, owner: OwnerId): void {
  const chains = chainsOf(tables, table);
  if (!chains.has(name)) chains.set(name, { name, owner, rules: [] });
}

function addRule(tables: Map<string, Map<string, NeighbourChain>>, table: string, name: string, text: string): void {
  const chains = chainsOf(tables, table);
  const chain = chains.get(name) ?? { name, owner: undefined, rules: [] };
  chains.set(name, { ...chain, rules: [...chain.rules, { owner: 'libvirt', text }] });
}

/**
 * `known`, and in libvirt's own chains also what `active` holds besides: networks that started since the last complete read.
 * (libvirt writes a network's status file when its rules are complete: src/network/bridge_driver.c, networkStartNetwork.)
 */
export function withActive(known: NeighbourPart, active: NeighbourPart): NeighbourPart {
  const tables = new Map<string, ReadonlyMap<string, NeighbourChain>>();
  for (const [table, chains] of known.tables) {
    const grown = [...chains.values()].map((chain): NeighbourChain => {
      const own = isLibvirtChain(chain.name) ? (active.tables.get(table)?.get(chain.name)?.rules ?? []) : [];
      const missing = new Set(
        missingFrom(
          own.map((rule) => rule.text),
          chain.rules.map((rule) => rule.text),
        ),
      );
      // libvirt writes at the head of a chain: the newest network stands first.
      return missing.size === 0
        ? chain
        : { ...chain, rules: [...own.filter((rule) => missing.has(rule.text)), ...chain.rules] };
    });
    tables.set(table, new Map(grown.map((chain) => [chain.name, chain])));
  }
  return { family: known.family, tables };
}
