// docs/errors.md against the code: each code has a row, each row has a code.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { LINE_CODES, type RestoreError } from '../../src/apply/restore-error.ts';
import { EXIT } from '../../src/cli/exit-codes.ts';
import { CONFIG_PROBLEM_CODES } from '../../src/config.ts';
import { DRIFT_KINDS } from '../../src/merge/drift.ts';
import { NETWORK_PROBLEM_CODES } from '../../src/observe/network-xml.ts';
import { RULE_PROBLEM_CODES, RULE_WARNING_CODES } from '../../src/rules/types.ts';
import { PROBLEM_CODES } from '../../src/ruleset/types.ts';
import { REFUSAL_CODES } from '../../src/verbs/types.ts';

const TOP = fileURLToPath(new URL('../..', import.meta.url));
const PAGE = readFileSync(join(TOP, 'docs/errors.md'), 'utf8');
const SOURCES = readdirSync(join(TOP, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => readFileSync(join(TOP, 'src', name), 'utf8'))
  .join('\n');

/** A type has no list at run time; this one fails to compile when a kind is missing or too many. */
const RESTORE_KINDS: Readonly<Record<RestoreError['kind'], true>> = {
  ok: true,
  line: true,
  'lost-race': true,
  lock: true,
  unknown: true,
};

/** The rows below a heading, as cells. */
function rowsOf(heading: string): string[][] {
  const section = PAGE.split(/^## /m).find((text) => text.startsWith(`${heading}\n`));
  if (section === undefined) throw new Error(`docs/errors.md has no section "${heading}"`);
  const rows = section.split('\n').filter((line) => line.startsWith('| `')); // | `no-table` | a line outside ...
  return rows.map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

const codesOf = (heading: string): string[] => rowsOf(heading).map(([code = '']) => code.replaceAll('`', ''));

/** `new HostError('read-failed', ...)`, and the codes that reach HostError through a variable. */
function hostErrorCodes(): string[] {
  const direct = [...SOURCES.matchAll(/new HostError\(\s*'([a-z-]+)'/g)];
  const families = [
    ...SOURCES.matchAll(/'((?:bus|read|write|lock|socket|spool)-(?:down|timeout|lost|refused|failed|unsafe))'/g),
  ];
  return [...new Set([...direct, ...families].map(([, code = '']) => code))];
}

/** `refuse('bad-request', ...)` of the control socket and its fallback. */
function controlCodes(): string[] {
  const given = [...SOURCES.matchAll(/\brefuse\('([a-z-]+)'/g)].map(([, code = '']) => code);
  const fallback = [...SOURCES.matchAll(/error\.code : '([a-z-]+)'/g)].map(([, code = '']) => code);
  return [...new Set([...given, ...fallback])];
}

const TABLES: Readonly<Record<string, readonly string[]>> = {
  'Drift kinds': DRIFT_KINDS,
  Refusals: REFUSAL_CODES,
  'Problems in a text of rules': PROBLEM_CODES,
  'Problems in rule files': RULE_PROBLEM_CODES,
  'Warnings of check': RULE_WARNING_CODES,
  'Problems in the configuration': CONFIG_PROBLEM_CODES,
  "Problems in libvirt's network definitions": NETWORK_PROBLEM_CODES,
  'Errors of the machine': hostErrorCodes(),
  'Answers of the control socket': controlCodes(),
  'What iptables-restore refused': [...Object.keys(RESTORE_KINDS), ...LINE_CODES],
};

describe('docs/errors.md', () => {
  it.each(Object.entries(TABLES))('has a row for each code of "%s", and no other', (heading, codes) => {
    expect(codes.length).toBeGreaterThan(0);
    expect(codesOf(heading).toSorted()).toEqual([...codes].toSorted());
  });

  it('says what each code means', () => {
    const empty = Object.keys(TABLES).flatMap((heading) =>
      rowsOf(heading).filter(([, meaning = '']) => meaning === ''),
    );
    expect(empty).toEqual([]);
  });

  it('has the exit codes with their names', () => {
    const found = Object.fromEntries(
      rowsOf('Exit codes').map(([code = '', name = '']) => [
        name.replaceAll('`', ''),
        Number(code.replaceAll('`', '')),
      ]),
    );
    expect(found).toEqual(EXIT);
  });

  it('has every message that people search for', () => {
    const searched = [
      'No chain/target/match by that name',
      'Failed to apply firewall rules',
      "is incompatible, use 'nft' tool",
      'iptables-legacy tables present',
      "doesn't exist",
      'Another app is currently holding the xtables lock',
      'unsupported xtables compat expression',
    ];
    const index = PAGE.slice(PAGE.indexOf('## Messages people search for'));
    expect(searched.filter((message) => !index.includes(message))).toEqual([]);
  });
});
