// Lines for ebtables-restore: the user's rules come back, a neighbour's are never named.

import { describe, expect, it } from 'vitest';

import { usersSaved } from '../../src/classify/classify-saved.ts';
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
