// What is left of the user's native tables when nft refuses a part of them: the rest, and all of the wish.

import { describe, expect, it } from 'vitest';
import { classifyNative, userNativeOf } from '../../src/classify/classify-native.ts';
import type { NativeDecision } from '../../src/merge/decide-native.ts';
import { type NativeWaiting, planNative, withoutHeld, withWaiting } from '../../src/plan/native-plan.ts';
import { parseNft } from '../../src/ruleset/nft/parse.ts';
import { printNftTable } from '../../src/ruleset/nft/print.ts';
import { sameTable } from '../../src/ruleset/nft/same.ts';
import { tableIn } from '../captures/nft.ts';

const text = (body: string): string => `table inet own {\n${body}}\n`;
const chain = (name: string, ...rules: readonly string[]): string =>
  `\tchain ${name} {\n${rules.map((rule) => `\t\t${rule}\n`).join('')}\t}\n`;
const table = (body: string) => tableIn(text(body), 'inet own');
const waits = (chainName: string, rule: string): NativeWaiting => ({
  key: 'inet own',
  chain: chainName,
  text: rule,
  why: '',
});

const WISH = table(
  '\tset first {\n\t\ttype ipv4_addr\n\t}\n' +
    chain('a', 'tcp dport 1 accept', 'iif "gone" accept', 'tcp dport 2 accept', 'iif "gone" accept') +
    chain('b', 'tcp dport 3 accept') +
    chain('c', 'tcp dport 4 accept'),
);

function planOf(wanted: string, live: string, held: readonly NativeWaiting[]) {
  const classified = classifyNative(parseNft(text(live)).tables);
  const decision: NativeDecision = { key: 'inet own', kind: 'wipe', next: table(wanted), evidence: [] };
  return planNative([decision], userNativeOf(classified), classified, held);
}

describe('what waits', () => {
  it.each([
    ['a rule, in all its copies', waits('a', 'iif "gone" accept')],
    ['a chain', waits('', 'chain b')],
    ['the first chain', waits('', 'chain a')],
    ['a set', waits('', 'set first')],
  ])('%s is left out, and put back where it stood', (_name, waiting) => {
    const without = withoutHeld(WISH, [waiting])!;
    expect(sameTable(without, WISH)).toBe(false);
    expect(sameTable(withWaiting(without, WISH, [waiting]), WISH)).toBe(true);
  });

  it('stays in order with what was added and deleted since', () => {
    const live = table(chain('a', 'udp dport 9 accept', 'tcp dport 1 accept') + chain('c', 'tcp dport 4 accept'));
    const merged = withWaiting(live, WISH, [waits('a', 'iif "gone" accept'), waits('', 'chain b')]);
    expect(printNftTable(merged)).toBe(
      text(
        chain('a', 'udp dport 9 accept', 'tcp dport 1 accept', 'iif "gone" accept', 'iif "gone" accept') +
          chain('b', 'tcp dport 3 accept') +
          chain('c', 'tcp dport 4 accept'),
      ),
    );
  });
});

describe('a table that cannot be loaded as a whole', () => {
  it('is not deleted where it stands otherwise', () => {
    const plan = planOf(chain('a', 'tcp dport 1 accept'), chain('a'), [waits('', '')]);
    expect(plan).toMatchObject({ edits: [], input: '' });
  });
});

describe('a table that is replaced', () => {
  it('keeps what packets put into its sets, unless the set itself is another', () => {
    const set = (line: string, elements = ''): string =>
      `\tset seen {\n\t\ttype ipv4_addr\n\t\tsize ${line}\n\t\tflags dynamic,timeout\n${elements}\t}\n`;
    const filled = set('10', '\t\telements = { 9.9.9.9 timeout 1h }\n');
    const rule = chain('a', 'tcp dport 1 accept');
    expect(planOf(set('10') + rule, filled + chain('a'), []).input).toContain('9.9.9.9');
    expect(planOf(set('20') + rule, filled + chain('a'), []).input).not.toContain('9.9.9.9');
  });

  it('is deleted by its handles, so that a rule that went or came meanwhile fails it', () => {
    const live = text(chain('a', 'tcp dport 1 accept # handle 7'))
      .replace('own {', 'own { # handle 3')
      .replace('chain a {', 'chain a { # handle 1');
    const classified = classifyNative(parseNft(live).tables);
    const decision: NativeDecision = { key: 'inet own', kind: 'wipe', next: undefined, evidence: [] };
    const locks = new Map([['inet own', { chain: 'mw-1a2b3c4d', nextHandle: 9 }]]);
    expect(planNative([decision], userNativeOf(classified), classified, [], locks).input.split('\n')).toEqual([
      'create chain inet own mw-1a2b3c4d',
      'delete chain inet own handle 9',
      'delete rule inet own a handle 7',
      'delete table inet handle 3',
      '',
    ]);
  });
});
