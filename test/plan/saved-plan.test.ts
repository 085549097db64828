// Lines for ebtables-restore: the user's rules come back, a neighbour's are never named.

import { describe, expect, it } from 'vitest';

import { ownerOfSavedRule, usersSaved } from '../../src/classify/classify-saved.ts';
import { planSaved, targetOf } from '../../src/plan/saved-plan.ts';
import { parseSaved } from '../../src/ruleset/nft/saved.ts';
import { chainsOf, type NftTable } from '../../src/ruleset/nft/types.ts';
import { filteredNat } from '../captures/bridge.ts';

const table = (text: string, family: 'bridge' | 'arp' = 'bridge'): NftTable =>
  parseSaved(text, family, 'test').tables[0] as NftTable;
const HEAD = '*nat\n:PREROUTING ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n';
const JUMP = '-A PREROUTING -i vnet0 -j libvirt-I-vnet0';
const lines = (live: NftTable | undefined, want: NftTable | undefined): string[] =>
  planSaved(live, want).map(({ text }) => text);
const order = (live: string, want: string): string[] =>
  chainsOf(targetOf(table(HEAD + live), table(HEAD + want)) as NftTable)[0]!.rules.map(({ text }) => text);

describe('beside nwfilter', () => {
  it('the user’s part of its table is empty, and wanting it so needs no line', () => {
    const own = usersSaved(filteredNat());
    expect(chainsOf(own).map(({ name, rules }) => `${name} ${rules.length}`)).toEqual([
      'PREROUTING 0',
      'OUTPUT 0',
      'POSTROUTING 0',
    ]);
    expect(lines(filteredNat(), own)).toEqual([]);
    expect(lines(filteredNat(), undefined)).toEqual([]);
  });

  it('lost rules come back above its jumps, by lines that name only them', () => {
    const want = table(`${HEAD}:mine RETURN\n-A PREROUTING -i p9 -j mine\n-A mine -p ARP -j DROP\n`);
    expect(lines(filteredNat(), want)).toEqual([
      ':mine RETURN',
      '-I PREROUTING 1 -i p9 -j mine',
      '-A mine -p ARP -j DROP',
    ]);
  });

  it.each([
    ['-A PREROUTING -i a -j DROP\n' + JUMP, '-A PREROUTING -i a -j DROP\n-A PREROUTING -i b -j DROP', 2],
    [JUMP + '\n-A PREROUTING -i b -j DROP', '-A PREROUTING -i a -j DROP\n-A PREROUTING -i b -j DROP', 1],
    [JUMP, '-A PREROUTING -i a -j DROP\n-A PREROUTING -i b -j DROP', 2],
  ])('its jump stays with the rule that follows it: %#', (live, want, place) => {
    expect(order(live, want).indexOf(JUMP)).toBe(place);
  });
});

it('a rule that stays is not touched, one that goes is deleted by its text, a chain that goes is emptied first', () => {
  const live = table(
    `${HEAD}:old DROP\n-A PREROUTING -i a -j old\n-A PREROUTING -i b -j DROP\n-A old -i c -j ACCEPT\n`,
  );
  const want = table(`${HEAD}-A PREROUTING -i b -j DROP\n`);
  expect(lines(live, want)).toEqual(['-D PREROUTING -i a -j old', '-D old -i c -j ACCEPT', '-X old']);
});

it('policies that close come before the rules, those that open after them', () => {
  const closed = table(`*filter\n:FORWARD DROP\n-A FORWARD -i a -j ACCEPT\n`);
  const open = table(`*filter\n:FORWARD ACCEPT\n`);
  expect(lines(open, closed)).toEqual(['-P FORWARD DROP', '-A FORWARD -i a -j ACCEPT']);
  expect(lines(closed, open)).toEqual(['-D FORWARD -i a -j ACCEPT', '-P FORWARD ACCEPT']);
});

it('an ARP table is written whole', () => {
  const want = table('*filter\n:INPUT ACCEPT\n:OUTPUT DROP\n:am -\n-A INPUT -j am\n-A am -j DROP -s 10.0.0.1\n', 'arp');
  expect(lines(undefined, want)).toEqual([
    ':INPUT ACCEPT',
    ':OUTPUT DROP',
    ':am -',
    '-A INPUT -j am',
    '-A am -j DROP -s 10.0.0.1',
  ]);
});

describe('beside neutron', () => {
  // As its agent writes it for a port (agent/linuxbridge/arp_protect.py), and ebtables-save prints it.
  const THEIRS = [
    ':neutronARP-tap5c0b1d02-3f DROP\n:neutronMAC-tap5c0b1d02-3f DROP',
    '-A PREROUTING -i tap5c0b1d02-3f -j neutronMAC-tap5c0b1d02-3f',
    '-A PREROUTING -p ARP -i tap5c0b1d02-3f -j neutronARP-tap5c0b1d02-3f',
    '-A neutronARP-tap5c0b1d02-3f -p ARP --arp-ip-src 10.0.0.5 -j ACCEPT\n-A neutronARP-tap5c0b1d02-3f -j DROP',
    '-A neutronMAC-tap5c0b1d02-3f -i tap5c0b1d02-3f --among-src fa:16:3e:0:0:5 -j RETURN\n-A neutronMAC-tap5c0b1d02-3f -j DROP\n',
  ].join('\n');

  it('nothing of it is the user’s, and what comes back names none of it', () => {
    const live = table(HEAD + THEIRS);
    expect(chainsOf(usersSaved(live)).flatMap(({ name, rules }) => [name, rules.length])).toEqual([
      ...['PREROUTING', 0, 'OUTPUT', 0, 'POSTROUTING', 0],
    ]);
    const want = table(`${HEAD}-A PREROUTING -i p9 -j DROP\n`);
    expect(lines(live, want)).toEqual(['-I PREROUTING 1 -i p9 -j DROP']);
    expect(ownerOfSavedRule('PREROUTING', '-A PREROUTING -i p9 -j neutronMAC-p9')).toBe('openstack-neutron');
  });

  it('a chain of the user’s with such a beginning is the user’s', () => {
    expect(ownerOfSavedRule('PREROUTING', '-A PREROUTING -j neutronMAC-of-all-my-guests')).toBe('user');
  });
});
