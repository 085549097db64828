// What is missing of libvirt's nwfilter in ebtables' table nat: verified against what libvirt itself wrote, never written. Pure.
// nwfilter's rules of a guest's NIC are known from the last look at which libvirt was quiet; a NIC that libvirt has bound to no filter
// any more is none of its business. Measured (libvirt 9.0, 11.3): firewalld's `Reloaded` or a SIGHUP makes libvirt write all of it anew.
// Does not: know what a filter should be where mendwall never saw it whole (a daemon that starts after the flush).

import { missingFrom } from '../ruleset/multiset.ts';
import { filteredNic } from '../owners/libvirt-nwfilter.ts';
import { chainsOf, type NftTable } from '../ruleset/nft/types.ts';
import type { Drift } from './drift.ts';

/** By NIC (`vnet0`): its rules, chain by chain, `-A I-vnet0-mac -j DROP`, with the jumps to them. */
export type NicFilters = ReadonlyMap<string, readonly string[]>;

/** `libvirt-J-vnet0`, `P-vnet0-mac`: names until the filter is whole; a rebuild that others disturb may leave them behind. */
const BUILDING = /^(?:libvirt-)?[JP]-/;

/** What stands of nwfilter's, but for chains that libvirt is still building. */
export function nicFiltersIn(table: NftTable | undefined): NicFilters {
  const filters = new Map<string, string[]>();
  for (const { name, rules } of table === undefined ? [] : chainsOf(table))
    for (const { text } of rules) {
      const nic = filteredNic(name) ?? nicOfJump(text);
      const isBuilding = BUILDING.test(name) || BUILDING.test(/ -j (\S+)$/.exec(text)?.[1] ?? '');
      if (nic !== undefined && !isBuilding) filters.set(nic, [...(filters.get(nic) ?? []), text]);
    }
  return filters;
}

/** `-A PREROUTING -i vnet0 -j libvirt-I-vnet0` */
const nicOfJump = (text: string): string | undefined => filteredNic(/ -j (\S+)$/.exec(text)?.[1] ?? '');

/**
 * What is known from now on. `isWord`: libvirt is quiet, and what stands is as it wants it. `byLibvirt`: it has just written, so rules
 * that are gone are gone by its will, as far as something of the NIC's filter is left.
 */
export function learntFilters(
  known: NicFilters,
  live: NicFilters,
  bound: ReadonlySet<string>,
  { isWord, byLibvirt }: { readonly isWord: boolean; readonly byLibvirt: boolean },
): NicFilters {
  const next = new Map<string, readonly string[]>();
  for (const nic of bound) {
    const [before, now] = [known.get(nic), live.get(nic)];
    const isWhole = now !== undefined && (byLibvirt || missingFrom([...(before ?? [])], [...now]).length === 0);
    const rules = isWord && isWhole ? now : before;
    if (rules !== undefined) next.set(nic, rules);
  }
  return next;
}

/** One drift for each NIC whose filter is not whole. */
export function nwfilterDrift(known: NicFilters, live: NicFilters, bound: ReadonlySet<string>): Drift[] {
  return [...known].flatMap(([nic, rules]) => {
    const lost = bound.has(nic) ? missingFrom([...rules], [...(live.get(nic) ?? [])]) : [];
    return lost.length === 0 ? [] : [driftOf(nic, lost)];
  });
}

function driftOf(nic: string, lost: readonly string[]): Drift {
  const jump = lost.find((text) => nicOfJump(text) !== undefined && filteredNic(chainOf(text)) === undefined);
  const text = jump ?? lost[0] ?? '';
  const isUnhooked = lost.every((each) => filteredNic(chainOf(each)) === undefined);
  return {
    kind: isUnhooked ? 'foreign-unhooked' : 'foreign-lost',
    family: 'bridge',
    table: 'nat',
    chain: chainOf(text),
    text,
    owner: 'libvirt-nwfilter',
    evidence: `the filter of ${nic} lacks ${lost.length} ${lost.length === 1 ? 'rule' : 'rules'}; libvirt writes it`,
    rules: lost.length,
  };
}

const chainOf = (text: string): string => text.split(' ', 2)[1] ?? '';
