// When two listings of a table are the same, and when not.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseNft } from '../../../src/ruleset/nft/parse.ts';
import { canonicalRule, canonicalTable, sameTable, tableFingerprint } from '../../../src/ruleset/nft/same.ts';
import type { NftTable } from '../../../src/ruleset/nft/types.ts';
import { nftCapture, tableIn } from '../../captures/nft.ts';
import { nftRulesets } from '../../generate/nft-ruleset.ts';

const listing = (kind: string): string => nftCapture(`native/everything.nft-1.0.6${kind}.txt`);
const canonical = (text: string): string[] =>
  parseNft(text).tables.map((table) => canonicalTable(table, { dynamicElements: true }));

describe('one ruleset, listed in several ways', () => {
  it('is the same with handles, and without any state (nft -s)', () => {
    expect(canonical(listing('.handles'))).toEqual(canonical(listing('')));
    expect(canonical(listing('.stateless'))).toEqual(canonical(listing('')));
    expect(canonical(listing('')).join('')).not.toMatch(/packets \d|expires|used \d/);
  });
});

describe('rules', () => {
  it.each([
    ['counter packets 7 bytes 9 accept', 'counter accept'],
    ['quota over 5 mbytes used 1 mbytes drop', 'quota over 5 mbytes drop'],
    ['last used 1m3s accept', 'last accept'],
    ['tcp dport { 443, 22 } accept', 'tcp dport { 22, 443 } accept'],
    ['iifname { "b, c", "a" } tcp dport { 2, 1 }', 'iifname { "a", "b, c" } tcp dport { 1, 2 }'],
    ['ct state vmap { new : drop, established : accept }', 'ct state vmap { established : accept, new : drop }'],
    ['log prefix "counter packets 7 bytes 9" drop', 'log prefix "counter packets 7 bytes 9" drop'],
    ['accept comment "{ 2, 1 }"', 'accept comment "{ 2, 1 }"'],
    ['jump {\n\t\t\tdrop\n\t\t\taccept, x\n\t\t}', 'jump {\n\t\t\tdrop\n\t\t\taccept, x\n\t\t}'],
    ['log prefix "q"u { 2, 1 }', 'log prefix "q"u { 1, 2 }'],
  ])('%s', (text, expected) => expect(canonicalRule(text)).toBe(expected));
});

describe('tables', () => {
  const TABLE = `table inet t {
	set s {
		type ipv4_addr
		flags timeout
		elements = { 1.1.1.1 timeout 1h expires 5m comment "x", 2.2.2.2 timeout 1h expires 6m counter packets 1 bytes 2 }
	}

	set seen {
		type mark
		flags dynamic,timeout
		elements = { 0x00000007 expires 5s }
	}

	counter hits {
		packets 1 bytes 2
	}

	chain c {
		type filter hook input priority filter; policy accept;
		tcp dport 22 counter packets 3 bytes 4 accept
		drop
	}
}
`;
  const table = tableIn(TABLE, 'inet t');
  const changed = (from: string, to: string): NftTable => {
    expect(TABLE).toContain(from);
    return tableIn(TABLE.replace(from, to), 'inet t');
  };

  it.each([
    ['a counter moved on', 'packets 3 bytes 4', 'packets 30 bytes 40'],
    ['a named counter moved on', 'packets 1 bytes 2\n', 'packets 5 bytes 6\n'],
    ['time went by', 'expires 5m', 'expires 4m59s'],
    [
      'elements stand in another order',
      '1.1.1.1 timeout 1h expires 5m comment "x", 2.2.2.2 timeout 1h expires 6m counter packets 1 bytes 2',
      '2.2.2.2 timeout 1h expires 3m counter packets 9 bytes 9, 1.1.1.1 timeout 1h expires 5m comment "x"',
    ],
    [
      'packets put an element into a dynamic set',
      '0x00000007 expires 5s',
      '0x00000007 expires 5s, 0x00000009 expires 1m',
    ],
    ['handles are shown', 'chain c {', 'chain c { # handle 12'],
    ['there is a blank line more', '\t\tdrop\n', '\n\t\tdrop\n'],
  ])('are the same when %s', (_, from, to) => {
    expect(sameTable(table, changed(from, to))).toBe(true);
    expect(tableFingerprint(changed(from, to))).toBe(tableFingerprint(table));
  });

  it.each([
    ['a rule is gone', '\t\tdrop\n', ''],
    ['a rule stands twice', '\t\tdrop\n', '\t\tdrop\n\t\tdrop\n'],
    [
      'rules changed places',
      '\t\ttcp dport 22 counter packets 3 bytes 4 accept\n\t\tdrop\n',
      '\t\tdrop\n\t\ttcp dport 22 counter packets 3 bytes 4 accept\n',
    ],
    ['a policy changed', 'policy accept', 'policy drop'],
    ['a rule lost its counter', ' counter packets 3 bytes 4', ''],
    ['an element is gone', '1.1.1.1 timeout 1h expires 5m comment "x", ', ''],
    ['an element lives longer', '1.1.1.1 timeout 1h', '1.1.1.1 timeout 2h'],
    ['a comment changed', 'comment "x"', 'comment "y"'],
    ['the table sleeps', 'table inet t {\n', 'table inet t {\n\tflags dormant\n'],
    ['its name changed', 'table inet t {', 'table ip t {'],
    ['a line appeared that nobody knows', '\tcounter hits {', '\tfrob 7\n\tcounter hits {'],
    ['a block appeared that nobody knows', '\tcounter hits {', '\tfrob f {\n\t\tx\n\t}\n\tcounter hits {'],
  ])('differ when %s', (_, from, to) => {
    const [other] = parseNft(TABLE.replace(from, to)).tables;
    expect(TABLE).toContain(from);
    expect(sameTable(table, other!)).toBe(false);
    expect(tableFingerprint(other!)).not.toBe(tableFingerprint(table));
  });

  it('count elements of dynamic sets when asked to', () => {
    const other = changed('0x00000007 expires 5s', '0x00000009 expires 5s');
    expect(sameTable(table, other)).toBe(true);
    expect(sameTable(table, other, { dynamicElements: true })).toBe(false);
  });

  it('differ as soon as any one rule of a generated ruleset is deleted', () => {
    fc.assert(
      fc.property(nftRulesets, fc.nat(1000), (text, pick) => {
        const lines = text.split('\n');
        const rules = lines.flatMap((line, index) => (/^\t\t.*(?:accept|drop|counter|log)/.test(line) ? [index] : []));
        const gone = rules[pick % Math.max(rules.length, 1)];
        fc.pre(gone !== undefined && !/^\t\t(?:type|elements|comment|flags)/.test(lines[gone] ?? ''));
        expect(canonical(lines.filter((_, index) => index !== gone).join('\n'))).not.toEqual(canonical(text));
      }),
      { numRuns: 60 },
    );
  });
});
