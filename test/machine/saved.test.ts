// What commits say about ebtables' and arptables' tables: a flush of the user's, nwfilter's own rewriting, our locks.

import { describe, expect, it } from 'vitest';

import type { Commit, NativeChange } from '../../src/events/types.ts';
import { isOwn } from '../../src/guard/own-commits.ts';
import { addCommit, type Burst, openBurst } from '../../src/machine/burst.ts';
import type { PassContext } from '../../src/pass/types.ts';
import { LIBVIRTD, nativeCommit } from '../commits.ts';

const FILTER = 'bridge filter';
const NAT = 'bridge nat';
const burstOf = (...commits: Commit[]): Burst =>
  commits.reduce((burst, each, index) => addCommit(burst, each, index), openBurst(0));

describe('a flush by ebtables', () => {
  it('writes the policies of chains anew, and is a wipe, no load', () => {
    const flush = { table: FILTER, rulesDeleted: 5, rulesAdded: 1, ruleChains: ['FORWARD', 'mine'] };
    expect(burstOf(nativeCommit({ run: 'ebtables -F' }, flush)).native.get(FILTER)).toMatchObject({
      wiped: true,
      replaced: false,
      addedAfterWipe: false,
    });
  });

  it('of one rule is told from its deletion by the command', () => {
    const one = { table: FILTER, rulesDeleted: 1, ruleChains: ['FORWARD'] };
    expect(burstOf(nativeCommit({ run: 'ebtables -F' }, one)).native.get(FILTER)).toMatchObject({ wiped: true });
    expect(burstOf(nativeCommit({ run: 'ebtables -D FORWARD 1' }, one)).native.get(FILTER)).toMatchObject({
      wiped: false,
    });
  });

  it('is a load when the whole table was made anew', () => {
    const load = { table: FILTER, deletesTable: true, addsTable: true, rulesDeleted: 3, rulesAdded: 3 };
    expect(burstOf(nativeCommit({ run: 'ebtables-restore' }, load)).native.get(FILTER)).toMatchObject({
      replaced: true,
    });
  });
});

describe('nwfilter', () => {
  const chains = { table: NAT, rulesDeleted: 4, chainsDeleted: ['I-vnet0-mac'], ruleChains: ['libvirt-I-vnet0'] };

  it('rewriting its own is nothing of the user’s, and no wipe', () => {
    const burst = burstOf(nativeCommit({ parents: [LIBVIRTD] }, chains), nativeCommit({}, chains));
    expect([burst.native.size, burst.wiped, burst.libvirt]).toEqual([0, false, 'seen']);
  });

  it('losing its chains to somebody else’s flush is a wipe', () => {
    expect(burstOf(nativeCommit({ run: 'ebtables -t nat -F' }, chains)).wiped).toBe(true);
    expect(burstOf(nativeCommit({ run: 'ebtables -t nat -X I-vnet0-mac', parents: ['bash'] }, chains)).wiped).toBe(
      true,
    );
  });

  it('losing one jump by hand is none, though ebtables writes the policies of its chains anew', () => {
    // nft monitor of `ebtables -t nat -D PREROUTING -i vnet0 -j libvirt-I-vnet0`, and of -F.
    const one = { table: NAT, rulesDeleted: 2, rulesAdded: 1, ruleChains: ['libvirt-I-vnet0', 'PREROUTING'] };
    const all = {
      table: NAT,
      rulesDeleted: 5,
      rulesAdded: 2,
      ruleChains: ['libvirt-I-vnet0', 'I-vnet0-mac', 'PREROUTING'],
    };
    const by = { run: 'ebtables -t nat -D PREROUTING -i vnet0 -j libvirt-I-vnet0', parents: ['sh'] };
    expect(burstOf(nativeCommit(by, one)).wiped).toBe(false);
    expect(burstOf(nativeCommit({ run: 'ebtables -t nat -F', parents: ['sh'] }, all)).wiped).toBe(true);
  });

  it('is not heard as a wipe where of its own program only the command could be read', () => {
    const run = 'ebtables --concurrent -t nat -F I-vnet0-mac';
    expect(burstOf(nativeCommit({ run }, chains)).wiped).toBe(false);
  });

  it('our locks are nothing of the user’s', () => {
    expect(burstOf(nativeCommit({}, { table: FILTER, chainsDeleted: ['mw-01234567'] })).native.size).toBe(0);
  });
});

describe('a lock that is taken away by a commit of its own', () => {
  const heard = (change: Partial<NativeChange>): boolean => {
    const made = nativeCommit({ run: 'ebtables-restore --noflush' }, { table: FILTER, ...change });
    return isOwn({ ownSentinels: new Set<string>() } as unknown as PassContext, { kind: 'commit', commit: made });
  };

  it('is our own doing, and no reason to look', () => {
    expect(heard({ chainsDeleted: ['mw-01234567'] })).toBe(true);
  });

  it.each([
    { chainsDeleted: ['mw-01234567', 'mine'] },
    { chainsDeleted: ['mw-01234567'], rulesDeleted: 1, ruleChains: ['FORWARD'] },
    { chainsDeleted: ['mw-01234567'], chainsAdded: ['FORWARD'] },
    { chainsDeleted: ['mw-01234567'], deletesTable: true },
    { table: 'inet filter', chainsDeleted: ['mw-01234567'] },
    {},
  ])('is not, when anything else changed: %j', (change) => expect(heard(change)).toBe(false));
});

describe('neutron', () => {
  const chains = ['neutronARP-tap5c0b1d02-3f', 'neutronMAC-tap5c0b1d02-3f'];

  it('rewriting its chains is nothing of the user’s', () => {
    const change = { table: NAT, chainsAdded: chains, rulesAdded: 3, ruleChains: chains };
    expect(burstOf(nativeCommit({}, change)).native.size).toBe(0);
  });
});
