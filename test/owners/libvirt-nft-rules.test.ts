// What libvirt's nftables backend writes, computed from definitions, against what it wrote.

import { describe, expect, it } from 'vitest';
import { expectedNftRules, LIBVIRT_CHAINS, nftRuleKey } from '../../src/owners/libvirt-nft-rules.ts';
import { canonicalRule } from '../../src/ruleset/nft/same.ts';
import { chainsOf } from '../../src/ruleset/nft/types.ts';
import { captured, networkOf, WITH_RULES } from '../libvirt-nft.ts';

describe('the rules of a network', () => {
  it.each(WITH_RULES)('of kind %s are those libvirt wrote, in order within a chain, both families', async (kind) => {
    const expected = expectedNftRules(await networkOf(kind));
    const standing = captured(kind).flatMap((table) =>
      chainsOf(table)
        .filter(({ name }) => name !== 'forward')
        .flatMap(({ name, rules }) => rules.map(({ text }) => `${table.family} ${name} ${canonicalRule(text)}`)),
    );
    const inOrder = (['ip', 'ip6'] as const).flatMap((family) =>
      ['guest_output', 'guest_input', 'guest_cross', 'guest_nat'].flatMap((chain) =>
        expected
          .filter((rule) => rule.family === family && rule.chain === chain)
          .map(({ text }) => `${family} ${chain} ${text}`),
      ),
    );
    expect(inOrder).toEqual(standing);
    expect(inOrder.length).toBeGreaterThanOrEqual(3);
  });

  it.each(['open', 'bridge'])('of kind %s are none', async (kind) => {
    expect(expectedNftRules(await networkOf(kind))).toEqual([]);
  });

  it('of a whole address, one address and one port range are spelled as nft does', async () => {
    const nat = await networkOf('nat');
    const [address] = nat.addresses;
    const single = {
      ...nat,
      addresses: [{ ...address!, cidr: '10.0.0.1/32' }],
      natAddress: { start: '198.51.100.9', end: '198.51.100.9' },
    };
    const texts = expectedNftRules(single).map(({ text }) => text);
    expect(texts).toContain('ip saddr 10.0.0.1 iif "virbr0" counter accept');
    expect(texts).toContain('ip saddr 10.0.0.1 ip daddr != 10.0.0.1 counter snat to 198.51.100.9');
  });

  it('stand in the chains libvirt makes', () => {
    for (const table of captured('nat'))
      expect(Object.fromEntries(chainsOf(table).map(({ name, base }) => [name, base?.hook]))).toEqual(
        Object.fromEntries(
          Object.entries(LIBVIRT_CHAINS).map(([name, head]) => [name, / hook (\w+) /.exec(head ?? '')?.[1]]),
        ),
      );
  });
});

describe('a rule', () => {
  it.each([
    [
      'oif "virbr0" counter packets 5 bytes 9 reject',
      'oif "virbr0" counter packets 0 bytes 0 reject with icmp port-unreachable',
    ],
    ['oif "virbr0" counter reject', 'oif "virbr0" counter reject with icmpv6 type port-unreachable'],
    ['iif "a" oif "b" counter accept', 'oif "b" iif "a" counter packets 1 bytes 1 accept'],
    ['ct state established,related counter accept', 'ct state related,established counter accept'],
  ])('is the same in another listing: %s', (one, other) => {
    expect(nftRuleKey(one)).toBe(nftRuleKey(other));
  });

  it.each([
    ['oif "virbr0" counter reject', 'oif "virbr0" reject'],
    ['oif "virbr0" counter reject', 'oif "virbr1" counter reject'],
    ['oif "virbr0" counter reject', 'oif "virbr0" counter reject comment "mine"'],
    ['oif "virbr0" counter reject', 'oif "virbr0" counter reject with icmp host-prohibited'],
    ['oif "virbr0" counter reject', 'oif != "virbr0" counter reject'],
  ])('is another: %s and %s', (one, other) => {
    expect(nftRuleKey(one)).not.toBe(nftRuleKey(other));
  });
});
