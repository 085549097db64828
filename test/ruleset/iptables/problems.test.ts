// Malformed text: file, line, column, code, what was expected. A problem never costs a byte of the text.

import { describe, expect, it } from 'vitest';
import { parseDocument } from '../../../src/ruleset/iptables/parse.ts';
import { printDocument, printProblem } from '../../../src/ruleset/iptables/print.ts';
import { PROBLEM_CODES } from '../../../src/ruleset/types.ts';

interface Case {
  readonly code: (typeof PROBLEM_CODES)[number];
  readonly what: string;
  readonly text: string;
  /** `line:column` */
  readonly at: string;
  readonly expected: RegExp;
}

const table = (...lines: string[]): string => ['*filter', ...lines, 'COMMIT', ''].join('\n');

const CASES: readonly Case[] = [
  {
    code: 'no-table',
    what: 'a rule before any table',
    text: '-A INPUT -j ACCEPT\n',
    at: '1:1',
    expected: /expected "\*filter"/,
  },
  {
    code: 'no-table',
    what: 'a counted rule before any table',
    text: '[1:2] -A INPUT -j ACCEPT\n',
    at: '1:7',
    expected: /expected "\*filter"/,
  },
  {
    code: 'no-table',
    what: 'a chain before any table',
    text: ':INPUT ACCEPT [0:0]\n',
    at: '1:1',
    expected: /INPUT stands outside a table/,
  },
  {
    code: 'no-table',
    what: 'a COMMIT too many',
    text: `${table()}COMMIT\n`,
    at: '3:1',
    expected: /COMMIT without a table/,
  },
  {
    code: 'no-commit',
    what: 'the text ends early',
    text: '*filter\n:INPUT ACCEPT [0:0]\n',
    at: '3:1',
    expected: /filter \(opened in line 1\) has no COMMIT/,
  },
  {
    code: 'no-commit',
    what: 'the next table begins',
    text: '*nat\n*filter\nCOMMIT\n',
    at: '2:1',
    expected: /nat is still open; expected "COMMIT"/,
  },
  { code: 'bad-table-line', what: 'no name', text: '*\n', at: '1:2', expected: /one table name after "\*"/ },
  { code: 'bad-table-line', what: 'two names', text: '*filter nat\n', at: '1:2', expected: /one table name/ },
  { code: 'bad-chain-line', what: 'no name', text: table(':'), at: '2:2', expected: /chain name after ":"/ },
  {
    code: 'bad-chain-line',
    what: 'a word too many',
    text: table(':INPUT ACCEPT [0:0] more'),
    at: '2:21',
    expected: /nothing after the counters/,
  },
  {
    code: 'bad-counters',
    what: 'in a chain line',
    text: table(':INPUT ACCEPT [0;0]'),
    at: '2:15',
    expected: /counters as in \[12:345\]/,
  },
  {
    code: 'bad-counters',
    what: 'before a rule',
    text: table('[12] -A INPUT -j ACCEPT'),
    at: '2:1',
    expected: /"\[12:345\] -A CHAIN/,
  },
  {
    code: 'bad-counters',
    what: 'not closed',
    text: table('[12:34 -A INPUT'),
    at: '2:1',
    expected: /"\[12:345\] -A CHAIN/,
  },
  {
    code: 'bad-line',
    what: 'a word that is no command',
    text: table('COMIT'),
    at: '2:1',
    expected: /cannot read "COMIT"; expected "\*table"/,
  },
  {
    code: 'bad-line',
    what: 'a blank before the rule',
    text: table('  -A INPUT -j ACCEPT'),
    at: '2:1',
    expected: /starts with a blank/,
  },
  { code: 'bad-line', what: '-A without a chain', text: table('-A '), at: '2:4', expected: /chain name after "-A"/ },
  { code: 'bad-line', what: 'a dash alone', text: table('- INPUT'), at: '2:1', expected: /expected a command/ },
  {
    code: 'unknown-chain',
    what: 'a rule in a chain that is not declared',
    text: table('-A web -j ACCEPT'),
    at: '2:4',
    expected: /expected ":web - \[0:0\]" above/,
  },
  {
    code: 'table-again',
    what: 'a table twice',
    text: table() + table(),
    at: '3:1',
    expected: /filter stands in this text a second time/,
  },
  {
    code: 'chain-again',
    what: 'a chain twice',
    text: table(':INPUT ACCEPT [0:0]', ':INPUT DROP [0:0]'),
    at: '3:2',
    expected: /INPUT is declared a second time/,
  },
  {
    code: 'unclosed-quote',
    what: 'a comment that does not end',
    text: table('-A INPUT -m comment --comment "open -j DROP'),
    at: '2:31',
    expected: /expected a second "/,
  },
  {
    code: 'unclosed-quote',
    what: 'an escaped end',
    text: table('[0:0] -A INPUT --comment "a\\"'),
    at: '2:26',
    expected: /not closed/,
  },
  { code: 'not-text', what: 'binary', text: '\u0000\u0001\u0002', at: '1:1', expected: /cannot read/ },
];

describe('a malformed text', () => {
  it.each(CASES)('gives $code at $at: $what', ({ code, text, at, expected }) => {
    const document = parseDocument(text, 'ip', 'rules.v4');
    const [problem] = document.problems;
    expect(problem === undefined ? 'no problem' : `${problem.line}:${problem.column}: ${problem.code}`).toBe(
      `${at}: ${code}`,
    );
    expect(problem?.message).toMatch(expected);
    expect(printProblem(problem as NonNullable<typeof problem>)).toBe(`rules.v4:${at}: ${code}: ${problem?.message}`);
    expect(document.problems).toHaveLength(1);
    expect(printDocument(document)).toBe(text);
  });

  it('has a case here for every code there is, but those of nft text', () => {
    const nftAlone = new Set(['unclosed-block', 'extra-brace']); // test/ruleset/nft/problems.test.ts
    expect(new Set(CASES.map(({ code }) => code))).toEqual(
      new Set(PROBLEM_CODES.filter((code) => !nftAlone.has(code))),
    );
  });

  it('tells all its problems, not only the first, and a missing chain once', () => {
    const { problems } = parseDocument(table('-A web -j ACCEPT', '-A web -j DROP', 'what', '-A INPUT "x'), 'ip');
    expect(problems.map(({ code, line }) => `${line} ${code}`)).toEqual([
      '2 unknown-chain',
      '4 bad-line',
      '5 unclosed-quote',
    ]);
  });
});
