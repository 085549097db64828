// Law 1 for native nftables: print(parse(x)) = x, byte for byte, whatever x is.

import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { encodeText } from '../../../src/host/text.ts';
import { parseNft } from '../../../src/ruleset/nft/parse.ts';
import { printNft, printNftObject } from '../../../src/ruleset/nft/print.ts';
import { nftCaptures } from '../../captures/nft.ts';
import { nftRulesets } from '../../generate/nft-ruleset.ts';

const CAPTURES = nftCaptures();
const again = (text: string): string => printNft(parseNft(text));

describe('what nft printed', () => {
  it('is here from both versions, from libvirt and from other programs', () => {
    expect(CAPTURES.length).toBeGreaterThan(35);
    for (const part of ['libvirt-11-nftables/', 'writers/firewalld', 'nft-1.0.6', 'nft-1.1.3', 'handles', 'stateless'])
      expect(CAPTURES.some(({ name }) => name.includes(part))).toBe(true);
  });

  it.each(CAPTURES)('is parsed without a problem and comes back byte for byte: $name', ({ name, text }) => {
    const ruleset = parseNft(text, name);
    expect(ruleset.problems).toEqual([]);
    const bytes = readFileSync(new URL(`../../captures/nft/${name}`, import.meta.url));
    expect(Buffer.compare(encodeText(printNft(ruleset)), bytes)).toBe(0);
  });

  it.each(CAPTURES)('has no part without a name, and each rule once: $name', ({ text }) => {
    const { tables } = parseNft(text);
    const objects = tables.flatMap((table) => table.objects);
    expect(objects.filter(({ kind }) => kind === 'opaque').map(printNftObject)).toEqual([]);
    const rules = objects.flatMap((object) => (object.kind === 'chain' ? object.rules : []));
    // Independent of the parser: lines with two tabs in a chain, but for those of the chain itself.
    const chains = text.match(/^\tchain [^\n]*\{[^\n]*\n[\s\S]*?^\t\}/gm) ?? [];
    const lines = chains.flatMap((chain) => chain.split('\n').filter((line) => /^\t\t[^\t}]/.test(line)));
    expect(rules.length).toBe(lines.filter((line) => !/^\t\t(?:type \S+ hook|comment ")/.test(line)).length);
  });
});

describe('generated text', () => {
  it('comes back as it was, also with other line ends and other indentation', () => {
    fc.assert(
      fc.property(nftRulesets, (text) => {
        expect(parseNft(text).problems).toEqual([]);
        for (const form of [text, text.replaceAll('\n', '\r\n'), text.replaceAll('\t', '  '), text.trimEnd()]) {
          expect(again(form)).toBe(form);
          expect(parseNft(form).tables.map(({ objects }) => objects.length)).toEqual(
            parseNft(text).tables.map(({ objects }) => objects.length),
          );
        }
      }),
      { numRuns: 60 },
    );
  });

  it('keeps its rules apart whatever is quoted in them', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.string().map((text) => text.replace(/["\n\r]/g, '')),
          { minLength: 1 },
        ),
        (comments) => {
          const rules = comments.map((comment) => `accept comment "${comment}"`);
          const text = `table ip t {\n\tchain c {\n${rules.map((rule) => `\t\t${rule}\n`).join('')}\t}\n}\n`;
          const [object] = parseNft(text).tables[0]!.objects;
          expect(object?.kind === 'chain' && object.rules.map((rule) => rule.text)).toEqual(rules);
        },
      ),
    );
  });
});

describe('damaged text', () => {
  const listing = fc.oneof(nftRulesets, fc.constantFrom(...CAPTURES.map(({ text }) => text)));

  it('comes back as it was wherever it is cut off, and the cut is said', () => {
    fc.assert(
      fc.property(listing, fc.double({ min: 0, max: 1, noNaN: true }), (text, part) => {
        const cut = text.slice(0, Math.floor(text.length * part));
        const ruleset = parseNft(cut);
        expect(printNft(ruleset)).toBe(cut);
        const whole = cut.trimEnd() === '' || /^\}$/.test(cut.trimEnd().split('\n').at(-1)!);
        if (!whole && !cut.trimEnd().split('\n').at(-1)!.startsWith('#'))
          expect(ruleset.problems.length).toBeGreaterThan(0);
      }),
      { numRuns: 300 },
    );
  });

  it('comes back as it was with pieces deleted, doubled or put in', () => {
    const piece = fc.constantFrom(
      '{',
      '}',
      '"',
      '\n',
      ' {\n',
      '\t}\n',
      '}\n',
      'table ip x {\n',
      '# handle 5',
      ';',
      '\u0000',
      ',',
      'é',
    );
    const edit = fc.record({ at: fc.double({ min: 0, max: 1, noNaN: true }), remove: fc.nat(40), piece });
    fc.assert(
      fc.property(listing, fc.array(edit, { minLength: 1, maxLength: 6 }), (text, edits) => {
        let damaged = text;
        for (const { at, remove, piece: added } of edits) {
          const place = Math.floor(damaged.length * at);
          damaged = damaged.slice(0, place) + added + damaged.slice(place + remove);
        }
        expect(again(damaged)).toBe(damaged);
      }),
      { numRuns: 300 },
    );
  });

  it('comes back as it was even where it makes no sense', () => {
    fc.assert(
      fc.property(fc.string(), fc.string({ unit: 'binary' }), (one, other) => {
        const text = `${one}\n${other}`;
        expect(again(text)).toBe(text);
      }),
      { numRuns: 300 },
    );
  });
});

describe('100,000 rules', () => {
  it('are parsed in a time that grows with their number only', () => {
    const rule = (n: number): string =>
      `\t\tiifname "eth${n % 7}" tcp dport { 22, ${n % 60_000} } counter packets ${n} bytes 1 accept # handle ${n}\n`;
    const textOf = (count: number): string =>
      `table ip t {\n\tchain c {\n${Array.from({ length: count }, (_, n) => rule(n)).join('')}\t}\n}\n`;
    const measure = (count: number): number => {
      const text = textOf(count);
      const start = performance.now();
      expect(parseNft(text).tables[0]!.objects).toHaveLength(1);
      return performance.now() - start;
    };
    measure(10_000);
    const small = Math.min(measure(10_000), measure(10_000), measure(10_000));
    const big = Math.min(measure(100_000), measure(100_000));
    // Quadratic would be a factor of 100; the rest is room for a busy machine.
    expect(big).toBeLessThan(Math.max(small, 5) * 40);
    expect(big).toBeLessThan(3000);
  });
});
