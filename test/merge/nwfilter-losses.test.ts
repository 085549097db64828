// nwfilter's rules of a guest's NIC: learnt while libvirt is quiet, missed while the NIC is bound.

import { describe, expect, it } from 'vitest';

import { learntFilters, type NicFilters, nicFiltersIn, nwfilterDrift } from '../../src/merge/nwfilter-losses.ts';
import { mapObjects } from '../../src/ruleset/nft/native-part.ts';
import { policyOf, savedChain } from '../../src/ruleset/nft/saved.ts';
import type { NftTable } from '../../src/ruleset/nft/types.ts';
import { filteredNat } from '../captures/bridge.ts';

const KNOWN = nicFiltersIn(filteredNat());
const BOUND = new Set(['vnet0']);
const WORD = { isWord: true, byLibvirt: false };

const without = (lost: (chain: string, text: string) => boolean): NftTable =>
  mapObjects(filteredNat(), (object) =>
    object.kind === 'chain'
      ? savedChain(
          object.name,
          policyOf(object),
          object.rules.map(({ text }) => text).filter((text) => !lost(object.name, text)),
        )
      : object,
  );
const drift = (live: NicFilters, bound = BOUND): string[] =>
  nwfilterDrift(KNOWN, live, bound).map(({ kind, owner, rules, text }) => `${kind} ${owner} ${rules} ${text}`);

describe('a real guest’s filter', () => {
  it('is all of vnet0’s: 29 rules, the jumps among them', () => {
    expect([...KNOWN].map(([nic, rules]) => [nic, rules.length])).toEqual([['vnet0', 29]]);
    expect(drift(KNOWN)).toEqual([]);
  });

  it('is not what libvirt is still building, or left behind', () => {
    const building = ['libvirt-J-vnet0', 'J-vnet0-mac', 'P-vnet0-ipv4'].map((name) =>
      savedChain(name, 'ACCEPT', [`-A ${name} -j DROP`]),
    );
    const jump = savedChain('PREROUTING', 'ACCEPT', ['-A PREROUTING -i vnet0 -j libvirt-J-vnet0']);
    const chains = [jump, ...building];
    expect(nicFiltersIn({ ...filteredNat(), objects: chains, parts: chains })).toEqual(new Map());
  });

  it('without its jump is unhooked', () => {
    const live = nicFiltersIn(without((chain) => chain === 'PREROUTING'));
    expect(drift(live)).toEqual(['foreign-unhooked libvirt-nwfilter 1 -A PREROUTING -i vnet0 -j libvirt-I-vnet0']);
  });

  it('flushed is lost, also with its table; a guest that stopped misses nothing', () => {
    expect(drift(new Map())).toEqual(['foreign-lost libvirt-nwfilter 29 -A PREROUTING -i vnet0 -j libvirt-I-vnet0']);
    expect(drift(nicFiltersIn(without((chain) => chain === 'I-vnet0-mac')))).toHaveLength(1);
    expect(drift(new Map(), new Set())).toEqual([]);
  });
});

describe('what is known', () => {
  const part = nicFiltersIn(without((chain) => chain === 'I-vnet0-mac'));
  it('is learnt at quiet, not while libvirt writes, and forgotten with the NIC', () => {
    expect(learntFilters(new Map(), KNOWN, BOUND, WORD)).toEqual(KNOWN);
    expect(learntFilters(new Map(), KNOWN, BOUND, { ...WORD, isWord: false }).size).toBe(0);
    expect(learntFilters(KNOWN, KNOWN, new Set(), WORD).size).toBe(0);
  });

  it('does not shrink by what is missing, unless libvirt has just written', () => {
    expect(learntFilters(KNOWN, part, BOUND, WORD)).toEqual(KNOWN);
    expect(learntFilters(KNOWN, part, BOUND, { isWord: true, byLibvirt: true })).toEqual(part);
    expect(learntFilters(KNOWN, new Map(), BOUND, { isWord: true, byLibvirt: true })).toEqual(KNOWN);
  });
});
