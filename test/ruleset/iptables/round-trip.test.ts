// Law 1: text is the model. print(parse(x)) = x, byte for byte, whatever x is.

import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { decodeText, encodeText } from '../../../src/host/text.ts';
import { parseDocument } from '../../../src/ruleset/iptables/parse.ts';
import { printDocument, printRuleset } from '../../../src/ruleset/iptables/print.ts';
import { captures } from '../../captures/captures.ts';
import { foreign, render, userTables } from '../../properties/arbitraries.ts';

const CAPTURES = captures();
const again = (text: string): string => printDocument(parseDocument(text, 'ip'));

describe('what iptables-save printed', () => {
  it('is here in all its dialects', () => {
    expect(CAPTURES.length).toBeGreaterThan(200);
    for (const folder of ['libvirt/', 'writers/', 'nwfilter/', 'old-libvirt/'])
      expect(CAPTURES.some(({ name }) => name.startsWith(folder))).toBe(true);
  });

  it.each(CAPTURES)('is parsed without a problem and comes back byte for byte: $name', ({ name, text, family }) => {
    const document = parseDocument(text, family, name);
    expect(document.problems).toEqual([]);
    const bytes = readFileSync(new URL(`../../captures/${name}`, import.meta.url));
    expect(Buffer.compare(encodeText(printDocument(document)), bytes)).toBe(0);
  });

  it.each(CAPTURES)('has each of its rules once in the view: $name', ({ text, family }) => {
    const { ruleset } = parseDocument(text, family);
    const rules = [...ruleset.tables.values()].flatMap((table) =>
      [...table.chains.values()].flatMap((chain) => chain.rules.map((rule) => rule.text)),
    );
    const lines = text.split('\n').filter((line) => /^(?:\[\d+:\d+\] )?-A /.test(line));
    expect([...rules].sort()).toEqual(lines.map((line) => line.replace(/^\[.*?\] /, '').trimEnd()).sort());
  });
});

describe('a quoted string with line breaks', () => {
  // As printed by 1.8.9 after: iptables -A INPUT -m comment --comment $'a\\nb' -p tcp --dport 22 -j ACCEPT
  const spread = '-A INPUT -p tcp -m comment --comment "a\nb" -m tcp --dport 22 -j ACCEPT';
  const textOf = (...rules: readonly string[]): string =>
    ['*filter', ':INPUT ACCEPT [0:0]', ...rules, 'COMMIT', ''].join('\n');
  const rulesOf = (text: string): string[] =>
    parseDocument(text, 'ip')
      .ruleset.tables.get('filter')
      ?.chains.get('INPUT')
      ?.rules.map((rule) => rule.text) ?? [];

  it('is one rule, with the counters before it, whatever its lines look like', () => {
    const tricky = '-A INPUT -m comment --comment "x\\"\nCOMMIT\n-A INPUT -j DROP\n" -j LOG --log-prefix "\n:"';
    const text = textOf(`[5:60] ${spread}`, tricky, '-A INPUT -j DROP');
    expect(parseDocument(text, 'ip').problems).toEqual([]);
    expect(rulesOf(text)).toEqual([spread, tricky, '-A INPUT -j DROP']);
    expect(again(text)).toBe(text);
  });

  it('is not made up from a quote that a person forgot to close', () => {
    const text = textOf('-A INPUT -m comment --comment "a -j DROP', '-A INPUT -m comment --comment "b" -j DROP');
    const { problems } = parseDocument(text, 'ip');
    expect(problems.map(({ code, line }) => `${line} ${code}`)).toEqual(['3 unclosed-quote']);
    expect(rulesOf(text)).toEqual(['-A INPUT -m comment --comment "b" -j DROP']);
    expect(again(text)).toBe(text);
  });

  it('counts lines on: a later problem names its own', () => {
    const { problems } = parseDocument(textOf(spread, 'nonsense'), 'ip');
    expect(problems.map(({ code, line }) => `${line} ${code}`)).toEqual(['5 bad-line']);
  });
});

describe('generated text', () => {
  it('comes back as it was, with counters, quotes and every shape of rule', () => {
    fc.assert(
      fc.property(userTables, foreign, (users, neighbours) => {
        const text = render(users, neighbours);
        expect(again(text)).toBe(text);
        expect(again(text.replaceAll('\n', '\r\n'))).toBe(text.replaceAll('\n', '\r\n'));
      }),
      { numRuns: 100 },
    );
  });

  it('comes back as it was even where it makes no sense, and parsing never throws', () => {
    const junk = fc.array(
      fc.oneof(
        fc.string(),
        fc.constantFrom(
          '*filter',
          ':INPUT ACCEPT [0:0]',
          '-A INPUT -j ACCEPT ',
          'COMMIT',
          '[1:2] -A FORWARD',
          '-A x "open',
          '  -A INPUT',
          '\t#',
          '*',
          ':',
          '-A',
          '[',
          '[1:2]-A X',
        ),
      ),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(junk, (lines) => {
        expect(again(lines.join('\n'))).toBe(lines.join('\n'));
      }),
      { numRuns: 500 },
    );
  });

  it('comes back byte for byte when it is no UTF-8', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        const text = Buffer.concat([
          Buffer.from('*filter\n-A INPUT -m comment --comment "'),
          bytes,
          Buffer.from('" -j ACCEPT\nCOMMIT\n'),
        ]);
        expect(Buffer.compare(encodeText(again(decodeText(text))), text)).toBe(0);
      }),
      { numRuns: 300 },
    );
  });
});

describe('the view', () => {
  const rule = (line: string): unknown =>
    parseDocument(`*filter\n${line}\nCOMMIT\n`, 'ip').ruleset.tables.get('filter')?.chains.get('INPUT')?.rules[0];

  it('takes a rule without counters, trailing blanks and carriage return', () => {
    const text = '-A INPUT -i virbr0 -p udp -m udp --dport 53 -j ACCEPT';
    expect(rule(`${text} `)).toEqual({ chain: 'INPUT', text, counters: undefined });
    expect(rule(`[12:3456] ${text}\r`)).toEqual({ chain: 'INPUT', text, counters: '12:3456' });
  });

  it('keeps what only looks like a blank: it is part of the rule', () => {
    expect(rule('-A INPUT -m comment --comment x\u00a0')).toMatchObject({
      text: '-A INPUT -m comment --comment x\u00a0',
    });
  });

  it('holds an empty table and a table that only a -N line fills', () => {
    expect(printRuleset(parseDocument('*raw\nCOMMIT\n', 'ip').ruleset)).toBe('*raw\nCOMMIT\n');
    expect(parseDocument('*filter\n-N web\n-A web -j RETURN\nCOMMIT\n', 'ip').problems).toEqual([]);
  });

  it('keeps an option nobody knows as an opaque rule', () => {
    expect(rule('-A INPUT -m nosuch --frobnicate ! "a b" -j FROB')).toMatchObject({ chain: 'INPUT' });
  });
});
