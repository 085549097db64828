// Native tables as one input for nft; that it loads is test/lab/nft-model.lab.ts's to show.

import { describe, expect, it } from 'vitest';
import { renderReplacement } from '../../src/plan/nft-replace.ts';
import { formatDuration, parseDuration } from '../../src/ruleset/nft/duration.ts';
import { parseNft } from '../../src/ruleset/nft/parse.ts';
import type { NftTable } from '../../src/ruleset/nft/types.ts';

const A = 'table inet a {\n\tchain c {\n\t\tcounter packets 3 bytes 4 accept\n\t}\n}\n';
const B = 'table ip b {\n\tchain c {\n\t\tdrop\n\t}\n}\n';
const tables = (text: string): readonly NftTable[] => parseNft(text).tables;

describe('a replacement', () => {
  it('is one input with the tables that differ: created, or deleted and written anew', () => {
    const { input, replaced, refused } = renderReplacement(tables(A + B), tables(B.replace('drop', 'accept')));
    expect(input).toBe(`create table inet a\n${A}delete table ip b\n${B}`);
    expect({ replaced, refused }).toEqual({ replaced: ['inet a', 'ip b'], refused: [] });
  });

  it('leaves out what is as wanted, and what is not wanted', () => {
    const live = tables(A.replace('packets 3', 'packets 9') + B + 'table arp z {\n}\n');
    expect(renderReplacement(tables(A + B), live)).toEqual({ input: '', replaced: [], refused: [] });
    const { input } = renderReplacement(tables(A + B), tables('table arp z {\n}\n' + A));
    expect(input).toBe(`create table ip b\n${B}`);
  });

  it('creates a table with its own lines, which a later block would not set', () => {
    const [table] = tables('table inet a {\n\tcomment "mine"\n\tflags dormant\n\n\tchain c {\n\t}\n}\n');
    expect(renderReplacement([table!], []).input).toMatch(
      /^create table inet a \{\n\tcomment "mine"\n\tflags dormant\n\}\ntable inet a \{\n\tcomment/,
    );
  });

  it('deletes by handle what stands, and what is to go, where the listing has handles', () => {
    const live = tables(B.replace('drop', 'accept').replace('{', '{ # handle 7') + A.replace('{', '{ # handle 3'));
    const { input, replaced } = renderReplacement(tables(B), live, { remove: ['inet a', 'inet none'] });
    expect(input).toBe(`delete table ip handle 7\n${B}delete table inet handle 3\n`);
    expect(replaced).toEqual(['ip b', 'inet a']);
  });

  it('never deletes a table under a name of iptables’ that stands: what is native in it goes and comes, its lines stay', () => {
    const chain =
      '\tchain prerouting {\n\t\ttype nat hook prerouting priority -100; policy accept;\n\t\tip saddr @s drop\n\t}\n';
    const now = `table ip nat { # handle 9\n\tset s { # handle 1\n\t\ttype ipv4_addr\n\t}\n${chain.replace(' {', ' { # handle 2').replace(' drop', ' accept # handle 3')}}\n`;
    const wanted = `table ip nat {\n\tcomment "x"\n${chain}}\n`;
    const locks = new Map([['ip nat', { chain: 'mw-1a2b3c4d', nextHandle: 5 }]]);
    expect(renderReplacement(tables(wanted), tables(now), { locks }).input).toBe(
      'create chain ip nat mw-1a2b3c4d\ndelete chain ip nat handle 5\ndelete rule ip nat prerouting handle 3\n' +
        `delete set ip nat s\ndelete chain ip nat prerouting\ntable ip nat {\n${chain}}\n`,
    );
    expect(renderReplacement(tables(wanted), []).input).toMatch(
      /^create table ip nat \{\n\tcomment "x"\n\}\ntable ip nat/,
    );
    const gone = renderReplacement([], tables(now), { remove: ['ip nat'] });
    expect(gone.input).not.toContain('delete table');
    expect(renderReplacement([], tables('table ip nat {\n}\n'), { remove: ['ip nat'] }).replaced).toEqual([]);
  });

  it('never flushes the ruleset', () => {
    expect(renderReplacement(tables(A + B), []).input).not.toContain('flush');
  });

  it('refuses a table that cannot come back whole, and still replaces the others', () => {
    const owned = A.replace('inet a {', 'inet own { # progname nft\n\tflags owner');
    const dead = B.replace('ip b', 'ip dead').replace('drop', 'iif 7 drop');
    const iptables =
      'table ip nat {\n\tchain OUTPUT {\n\t\ttype nat hook output priority dstnat; policy accept;\n\t}\n}\n';
    const { replaced, refused } = renderReplacement(tables(owned + dead + iptables + A), []);
    expect(replaced).toEqual(['inet a']);
    expect(refused).toEqual([
      {
        kind: 'unloadable',
        table: 'inet own',
        lines: [{ reason: 'owner', line: 1, text: 'table inet own { # progname nft' }],
      },
      { kind: 'unloadable', table: 'ip dead', lines: [{ reason: 'dead-interface', line: 3, text: 'iif 7 drop' }] },
      { kind: 'iptables', table: 'ip nat', evidence: 'shape' },
    ]);
  });

  it('refuses a table that another program owns, or owned, since the whole input would fail', () => {
    for (const flags of ['flags owner', 'flags persist', 'flags owner,persist', 'flags ']) {
      const [live] = tables(A.replace('{\n', `{ # progname guard\n\t${flags}\n`));
      expect(renderReplacement(tables(A + B), [live!])).toMatchObject({
        replaced: ['ip b'],
        refused: [{ kind: 'owned', table: 'inet a', progname: 'guard' }],
      });
      expect(renderReplacement([live!], []).refused).toMatchObject([
        { kind: 'unloadable', lines: [{ reason: 'owner' }] },
      ]);
    }
  });

  it('ends each table with a line end, whatever the listing ended with', () => {
    const [first] = tables(A.trimEnd());
    expect(renderReplacement([first!], []).input.endsWith('}\n')).toBe(true);
  });
});

describe('elements that run out', () => {
  const set = (elements: string): string =>
    `table ip t {\n\tset s {\n\t\ttype ipv4_addr\n\t\tflags timeout\n${elements}\t}\n}\n`;
  const render = (elements: string, ageMs?: number): string =>
    renderReplacement(tables(set(`\t\telements = { ${elements} }\n`)), [], ageMs === undefined ? {} : { ageMs })
      .input.split('\n')
      .find((line) => line.includes('elements')) ?? '';

  it.each([
    ['1.1.1.1 timeout 1h expires 10m20s, 2.2.2.2', 0, '1.1.1.1 timeout 1h expires 10m20s, 2.2.2.2'],
    ['1.1.1.1 timeout 1h expires 10m20s, 2.2.2.2', 20_500, '1.1.1.1 timeout 1h expires 9m59s500ms, 2.2.2.2'],
    ['1.1.1.1 expires 1s comment " expires 1s", 2.2.2.2 expires 5s', 1000, '2.2.2.2 expires 4s'],
    ['1.1.1.1 expires 0s, 2.2.2.2 expires 5s', 0, '2.2.2.2 expires 5s'],
    ['1.1.1.1 timeout 1h,\n\t\t\t     2.2.2.2 expires 5s', 0, '1.1.1.1 timeout 1h, 2.2.2.2 expires 5s'],
  ])('%s after %i ms', (elements, ageMs, expected) => {
    expect(render(elements, ageMs)).toBe(`\t\telements = { ${expected} }`);
  });

  it('leave no empty list behind', () => expect(render('1.1.1.1 expires 5s', 5000)).toBe(''));

  it('leave the text as it is where there are none', () => {
    expect(render('1.1.1.1 timeout 1h, 2.2.2.2 comment "x"', 5000)).toBe(
      '\t\telements = { 1.1.1.1 timeout 1h, 2.2.2.2 comment "x" }',
    );
  });
});

describe('times', () => {
  it.each([
    ['29m59s920ms', 1_799_920],
    ['1d2h', 93_600_000],
    ['1m40s', 100_000],
    ['3ms', 3],
    ['0s', 0],
  ])('%s', (text, durationMs) => {
    expect(parseDuration(text)).toBe(durationMs);
    expect(formatDuration(durationMs)).toBe(text);
  });

  it('are read as people write them too', () => {
    expect(parseDuration('100')).toBe(100_000);
    expect(parseDuration('1w')).toBe(604_800_000);
    for (const text of ['', 'soon', '5m-3s', '1h1d']) expect(parseDuration(text)).toBeUndefined();
  });
});
