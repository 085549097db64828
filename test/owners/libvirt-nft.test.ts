// Whose the rules of libvirt's nftables table are, on captures and on tables put together.

import { describe, expect, it } from 'vitest';
import { type ClaimedNftRule, claimLibvirtTable } from '../../src/owners/libvirt-nft.ts';
import type { Network } from '../../src/ruleset/network.ts';
import { captured, networkOf, secondOf, tablesIn, transcript, WITH_RULES } from '../libvirt-nft.ts';

/** `guest_input: oif "virbr0" counter reject` -> the claim; the table has these rules in its chains, and libvirt's jumps. */
const claimsIn = (chains: Readonly<Record<string, readonly string[]>>, networks?: readonly Network[]) =>
  claimLibvirtTable(tableWith(chains), networks);

function tableWith(chains: Readonly<Record<string, readonly string[]>>) {
  const jumps = ['guest_cross', 'guest_input', 'guest_output'].map((name) => `counter packets 0 bytes 0 jump ${name}`);
  const all = { forward: [...jumps, ...(chains['forward'] ?? [])], ...without(chains, 'forward') };
  let handle = 1;
  const blocks = Object.entries(all).map(
    ([name, rules]) => `\tchain ${name} {\n${rules.map((rule) => `\t\t${rule} # handle ${handle++}\n`).join('')}\t}\n`,
  );
  return tablesIn(`table ip libvirt_network {\n${blocks.join('')}}\n`)[0]!;
}

const without = <T>(record: Readonly<Record<string, T>>, name: string): Record<string, T> =>
  Object.fromEntries(Object.entries(record).filter(([key]) => key !== name));

const isJump = ({ chain }: ClaimedNftRule): boolean => chain === 'forward';
const WALL = 'oif "virbr0" counter packets 0 bytes 0 reject';

describe('a rule that libvirt wrote', () => {
  it.each(WITH_RULES)('for a network of kind %s is libvirt’s, every one', async (kind) => {
    const network = await networkOf(kind);
    const claims = captured(kind).flatMap((table) => claimLibvirtTable(table, [network]));
    expect(claims.filter(isJump).map(({ claim }) => claim.evidence)).toEqual(
      new Array(6).fill('plain jump into its own chain'),
    );
    const rest = claims.filter((each) => !isJump(each));
    expect(rest.length).toBeGreaterThanOrEqual(3);
    expect(new Set(rest.map(({ claim }) => `${claim.owner} ${claim.network} ${claim.stale} ${claim.copy}`))).toEqual(
      new Set([`libvirt ${network.name} undefined undefined`]),
    );
  });

  it('for each of two networks is that one’s', async () => {
    const first = await networkOf('nat');
    const claims = captured('two-nat').flatMap((table) => claimLibvirtTable(table, [first, secondOf(first)]));
    const count = (name: string): number => claims.filter(({ claim }) => claim.network === name).length;
    expect([count('default'), count('second')]).toEqual([10, 10]);
  });

  it('is libvirt’s by its shape where no definition can be read', () => {
    const claims = captured('nat-ports-addr').flatMap((table) => claimLibvirtTable(table, undefined));
    expect(claims.filter(({ claim }) => claim.owner !== 'libvirt')).toEqual([]);
  });

  it('twice is a copy below: libvirt inserts at the head', async () => {
    const [, , , after] = transcript('bug-dns-host-update-leaks-rules.txt');
    const doubled = tablesIn(after!).flatMap((table) => claimLibvirtTable(table, [NAT]));
    expect(doubled.filter(({ claim }) => claim.copy).map(({ rule }) => rule.handle)).toEqual([
      12, 9, 18, 17, 16, 15, 14,
    ]);
    expect(doubled.filter(({ claim }) => !claim.copy).map(({ rule }) => rule.handle)).toEqual([
      22, 19, 28, 27, 26, 25, 24,
    ]);
  });
});

const NAT = await networkOf('nat');

describe('a rule of a network that is gone', () => {
  const listings = transcript('handles-after-restore.txt').map((text) => tablesIn(text));

  it('is stale by its interface, and nat’s by the subnet that goes with it', () => {
    const afterOne = listings.filter((tables) => tables.length > 0).at(-2)!;
    const claims = afterOne.flatMap((table) => claimLibvirtTable(table, [NAT]));
    const stale = claims.filter(({ claim }) => claim.stale).map(({ rule }) => rule.handle);
    expect(stale).toEqual([9, 10, 13, 14, 17, 19, 20, 21, 22, 23]);
    expect(claims.find(({ rule }) => rule.handle === 9)?.claim.evidence).toBe(
      'stale: written for interface 75, which is gone',
    );
    expect(claims.find(({ rule }) => rule.handle === 19)?.claim.evidence).toBe(
      "stale: no running network of libvirt's has 192.168.129.0/24",
    );
    expect(claims.filter(({ claim }) => claim.owner === 'user')).toEqual([]);
  });

  it('is stale where the network is defined, and not running', () => {
    const afterBoth = listings.filter((tables) => tables.length > 0).at(-1)!;
    const stopped = { ...secondOf(NAT), active: false };
    const claims = afterBoth.flatMap((table) => claimLibvirtTable(table, [stopped]));
    expect(claims.filter((each) => !isJump(each)).every(({ claim }) => claim.stale)).toBe(true);
    expect(claims.at(-1)?.claim.evidence).toBe('stale: network second does not run');
  });

  it('is not stale while its bridge exists: it is being started or stopped', () => {
    const claims = captured('nat').flatMap((table) => claimLibvirtTable(table, [{ ...NAT, active: false }]));
    expect(
      claims.filter((each) => !isJump(each)).map(({ claim }) => [claim.owner, claim.stale, claim.evidence]),
    ).toEqual(
      new Array(10).fill(['libvirt', undefined, 'written for network default, which is being started or stopped']),
    );
  });
});

describe('everything else is the user’s', () => {
  it.each([
    ['guest_input', 'oif "virbr0" tcp dport 22 accept'],
    ['guest_input', 'oif "virbr0" counter reject comment "mine"'],
    ['guest_output', 'oif "virbr0" counter reject'],
    ['guest_output', 'iif "virbr9" counter reject'],
    ['guest_cross', 'iif "virbr0" oif "virbr1" counter accept'],
    ['guest_nat', 'ip saddr 10.9.9.0/24 ip daddr != 10.9.9.0/24 counter masquerade'],
    ['guest_nat', 'ip saddr 10.9.9.0/24 ip daddr != 10.8.8.0/24 counter masquerade'],
    ['forward', 'counter jump mine'],
    ['forward', 'iif "eth0" counter jump guest_input'],
    ['mine', 'accept'],
  ])('in %s: %s', (chain, text) => {
    const claims = claimsIn({ [chain]: [text] }, [NAT]);
    expect(claims.filter(({ rule }) => rule.text === text)).toMatchObject([{ chain, claim: { owner: 'user' } }]);
  });
});

describe('a rule of the user’s in there', () => {
  const hidden = (chains: Readonly<Record<string, readonly string[]>>): (string | undefined)[] =>
    claimsIn(chains, [NAT])
      .filter(({ claim }) => claim.owner === 'user')
      .map(({ claim }) => claim.hiddenBy?.rule.text);

  it.each([
    'oif "virbr0" tcp dport 22 accept',
    'oifname "virbr0" accept',
    'ip daddr 192.168.122.10 tcp dport 22 counter accept',
    'ip daddr 192.168.122.128/25 accept',
  ])('is dead below the reject of its bridge: %s', (rule) => {
    expect(hidden({ guest_input: [WALL, rule] })).toEqual([WALL]);
    expect(hidden({ forward: [rule], guest_input: [WALL] })).toEqual([WALL]);
    expect(hidden({ guest_input: [rule, WALL] })).toEqual([undefined]);
    expect(hidden({ other: [rule], guest_input: [WALL] })).toEqual([undefined]);
  });

  it.each([
    'tcp dport 22 accept',
    'oif "virbr1" accept',
    'oif != "virbr0" accept',
    'ip daddr 192.168.0.0/16 accept',
    'ip daddr != 192.168.122.10 accept',
    'ip saddr 192.168.122.10 accept',
  ])('is not called dead where other packets may come to it: %s', (rule) => {
    expect(hidden({ guest_input: [WALL, rule] })).toEqual([undefined]);
  });

  it('of the way out is dead below the reject of the way out', () => {
    const wall = 'iif "virbr0" counter packets 0 bytes 0 reject';
    expect(hidden({ guest_output: [wall, 'ip saddr 192.168.122.9 accept'] })).toEqual([wall]);
  });

  it('is told with the handle of what hides it, and what comes when it is not', () => {
    const [dead] = claimsIn({ guest_input: [WALL, 'oif "virbr0" accept'] }, [NAT]).slice(-1);
    expect(dead?.claim.evidence).toBe('dead behind guest_input: oif "virbr0" counter reject (handle 4)');
    const [live] = claimsIn({ guest_input: ['oif "virbr0" accept'] }, [NAT]).slice(-1);
    expect(live?.claim.evidence).toContain("libvirt's next rewrite puts its own rules above it");
  });
});
