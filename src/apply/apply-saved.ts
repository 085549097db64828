// Commits lines to one table of ebtables' or arptables'.
// Guarantees: one transaction; what is refused is told apart: a line that cannot be loaded (which one), somebody who wrote in between,
// anything else; a refusal changes nothing. ebtables: under a lock, an empty chain that is deleted by its name, so that the whole fails
// when the table was replaced since it was made. Does not: lock arptables' tables, whose restore program replaces them whole.
// Measured with 1.8.9: a chain cannot be made and deleted in one ebtables-restore, so the lock is taken away by a commit of its own.

import type { ExecResult, Host } from '../host/host.ts';
import type { SavedLine } from '../plan/saved-plan.ts';
import { RESTORE, type SavedFamily } from '../ruleset/nft/saved.ts';

export type SavedResult =
  | { readonly kind: 'committed' }
  | { readonly kind: 'raced'; readonly said: string }
  | { readonly kind: 'refused'; readonly line: SavedLine; readonly said: string }
  | { readonly kind: 'failed'; readonly said: string };

/** `lock`: the chain that stands, `mark`: the one that the commit leaves; our commits are known by it. */
export interface SavedCommit {
  readonly family: SavedFamily;
  readonly table: string;
  readonly lines: readonly SavedLine[];
  readonly lock: string | undefined;
  readonly mark: string;
}

export async function applySaved(host: Pick<Host, 'exec'>, commit: SavedCommit): Promise<SavedResult> {
  const { family, table, mark } = commit;
  const head = [
    `*${table}`,
    ...(commit.lock === undefined ? [] : [`-X ${commit.lock}`]),
    `:${mark} ${family === 'arp' ? '-' : 'RETURN'}`,
  ];
  // arptables-restore can make and delete a chain in one; the mark is made where its table is.
  const tail = family === 'arp' ? [`-X ${mark}`] : [];
  const lines = family === 'arp' ? arranged(commit.lines, head) : [...head.map(asLine), ...commit.lines];
  const input = [...lines, ...tail.map(asLine)];
  const result = await run(host, family, input.map(({ text }) => text).join('\n') + '\n');
  return result.exitCode === 0 ? { kind: 'committed' } : explain(result, input);
}

const asLine = (text: string): SavedLine => ({ text });

/** Chains stand above the rules. */
const arranged = (lines: readonly SavedLine[], [first = '', ...heads]: readonly string[]): SavedLine[] => [
  asLine(first),
  ...lines.filter(({ rule }) => rule === undefined),
  ...heads.map(asLine),
  ...lines.filter(({ rule }) => rule !== undefined),
];

/** An empty chain in an ebtables table, which is made where it is missing. */
export async function lockSaved(host: Pick<Host, 'exec'>, table: string, name: string): Promise<SavedResult> {
  const result = await run(host, 'bridge', `*${table}\n:${name} RETURN\n`);
  return result.exitCode === 0 ? { kind: 'committed' } : { kind: 'failed', said: whatItSaid(result) };
}

/** Takes a lock away; that it is gone already is no failure. */
export async function unlockSaved(host: Pick<Host, 'exec'>, table: string, name: string): Promise<void> {
  await run(host, 'bridge', `*${table}\n-X ${name}\n`);
}

function run(host: Pick<Host, 'exec'>, family: SavedFamily, input: string): Promise<ExecResult> {
  return host.exec({ file: RESTORE[family], args: family === 'bridge' ? ['--noflush'] : [], input, timeoutMs: 60_000 });
}

/** `Error occurred at line: 3` (what it cannot read), `line 3: RULE_APPEND failed (Operation not supported): rule in chain INPUT` (the kernel) */
const AT_LINE = /^(?:Error occurred at line: (\d+)|line (\d+): RULE_\w+ failed .*)$/m;
/** A deletion that finds no rule, a place beyond the end, a lock that is gone, a chain that came. */
const RACED = /implicit COMMIT failed|COMMIT failed|No such file or directory|File exists|does a matching rule exist/;

function explain(result: ExecResult, input: readonly SavedLine[]): SavedResult {
  const said = whatItSaid(result);
  const [, read, refused] = AT_LINE.exec(result.stderr) ?? [];
  const line = input[Number(read ?? refused ?? 0) - 1];
  if (line?.rule !== undefined) return { kind: 'refused', line, said };
  return RACED.test(result.stderr) ? { kind: 'raced', said } : { kind: 'failed', said };
}

/** Its first words, without its own name: `Chain 'NOPE' does not exist` */
function whatItSaid({ command, stderr, exitCode }: ExecResult): string {
  const lines = stderr.split('\n').map((text) => text.replace(/^\w+-restore v\S+ \(nf_tables\): ?/, '').trim());
  return lines.find((text) => text !== '') ?? `${command.file} ended with ${exitCode} and said nothing`;
}
