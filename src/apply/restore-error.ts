// What iptables-restore and ip6tables-restore say when they refuse: exit code and stderr to a value. Pure.
// Goals: a lost race, a held lock and a rule that cannot be loaded now are told apart, and the rule's line is named.
// Guarantees: rule text never decides. A comment may hold any of the phrases below; only whole lines that begin as the
// program begins its own lines are read, and the first such line decides (a warning may stand before it).
// Measured with 1.8.9 on both engines; the same lines in 1.8.11. Anything else is `unknown`, never guessed.
// Does not: know why legacy refuses a line (it does not say), nor tell a lost race from a refused rule in its COMMIT line.

import type { ExecResult } from '../host/host.ts';

/** Which engine the program drives. Legacy names a line and nothing else. */
export type RestoreEngine = 'nft' | 'legacy';

export const LINE_CODES = [
  'rule-missing',
  'chain-missing',
  'set-missing',
  'match-missing',
  'target-missing',
  'index',
  'other',
] as const;
export type LineCode = (typeof LINE_CODES)[number];

export type RestoreError =
  | { readonly kind: 'ok' }
  /** One line of the input is refused. `line` is 1-based; `name` is the chain, set, match or target that is missing. */
  | {
      readonly kind: 'line';
      readonly line: number;
      readonly code: LineCode;
      readonly name?: string;
      readonly message: string;
    }
  /** The kernel no longer had what the program had read (iptables-nft). `line` is the first that failed. */
  | { readonly kind: 'lost-race'; readonly line: number; readonly message: string }
  /** Somebody held the xtables lock for longer than `-w` allows (legacy). */
  | { readonly kind: 'lock'; readonly message: string }
  /** `message` is the first line of stderr. */
  | { readonly kind: 'unknown'; readonly message: string };

type Result = Pick<ExecResult, 'exitCode' | 'stderr'> & { readonly command?: Pick<ExecResult['command'], 'input'> };

/** Reads what a restore answered. With the command's input at hand, a jump to a missing chain is found in its own line. */
export function readRestoreError(result: Result, engine: RestoreEngine): RestoreError {
  if (result.exitCode === 0) return { kind: 'ok' };
  const lines = result.stderr.split('\n');
  for (const [at, line] of lines.entries()) {
    const read = readLine(line, lines.slice(at + 1), engine, result.command?.input);
    if (read !== undefined) return read;
  }
  return { kind: 'unknown', message: lines.find((line) => line.trim() !== '') ?? `exit code ${result.exitCode}` };
}

const PROGRAM = 'ip6?tables(?:-nft|-legacy)?-restore';
// "iptables-nft-restore: line 3 failed: Index of insertion too big." and, from legacy, "iptables-restore: line 3 failed"
const LINE_FAILED = new RegExp(`^${PROGRAM}: line (\\d+) failed(?:: (.*?))?\\.?$`);
// "iptables-restore v1.8.9 (nf_tables): Set noset doesn't exist."
const SAID = new RegExp(`^${PROGRAM} v[\\d.]+ \\((?:nf_tables|legacy)\\): (.*)$`);
// "Another app is currently holding the xtables lock. Stopped waiting after 1s."
const LOCK = /^Another app is currently holding the xtables lock[.;]/;

function readLine(
  line: string,
  rest: readonly string[],
  engine: RestoreEngine,
  input: string | undefined,
): RestoreError | undefined {
  const failed = LINE_FAILED.exec(line);
  if (failed !== null) return { kind: 'line', line: Number(failed[1]), code: errnoCode(failed[2]), message: line };
  if (LOCK.test(line)) return { kind: 'lock', message: line };
  if (line.startsWith('Bad argument `')) return atNamedLine(line, rest, 'other', undefined);
  const said = SAID.exec(line)?.[1];
  if (said === undefined) return undefined;
  if (said.trim() === '') return readKernel(rest);
  return engine === 'nft' ? (readMissingChain(said, rest, input) ?? readWords(said, rest)) : readWords(said, rest);
}

/** errno texts of libiptc and nft.c behind `line N failed: `; legacy gives none. */
function errnoCode(text: string | undefined): LineCode {
  if (text === undefined) return 'other';
  if (text.startsWith('Bad rule (does a matching rule exist')) return 'rule-missing';
  if (text.startsWith('No chain/target/match by that name')) return 'chain-missing';
  return text.startsWith('Index of ') ? 'index' : 'other';
}

/** Messages of xtables_error, which exit with 2 and name their line below. */
const WORDS: readonly (readonly [RegExp, LineCode])[] = [
  [/^Set (\S+) doesn't exist\.$/, 'set-missing'], // Set bl doesn't exist.
  [/^Couldn't load match `(\S+)':No such file or directory$/, 'match-missing'], // Couldn't load match `geoip':No such file ...
  [/^Couldn't load target `(\S+)':No such file or directory$/, 'target-missing'], // legacy: also a chain that is not there
  [/^goto '(\S+)' is not a chain$/, 'chain-missing'], // legacy
  [/^Chain '(\S+)' does not exist$/, 'chain-missing'],
];

function readWords(said: string, rest: readonly string[]): RestoreError | undefined {
  for (const [pattern, code] of WORDS) {
    const name = pattern.exec(said)?.[1];
    if (name !== undefined) return atNamedLine(said, rest, code, name);
  }
  const policy = /^Can't set policy `[^']*' on `[^']*' line (\d+): /.exec(said); // Can't set policy `FOO' on `INPUT' line 2: Bad policy name
  if (policy !== null) return { kind: 'line', line: Number(policy[1]), code: 'other', message: said };
  return atNamedLine(said, rest, 'other', undefined);
}

/** `Error occurred at line: 4`, below the message, perhaps after an empty line. */
function atNamedLine(
  message: string,
  rest: readonly string[],
  code: LineCode,
  name: string | undefined,
): RestoreError | undefined {
  const found = rest.map((line) => /^Error occurred at line: (\d+)$/.exec(line)).find((match) => match !== null);
  if (found === undefined) return undefined;
  return { kind: 'line', line: Number(found[1]), code, message, ...(name === undefined ? {} : { name }) };
}

/** iptables-nft looks for jump targets at COMMIT and names that line; the rule is found by the chain's name. */
function readMissingChain(said: string, rest: readonly string[], input: string | undefined): RestoreError | undefined {
  const name = /^Chain '(\S+)' does not exist$/.exec(said)?.[1];
  if (name === undefined) return undefined;
  const at = atNamedLine(said, rest, 'chain-missing', name);
  if (at?.kind !== 'line' || input === undefined) return at;
  return { ...at, line: lineOfJump(input.split('\n'), at.line, name) ?? at.line };
}

/** The first rule that jumps there, in the table whose COMMIT is named. */
function lineOfJump(lines: readonly string[], commitLine: number, chain: string): number | undefined {
  const table = lines.slice(0, commitLine - 1).findLastIndex((line) => line.startsWith('*'));
  const jump = lines.slice(table + 1, commitLine - 1).findIndex((line) => jumpsTo(line, chain));
  return jump === -1 ? undefined : table + 2 + jump;
}

function jumpsTo(line: string, chain: string): boolean {
  const words = line.replace(/"(?:[^"\\]|\\.)*"/g, '""').split(' '); // --comment "go to -j X"
  return words.some((word, at) => word === chain && ['-j', '-g', '--jump', '--goto'].includes(words[at - 1] ?? ''));
}

/** What the kernel refused, one line each: `line 2: CHAIN_DEL failed (No such file or directory): chain mw-1`. */
function readKernel(lines: readonly string[]): RestoreError | undefined {
  const refused = lines.flatMap((text) => {
    const found = /^line (\d+): ([A-Z_]+) failed \(([^)]*)\): /.exec(text);
    return found === null ? [] : [{ line: Number(found[1]), what: found[2] ?? '', reason: found[3] ?? '', text }];
  });
  const lost = refused.find(({ what, reason }) => isLost(what, reason));
  if (lost !== undefined) return { kind: 'lost-race', line: lost.line, message: lost.text };
  const [first] = refused;
  return first && { kind: 'line', line: first.line, code: 'other', message: first.text };
}

const GONE = 'No such file or directory';

/** What had been read and is gone. A RULE_APPEND that misses something may as well miss an nfacct object: no race. */
function isLost(what: string, reason: string): boolean {
  if (reason === 'Resource temporarily unavailable' || reason === 'Interrupted system call should be restarted')
    return true;
  return reason === GONE && what !== 'RULE_APPEND';
}
