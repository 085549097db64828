// The text of ebtables-save and arptables-save as a model: nothing lost, nothing made up.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { nativePart } from '../../src/ruleset/nft/native-part.ts';
import { isTrivial, parseSaved, printSaved, savedChain, savedTable } from '../../src/ruleset/nft/saved.ts';
import { BRIDGE_CAPTURES, bridgeCapture } from '../captures/bridge.ts';

const plain = (text: string): string[] => text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));

describe.each(BRIDGE_CAPTURES)('%s', (name, family) => {
  it('is printed line by line as it was read, and reads back', () => {
    const { tables, problems } = parseSaved(bridgeCapture(name), family, name);
    const printed = printSaved(nativePart(tables), family, 'title');
    expect(problems).toEqual([]);
    expect(plain(printed)).toEqual(plain(bridgeCapture(name)));
    expect(printSaved(nativePart(parseSaved(printed, family, name).tables), family, 'title')).toBe(printed);
  });
});

describe('a table that was made up', () => {
  const word = fc.constantFrom('-i eth0', '-p ARP', '--log-prefix "a b"', '-s 52:54:00:00:00:01', '! -o br+');
  const rule = fc.array(word, { maxLength: 4 }).map((words) => words.join(' '));
  const chain = fc.record({
    policy: fc.constantFrom('ACCEPT', 'DROP', 'RETURN'),
    rules: fc.array(rule, { maxLength: 5 }),
  });

  it('survives printing and reading', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9_-]{0,12}$/), chain, { maxKeys: 5 }),
        (chains) => {
          const table = savedTable(
            'bridge',
            'nat',
            Object.entries(chains).map(([name, { policy, rules }]) =>
              savedChain(
                name,
                policy,
                rules.map((words) => `-A ${name} ${words} -j DROP`),
              ),
            ),
          );
          const { tables } = parseSaved(printSaved(nativePart([table]), 'bridge', 'x'), 'bridge', 'x');
          expect(tables).toEqual([table]);
        },
      ),
    );
  });
});

describe('what is no line of theirs', () => {
  it.each(['-A FORWARD -j DROP', '*filter\n-A NOWHERE -j DROP', '*filter\n:FORWARD', '*filter\nrubbish'])(
    'is a problem: %j',
    (text) => expect(parseSaved(text, 'bridge', 'f').problems).toHaveLength(1),
  );
});

it('a table says nothing when it only accepts', () => {
  const of = (text: string): boolean[] => parseSaved(text, 'bridge', 'f').tables.map(isTrivial);
  expect(of('*nat\n:PREROUTING ACCEPT\n')).toEqual([true]);
  expect(of('*nat\n:PREROUTING DROP\n')).toEqual([false]);
  expect(of('*nat\n:PREROUTING ACCEPT\n:mine ACCEPT\n')).toEqual([false]);
  expect(of('*nat\n:PREROUTING ACCEPT\n-A PREROUTING -j DROP\n')).toEqual([false]);
});
