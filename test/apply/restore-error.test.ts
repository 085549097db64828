import { describe, expect, test } from 'vitest';
import { readRestoreError, type RestoreEngine, type RestoreError } from '../../src/apply/restore-error.ts';

const TRY = "Try `iptables-restore -h' or 'iptables-restore --help' for more information.\n";
const nft = (text: string): string => `iptables-restore v1.8.9 (nf_tables): ${text}\n`;
const legacy = (text: string): string => `iptables-restore v1.8.9 (legacy): ${text}\n`;
const at = (line: number): string => `Error occurred at line: ${line}\n${TRY}`;

function read(exitCode: number, stderr: string, engine: RestoreEngine = 'nft', input?: string): RestoreError {
  return readRestoreError({ exitCode, stderr, ...(input === undefined ? {} : { command: { input } }) }, engine);
}

/** Texts measured with iptables 1.8.9 (Debian 12), kernel 6.18. */
describe('what restore says', () => {
  const cases: readonly (readonly [string, number, string, RestoreEngine, object])[] = [
    [
      'nothing',
      0,
      '# Warning: iptables-legacy tables present, use iptables-legacy to see them\n',
      'nft',
      { kind: 'ok' },
    ],
    [
      'a rule that is not there',
      1,
      'iptables-nft-restore: line 3 failed: Bad rule (does a matching rule exist in that chain?).\n',
      'nft',
      { kind: 'line', line: 3, code: 'rule-missing' },
    ],
    [
      'the same from legacy',
      1,
      'iptables-restore: line 3 failed\n',
      'legacy',
      { kind: 'line', line: 3, code: 'other' },
    ],
    [
      'a chain that is not there',
      1,
      'ip6tables-restore: line 2 failed: No chain/target/match by that name.\n',
      'nft',
      { kind: 'line', line: 2, code: 'chain-missing' },
    ],
    [
      'a place too far',
      1,
      'iptables-restore: line 9 failed: Index of insertion too big.\n',
      'nft',
      { kind: 'line', line: 9, code: 'index' },
    ],
    [
      'a chain that exists',
      1,
      'iptables-restore: line 2 failed: Chain already exists.\n',
      'nft',
      { kind: 'line', line: 2, code: 'other' },
    ],
    [
      'a jump to nowhere',
      2,
      nft("Chain 'NOCHAIN' does not exist") + at(4),
      'nft',
      { kind: 'line', line: 4, code: 'chain-missing', name: 'NOCHAIN' },
    ],
    [
      'a jump to nowhere, legacy',
      2,
      `${legacy("Couldn't load target `NOCHAIN':No such file or directory")}\n${at(4)}`,
      'legacy',
      { kind: 'line', line: 4, code: 'target-missing', name: 'NOCHAIN' },
    ],
    [
      'a goto to nowhere, legacy',
      2,
      legacy("goto 'NOCHAIN' is not a chain") + at(2),
      'legacy',
      { kind: 'line', line: 2, code: 'chain-missing', name: 'NOCHAIN' },
    ],
    [
      'an unknown match',
      2,
      `${nft("Couldn't load match `geoip':No such file or directory")}\n${at(7)}`,
      'nft',
      { kind: 'line', line: 7, code: 'match-missing', name: 'geoip' },
    ],
    [
      'a missing set',
      2,
      `${nft("Set bl doesn't exist.")}\n${at(2)}`,
      'nft',
      { kind: 'line', line: 2, code: 'set-missing', name: 'bl' },
    ],
    ['an unknown option', 2, nft('unknown option "--bogus"') + at(5), 'nft', { kind: 'line', line: 5, code: 'other' }],
    ['a bad word', 2, `Bad argument \`garbage'\n${at(3)}`, 'nft', { kind: 'line', line: 3, code: 'other' }],
    [
      'a bad policy, legacy',
      1,
      legacy("Can't set policy `FOO' on `INPUT' line 2: Bad policy name"),
      'legacy',
      { kind: 'line', line: 2, code: 'other' },
    ],
    [
      'a lost race',
      4,
      `${nft('')}line 2: CHAIN_DEL failed (No such file or directory): chain mw-1\n`,
      'nft',
      { kind: 'lost-race', line: 2 },
    ],
    [
      'a lost race behind a full disk of errors',
      4,
      `${nft('')}line 3: RULE_APPEND failed (No such file or directory): rule in chain x\nline 4: RULE_DELETE failed (No such file or directory): rule in chain FORWARD\n`,
      'nft',
      { kind: 'lost-race', line: 4 },
    ],
    [
      'an anchor that went',
      4,
      `${nft('')}line 2: RULE_INSERT failed (No such file or directory): rule in chain FORWARD\n`,
      'nft',
      { kind: 'lost-race', line: 2 },
    ],
    [
      'a chain in use',
      4,
      `${nft('')}line 3: CHAIN_DEL failed (Device or resource busy): chain aa\n`,
      'nft',
      { kind: 'line', line: 3, code: 'other' },
    ],
    [
      'a rule the kernel refuses',
      4,
      `${nft('')}line 2: RULE_APPEND failed (Invalid argument): rule in chain INPUT\n`,
      'nft',
      { kind: 'line', line: 2, code: 'other' },
    ],
    [
      'a missing nfacct object',
      4,
      `${nft('')}line 2: RULE_APPEND failed (No such file or directory): rule in chain c\n`,
      'nft',
      { kind: 'line', line: 2, code: 'other' },
    ],
    [
      'a held lock',
      4,
      'Another app is currently holding the xtables lock. Stopped waiting after 1s.\n',
      'legacy',
      { kind: 'lock' },
    ],
    [
      'a held lock without -w',
      4,
      'Another app is currently holding the xtables lock. Perhaps you want to use the -w option?\n',
      'legacy',
      { kind: 'lock' },
    ],
    [
      'a warning before the refusal',
      1,
      '# Warning: iptables-legacy tables present, use iptables-legacy to see them\niptables-restore: line 3 failed: Index of deletion too big.\n',
      'nft',
      { kind: 'line', line: 3, code: 'index' },
    ],
    [
      '1.8.11',
      4,
      'iptables-restore v1.8.11 (nf_tables): \nline 2: CHAIN_DEL failed (No such file or directory): chain mw-1\n',
      'nft',
      { kind: 'lost-race', line: 2 },
    ],
    ['something new', 3, 'Segmentation fault\n', 'nft', { kind: 'unknown', message: 'Segmentation fault' }],
    ['nothing at all', 137, '', 'nft', { kind: 'unknown', message: 'exit code 137' }],
    ['no COMMIT', 1, 'iptables-restore: COMMIT expected at line 3\n', 'nft', { kind: 'unknown' }],
  ];

  test.each(cases)('%s', (_, exitCode, stderr, engine, expected) =>
    expect(read(exitCode, stderr, engine)).toMatchObject(expected),
  );
});

describe('which line jumps to a missing chain', () => {
  const input = [
    '*mangle',
    '-A INPUT -j NOCHAIN',
    'COMMIT',
    '*filter',
    '-A INPUT -j DROP',
    '-A INPUT -m comment --comment "x -j NOCHAIN" -j DROP',
    '-A INPUT -i lo -g NOCHAIN',
    'COMMIT',
    '',
  ].join('\n');

  test('is found by its name, in the table whose COMMIT is named, not in a comment', () => {
    expect(read(2, nft("Chain 'NOCHAIN' does not exist") + at(8), 'nft', input)).toMatchObject({
      line: 7,
      name: 'NOCHAIN',
    });
  });

  test('stays the one that was named when no rule jumps there', () => {
    expect(read(2, nft("Chain 'OTHER' does not exist") + at(8), 'nft', input)).toMatchObject({ line: 8 });
  });
});

describe('a text that misleads', () => {
  const phrases = [
    'line 9 failed: Index of insertion too big.',
    "Set bl doesn't exist.",
    'Another app is currently holding the xtables lock. Stopped',
    'line 2: CHAIN_DEL failed (No such file or directory): chain mw-1',
  ];

  test.each(phrases)('"%s" inside an argument that iptables repeats does not decide', (phrase) => {
    expect(read(2, nft(`unknown option "${phrase}"`) + at(5))).toMatchObject({ kind: 'line', line: 5, code: 'other' });
    expect(read(2, `Bad argument \`${phrase}'\n${at(6)}`)).toMatchObject({ kind: 'line', line: 6, code: 'other' });
  });

  test('a lone phrase from somewhere else is unknown', () => {
    expect(read(1, 'sh: line 9 failed: Index of insertion too big.\n')).toMatchObject({ kind: 'unknown' });
    expect(read(4, 'line 2: CHAIN_DEL failed (No such file or directory): chain mw-1\n')).toMatchObject({
      kind: 'unknown',
    });
  });
});
