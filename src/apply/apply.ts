// Commits plans: one transaction a table, `iptables-restore --noflush`, filter before nat.
// Goals: the optimistic lock (law 7) fails a batch that was planned for a table somebody has replaced since.
// Guarantees: what is refused is told apart: a lost race (read again), a rule that cannot be loaded now (which one), a
// held lock, anything else. A refusal changes nothing in its table; tables before it in the list stay committed, and
// `done` names them so that they can be undone.
// Does not: decide, or read back (the pass reads again; a second pass must be empty).

import type { ExecResult, Host } from '../host/host.ts';
import type { Edit, TablePlan } from '../plan/plan.ts';
import { renderSentinelOnly, renderTable, type SentinelStep } from '../plan/render.ts';
import type { Family, TableName } from '../ruleset/types.ts';
import { type RestoreEngine, type RestoreError, readRestoreError } from './restore-error.ts';

/** One table's plan and what its lock is. */
export interface TableCommit {
  readonly plan: TablePlan;
  readonly inverse: TablePlan;
  readonly sentinel: SentinelStep;
}

export type ApplyResult =
  | { readonly kind: 'committed'; readonly durationMs: number }
  /** Somebody else committed in between, or the lock chain was not there yet and was made now: read again. */
  | { readonly kind: 'again'; readonly why: 'lost-race' | 'lock-made'; readonly done: readonly TableName[] }
  /** iptables refuses this edit by name: hold it back, try the rest. */
  | {
      readonly kind: 'refused';
      readonly table: TableName;
      readonly edit: Edit;
      readonly error: RestoreError;
      readonly said: string;
      readonly done: readonly TableName[];
    }
  | { readonly kind: 'locked'; readonly done: readonly TableName[] }
  | { readonly kind: 'failed'; readonly said: string; readonly done: readonly TableName[] };

const ORDER: readonly TableName[] = ['filter', 'nat', 'mangle', 'raw', 'security'];
/** A bound on waiting for the legacy engine's lock; without one `-w` waits without limit (measured). */
const LOCK_WAIT_S = 5;

/** Commits the plans of one family, in the order that leaves no moment more open than before. */
export async function applyFamily(
  host: Host,
  family: Family,
  engine: RestoreEngine,
  commits: readonly TableCommit[],
): Promise<ApplyResult> {
  const unlocked = commits.filter((commit) => commit.sentinel.seen === undefined);
  if (unlocked.length > 0) return makeLocks(host, family, engine, unlocked);
  const ordered = [...commits].sort((a, b) => rank(a.plan.table) - rank(b.plan.table));
  const input = ordered.map((commit) =>
    renderTable(commit.plan, { ...commit.sentinel, seen: commit.sentinel.seen as string }),
  );
  const result = await restore(host, family, input.join(''));
  if (result.exitCode === 0) return { kind: 'committed', durationMs: result.durationMs };
  return explainFailure(ordered, readRestoreError(result, engine), whatItSaid(result));
}

async function makeLocks(
  host: Host,
  family: Family,
  engine: RestoreEngine,
  commits: readonly TableCommit[],
): Promise<ApplyResult> {
  const input = commits.map((commit) => renderSentinelOnly(commit.plan.table, commit.sentinel.next)).join('');
  const result = await restore(host, family, input);
  if (result.exitCode === 0) return { kind: 'again', why: 'lock-made', done: [] };
  const error = readRestoreError(result, engine);
  if (error.kind === 'lock') return { kind: 'locked', done: [] };
  if (error.kind === 'lost-race') return { kind: 'again', why: 'lost-race', done: [] };
  return { kind: 'failed', said: whatItSaid(result), done: [] };
}

function restore(host: Host, family: Family, input: string): ReturnType<Host['exec']> {
  const file = family === 'ip' ? 'iptables-restore' : 'ip6tables-restore';
  return host.exec({ file, args: ['--noflush', '--counters', '-w', String(LOCK_WAIT_S)], input, timeoutMs: 60_000 });
}

function explainFailure(commits: readonly TableCommit[], error: RestoreError, said: string): ApplyResult {
  if (error.kind === 'lock') return { kind: 'locked', done: [] };
  if (error.kind === 'lost-race') return { kind: 'again', why: 'lost-race', done: [] };
  if (error.kind !== 'line') return { kind: 'failed', said, done: [] };
  const place = locate(commits, error.line);
  if (place === undefined) return { kind: 'failed', said, done: [] };
  if (place.edit === undefined) return { kind: 'again', why: 'lost-race', done: place.done };
  // A deletion that finds no rule, or a place beyond the end, means that the table changed since the read.
  if (place.edit.kind === 'delete' || error.code === 'index')
    return { kind: 'again', why: 'lost-race', done: place.done };
  return { kind: 'refused', table: place.table, edit: place.edit, error, said, done: place.done };
}

/** Which edit stands in a line of the input; undefined edit: a line of the lock or of the frame. */
function locate(
  commits: readonly TableCommit[],
  line: number,
): { table: TableName; edit: Edit | undefined; done: TableName[] } | undefined {
  const HEAD = 3; // *table, -X, -N
  let start = 1;
  const done: TableName[] = [];
  for (const { plan } of commits) {
    const length = HEAD + plan.edits.length + 1;
    if (line < start + length) return { table: plan.table, edit: plan.edits[line - start - HEAD], done };
    start += length;
    done.push(plan.table);
  }
  return undefined;
}

/** Leads committed tables of a failed apply back to where they were. Each has its lock from the commit just made; `nextSentinel` names the one that replaces it. */
export async function undo(
  host: Host,
  family: Family,
  engine: RestoreEngine,
  commits: readonly TableCommit[],
  nextSentinel: () => string,
): Promise<ApplyResult> {
  const inverse = commits.map((commit) => ({
    plan: commit.inverse,
    inverse: commit.plan,
    sentinel: { seen: commit.sentinel.next, next: nextSentinel() },
  }));
  return applyFamily(host, family, engine, inverse);
}

function rank(table: TableName): number {
  const at = ORDER.indexOf(table);
  return at === -1 ? ORDER.length : at;
}

/** The first line of its complaint; a program that fails in silence is named with its exit code. */
function whatItSaid({ command, stderr, exitCode }: ExecResult): string {
  const line = stderr.split('\n').find((text) => text.trim() !== '');
  return line ?? `${command.file} ended with ${exitCode} and said nothing`;
}
