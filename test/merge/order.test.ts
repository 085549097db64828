// `[[order]]`: the user's rules above a neighbour's that insists on the top.

import { afterEach, describe, expect, it } from 'vitest';
import { mergeChain, type PlacedRule } from '../../src/merge/place.ts';
import { useConfiguredOrder } from '../../src/owners/index.ts';
import type { Item } from '../../src/ruleset/user-part.ts';

const JUMP: PlacedRule = { owner: 'fail2ban', text: '-A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd' };
const OTHER: PlacedRule = { owner: 'docker', text: '-A INPUT -j DOCKER-X' };
const ALLOW = '-A INPUT -s 192.0.2.7/32 -j ACCEPT';
const SSH = '-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT';
const END = '-A INPUT -j DROP';
const rule = (text: string): Item => ({ kind: 'rule', text });
const user = (text: string): PlacedRule => ({ owner: 'user', text });

const placed = (items: readonly Item[], foreign: readonly PlacedRule[], live: readonly PlacedRule[]): string[] =>
  mergeChain(
    items,
    foreign,
    () => live,
    () => false,
  ).map(({ text }) => text);

describe('an order that the configuration asks for', () => {
  afterEach(() => useConfiguredOrder([]));

  it('puts the user’s rules above the neighbour’s, whatever the snapshot’s slot says, but not what ends the chain', () => {
    const items: Item[] = [{ kind: 'slot', owner: 'fail2ban', texts: [JUMP.text] }, ...[ALLOW, SSH, END].map(rule)];
    const live = [JUMP, ...[ALLOW, SSH, END].map(user)];
    expect(placed(items, [JUMP], live)).toEqual([JUMP.text, ALLOW, SSH, END]);
    useConfiguredOrder([{ chain: 'INPUT', above: 'fail2ban' }]);
    const wanted = [ALLOW, SSH, JUMP.text, END];
    expect(placed(items, [JUMP], live)).toEqual(wanted);
    // Once it stands so, nothing is to be moved.
    expect(placed(items, [JUMP], [user(ALLOW), user(SSH), JUMP, user(END)])).toEqual(wanted);
  });

  it('is of that chain and that neighbour alone, and moves none that stands lower', () => {
    useConfiguredOrder([
      { chain: 'FORWARD', above: 'fail2ban' },
      { chain: 'INPUT', above: 'docker' },
    ]);
    const items = [ALLOW, END].map(rule);
    expect(placed(items, [JUMP], [JUMP, user(ALLOW), user(END)])).toEqual([JUMP.text, ALLOW, END]);
    expect(placed(items, [OTHER], [user(ALLOW), user(END), OTHER])).toEqual([ALLOW, END, OTHER.text]);
  });
});
