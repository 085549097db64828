// What is malformed is named with its place; the rest of the text is still seen.

import { describe, expect, it } from 'vitest';
import { parseNft } from '../../../src/ruleset/nft/parse.ts';
import { printNft } from '../../../src/ruleset/nft/print.ts';
import { tableKey } from '../../../src/ruleset/nft/types.ts';

const problemsIn = (text: string): string[] =>
  parseNft(text, 'f').problems.map(({ file, line, column, code }) => `${file}:${line}:${column} ${code}`);

const CASES: readonly (readonly [string, string, readonly string[]])[] = [
  ['a line outside a table', 'table ip t {\n}\n  add rule ip t c accept\n', ['f:3:3 no-table']],
  ['a block outside a table', 'chain c {\n\taccept\n}\n', ['f:1:1 no-table']],
  ['a brace too many', 'table ip t {\n}\n}\n', ['f:3:1 extra-brace']],
  ['a table without its end', 'table ip t {\n\tchain c {\n\t}\n', ['f:1:1 unclosed-block']],
  [
    'a chain without its end, once for all that is open',
    'table ip t {\n\tchain c {\n\t\taccept\n',
    ['f:2:2 unclosed-block'],
  ],
  [
    'a chain that swallows the next table',
    'table ip t {\n\tchain c {\n\t\taccept\ntable ip6 t {\n}\n',
    ['f:2:2 unclosed-block'],
  ],
  ['elements without their end', 'table ip t {\n\tset s {\n\t\telements = { 1,\n', ['f:3:3 unclosed-block']],
  ['a quote without its second', 'table ip t {\n\tset s {\n\t\tcomment "x\n\t}\n}\n', ['f:3:11 unclosed-quote']],
  ['a family that is none', 'table ipx t {\n\tchain c {\n\t}\n}\n', ['f:1:1 bad-table-line']],
  ['a table line without a name', 'table {\n}\n', ['f:1:1 bad-table-line']],
  ['what `nft list tables` prints', 'table inet filter\n', ['f:1:1 bad-table-line']],
  ['what is no text', 'table ip t {\n}\n\u001f\u008b\u0008\n', ['f:3:1 not-text']],
];

describe('malformed text', () => {
  it.each(CASES)('%s', (_, text, problems) => {
    expect(problemsIn(text)).toEqual(problems);
    expect(printNft(parseNft(text))).toBe(text);
  });

  it('does not hide the tables beside it', () => {
    const { tables } = parseNft(
      'junk\ntable ip a {\n\tchain c {\n\t\taccept\ntable ip6 b {\n}\n}\ntable ipx c {\n}\ntable arp d {\n}\n',
    );
    expect(tables.map(tableKey)).toEqual(['ip a', 'ip6 b', 'arp d']);
  });

  it('says what was expected', () => {
    for (const [, text] of CASES)
      for (const { message } of parseNft(text).problems) expect(message).toContain('expected');
  });
});

describe('text that is not malformed', () => {
  it.each([
    ['nothing', ''],
    ['blank lines and comments', '\n# Warning: table ip filter is managed by iptables-nft, do not touch!\n\n'],
    [
      'a statement and a block that nobody knows',
      'table ip t {\n\tfrob 7\n\ttable 7\n\tfrobs f {\n\t\tx {\n\t\t\ty\n\t\t}\n\t}\n}\n',
    ],
    [
      'objects in one line, as people write them',
      'table t {\n\tchain c { type filter hook input priority 0; accept; }\n\tset s { type mark; }\n}\n',
    ],
    [
      'names with signs, as iptables allows them',
      'table ip t {\n\tchain a{b {\n\t\tjump x;y\n\t}\n\n\tchain x;y {\n\t\tjump a{b\n\t}\n}\n',
    ],
  ])('%s', (_, text) => {
    expect(problemsIn(text)).toEqual([]);
    expect(printNft(parseNft(text))).toBe(text);
  });
});
