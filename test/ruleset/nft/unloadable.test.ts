// What a listing cannot bring back, found in its text, and the tables that are iptables' to keep.

import { describe, expect, it } from 'vitest';
import { iptablesTables } from '../../../src/ruleset/nft/iptables-tables.ts';
import { parseNft } from '../../../src/ruleset/nft/parse.ts';
import { tableKey } from '../../../src/ruleset/nft/types.ts';
import { interfacesNeeded, unloadableIn } from '../../../src/ruleset/nft/unloadable.ts';
import { nftCapture, nftCaptures, tableIn, tableOf } from '../../captures/nft.ts';

const reasons = (...rules: readonly string[]): string[] =>
  unloadableIn(tableOf(...rules)).map(({ reason, line }) => `${reason} ${line}`);

describe('unloadable', () => {
  it.each([
    ['xt match physdev counter packets 0 bytes 0 accept', 'xt 3'],
    ['udp dport 68 counter packets 0 bytes 0 xt target CHECKSUM', 'xt 3'],
    ['counter packets 0 bytes 0 XT target MASQUERADE not found', 'xt 3'],
    [' counter packets 0 bytes 0 accept', 'hidden-xt 3'],
    ['ip saddr 10.99.0.0/16  counter packets 0 bytes 0 drop', 'hidden-xt 3'],
    ['counter packets 0 bytes 0 log prefix "q"u {"', 'quote 3'],
    ['counter packets 0 bytes 0 log prefix "a"b"c "', 'quote 3'],
    ['iif 73 accept', 'dead-interface 3'],
    ['oif != 73 accept', 'dead-interface 3'],
    ['iif { "lo", 73 } accept', 'dead-interface 3'],
    ['iif vmap { 73 : accept }', 'dead-interface 3'],
    ['tcp dport . oif { 22 . 73 } accept', 'dead-interface 3'],
  ])('%s', (rule, expected) => expect(reasons(rule)).toEqual([expected]));

  it('is not what only looks like it', () => {
    expect(
      reasons(
        'log prefix "xt match  physdev" accept',
        'meta hour "08:00"-"17:00" accept',
        'iifname { "a  b", "c" } tcp dport 73 accept comment "iif 73"',
        'iifgroup 2 accept',
        'fib saddr . iif oif missing drop',
        'iif "eth0" tcp dport 73 accept',
        'tcp dport . iif { 73 . "eth0" } accept',
        'iif . ct state vmap { "eth0" . 73 : accept }',
        'accept comment "two\nlines  of"',
      ),
    ).toEqual([]);
  });

  it('counts lines from the first of the table, over rules of several lines', () => {
    expect(
      reasons('accept comment "two\nlines"', 'jump {\n\t\t\tdrop\n\t\t}', 'iif 5 drop', 'accept', 'iif 6 drop'),
    ).toEqual(['dead-interface 8', 'dead-interface 10']);
  });

  it('is an owned table, a set with a dead interface, a table that is not whole', () => {
    const everything = parseNft(nftCapture('native/everything.nft-1.0.6.txt')).tables;
    const found = everything.flatMap((table) =>
      unloadableIn(table).map(({ reason, text }) => [tableKey(table), reason, text]),
    );
    expect(found).toEqual([
      ['inet k1', 'dead-interface', expect.stringMatching(/^iif \d+ oif \d+ ip saddr 1\.2\.3\.4 accept$/)],
      ['inet k1', 'dead-interface', expect.stringMatching(/^iif \{ "lo", \d+ \} accept$/)],
      ['ip own', 'owner', 'table ip own { # progname nft'],
    ]);
    const set = 'table inet t {\n\n\tset s {\n\t\ttype iface_index\n\t\telements = { "lo", 73 }\n\t}\n}\n';
    expect(unloadableIn(tableIn(set, 'inet t'))).toEqual([{ reason: 'dead-interface', line: 3, text: 'set s {' }]);
    expect(unloadableIn(tableIn(set.slice(0, -2), 'inet t'))).toContainEqual({
      reason: 'incomplete',
      line: 6,
      text: 'table inet t {',
    });
  });

  it('has none in what firewalld and libvirt keep in tables of their own', () => {
    for (const name of [
      'writers/firewalld-nftables.01-started.nft.ruleset',
      'libvirt-11-nftables/two-nat.nft-ruleset.txt',
    ]) {
      const ruleset = parseNft(nftCapture(name));
      const iptables = iptablesTables(ruleset);
      const native = ruleset.tables.filter((table) => !iptables.has(tableKey(table)));
      expect(native.length).toBeGreaterThan(0);
      expect(native.flatMap(unloadableIn)).toEqual([]);
    }
  });
});

describe('interfaces that must be there', () => {
  it('are those of iif, oif, devices and sets of indexes, not names that are compared as text', () => {
    const text = `table netdev t {
	flowtable f {
		devices = { "eth1" }
	}

	set s {
		type iface_index . inet_service
		elements = { "wg0" . 5 }
	}

	chain c {
		type filter hook ingress devices = { br0, "br1" } priority filter; policy accept;
		iif { "eth2", "eth3" } oif != "eth4" accept
		iif vmap { "eth5" : drop }
		iifname "eth6" accept comment "iif "
	}
}
`;
    expect(interfacesNeeded(tableIn(text, 'netdev t'))).toEqual([
      'br0',
      'br1',
      'eth1',
      'eth2',
      'eth3',
      'eth4',
      'eth5',
      'wg0',
    ]);
    expect(
      interfacesNeeded(tableIn(nftCapture('libvirt-11-nftables/nat.nft-ruleset.txt'), 'ip libvirt_network')),
    ).toEqual(['virbr0']);
  });
});

describe("tables of iptables'", () => {
  const evidence = (text: string, said = ''): Record<string, string> =>
    Object.fromEntries(iptablesTables(parseNft(text), said));

  it('are known by a warning of nft, by xt expressions, by their shape', () => {
    const base = (name: string, hook: string, more: string): string =>
      `table ip filter {\n\tchain ${name} {\n\t\ttype filter hook ${hook} priority filter; policy accept;\n${more}\t}\n}\n`;
    expect(evidence(base('INPUT', 'input', '\t\taccept\n'))).toEqual({ 'ip filter': 'shape' });
    expect(evidence(base('input', 'input', '\t\taccept\n'))).toEqual({});
    expect(evidence(base('INPUT', 'forward', '\t\taccept\n'))).toEqual({});
    expect(evidence(base('input', 'input', '\t\txt match physdev accept\n'))).toEqual({ 'ip filter': 'xt' });
    const warning = '# Warning: table ip filter is managed by iptables-nft, do not touch!\n';
    expect(evidence(warning + base('input', 'input', ''))).toEqual({ 'ip filter': 'warning' });
    expect(evidence(base('input', 'input', ''), warning)).toEqual({ 'ip filter': 'warning' });
    expect(evidence(base('INPUT', 'input', '').replace('priority filter', 'priority filter - 1'))).toEqual({});
    expect(evidence(base('INPUT', 'input', '').replace('\tchain', '\tset s {\n\t\ttype mark\n\t}\n\tchain'))).toEqual(
      {},
    );
    expect(evidence(base('INPUT', 'input', '').replace('ip filter', 'inet filter'))).toEqual({});
  });

  it('are all those with a name of theirs in the captures of other programs', () => {
    for (const { name, text } of nftCaptures().filter((each) => /^writers|^libvirt/.test(each.name))) {
      const ruleset = parseNft(text);
      const found = [...iptablesTables(ruleset).keys()];
      const expected = ruleset.tables
        .map(tableKey)
        .filter((key) => /^(?:ip6? (?:filter|nat|mangle|raw|security)|bridge (?:filter|nat))$/.test(key));
      expect([name, found]).toEqual([name, expected]);
    }
  });
});
