// The edits for the rules that keep guests open, in both engines.

import { describe, expect, it } from 'vitest';
import { classifyNative, userNativeOf } from '../../src/classify/classify-native.ts';
import { classify, neighbourPartOf, userPartOf } from '../../src/classify/classify.ts';
import { nativeOpenings, openedTable, openingPlan, tablesWithOpenings } from '../../src/plan/openings.ts';
import { renderEdit } from '../../src/plan/render.ts';
import { parseRuleset } from '../../src/ruleset/iptables/parse.ts';
import { sameNative } from '../../src/ruleset/nft/native-part.ts';
import { parseNft } from '../../src/ruleset/nft/parse.ts';
import { sameUserPart } from '../../src/ruleset/user-part.ts';

const OURS = '-A FORWARD -i virbr0 -m comment --comment "mendwall:open-guests default" -j ACCEPT';
const rules = (...forward: string[]): string =>
  [
    '*filter',
    ':INPUT ACCEPT [0:0]',
    ':FORWARD DROP [0:0]',
    ':web - [0:0]',
    ':mw-01234567 - [0:0]',
    ...forward,
    'COMMIT',
    '',
  ].join('\n');
const classified = (...forward: string[]): ReturnType<typeof classify> =>
  classify(parseRuleset(rules(...forward), 'ip'), undefined);

describe('in a table of iptables', () => {
  const edits = (live: ReturnType<typeof classify>, at?: number): string[] | undefined => {
    const openings = at === undefined ? [] : [{ chain: 'FORWARD', at, above: '', text: OURS }];
    const target = openedTable(live, 'filter', openings);
    const standing = live.ruleset.tables.get('filter')!.chains;
    return target && openingPlan('ip', 'filter', standing, target.chains).edits.map(renderEdit);
  };
  const BOTH = ['-A FORWARD -s 10.0.0.1/32 -j DROP', '-A FORWARD -j REJECT'];

  it('nothing but the rule is written, at its place; where it stands so, nothing', () => {
    expect(edits(classified(...BOTH), 1)).toEqual([OURS.replace('FORWARD', 'FORWARD 2').replace('-A', '-I')]);
    expect(edits(classified(BOTH[0]!, OURS, BOTH[1]!), 1)).toBeUndefined();
    expect(edits(classified(...BOTH), 2)).toEqual([OURS]);
  });

  it('what stands elsewhere, twice or for nothing goes', () => {
    expect(edits(classified(OURS, ...BOTH), 1)).toEqual([
      `-D${OURS.slice(2)}`,
      OURS.replace('FORWARD', 'FORWARD 2').replace('-A', '-I'),
    ]);
    expect(edits(classified(...BOTH, OURS, OURS))).toEqual([`-D${OURS.slice(2)}`, `-D${OURS.slice(2)}`]);
    expect(tablesWithOpenings(classified(...BOTH, OURS))).toEqual(['filter']);
    expect(tablesWithOpenings(classified(...BOTH))).toEqual([]);
  });

  it("it is nobody's word: neither in the user's part nor in the neighbours'", () => {
    expect(sameUserPart(userPartOf(classified(BOTH[0]!, OURS, BOTH[1]!)), userPartOf(classified(...BOTH)))).toBe(true);
    expect([...neighbourPartOf(classified(OURS)).tables.values()].map(({ size }) => size)).toEqual([0]);
  });
});

const table = (...forward: string[]): string =>
  `table inet filter { # handle 1\n\tchain forward { # handle 2\n\t\ttype filter hook forward priority 0; policy drop;\n${forward.map((rule) => `\t\t${rule}\n`).join('')}\t}\n}\n`;
const NFT = 'iifname "virbr0" accept comment "mendwall:open-guests default"';

describe('in a native table', () => {
  const plan = (text: string, ...openings: [number, string][]): ReturnType<typeof nativeOpenings> =>
    nativeOpenings(
      parseNft(text).tables[0]!,
      openings.map(([at, above]) => ({ chain: 'forward', at, above, text: NFT })),
    );
  const USERS = ['ip saddr 10.0.0.1 drop # handle 5', 'counter drop # handle 6'];

  it('it is inserted by the handle of the rule below it, or added at the end', () => {
    const lines = [`insert rule inet filter forward handle 6 ${NFT}`];
    expect(plan(table(...USERS), [1, 'counter drop'])).toEqual({ key: 'inet filter', locks: [], lines });
    expect(plan(table(...USERS), [2, ''])).toMatchObject({ lines: [`add rule inet filter forward ${NFT}`] });
  });

  it('where it stands, nothing is written; elsewhere it is deleted by its handle', () => {
    expect(plan(table(USERS[0]!, `${NFT} # handle 9`, USERS[1]!), [1, 'counter drop'])).toMatchObject({ lines: [] });
    expect(plan(table(`${NFT} # handle 9`, ...USERS))).toMatchObject({
      lines: ['delete rule inet filter forward handle 9'],
    });
  });

  it('a table that changed since the question is stale', () => {
    expect(plan(table(...USERS), [1, 'counter accept'])).toBe('stale');
    expect(plan(table(...USERS, 'tcp dport 25 drop # handle 7'), [2, ''])).toBe('stale');
  });

  it("it is no part of the user's table, nor is a lock", () => {
    const part = (text: string): ReturnType<typeof userNativeOf> => userNativeOf(classifyNative(parseNft(text).tables));
    const locked = table(USERS[0]!, `${NFT} # handle 9`, USERS[1]!).replace(
      '\n}\n',
      '\n\n\tchain mw-01234567 { # handle 8\n\t}\n}\n',
    );
    expect(sameNative(part(locked), part(table(...USERS)))).toBe(true);
    expect(plan(locked)).toMatchObject({ locks: ['mw-01234567'] });
  });
});
