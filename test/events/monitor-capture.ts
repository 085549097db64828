// Captured `nft monitor` output as lines, whole or by case, and commits as one short line for comparing.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createMonitorParser, type ParsedCommit } from '../../src/events/nft-monitor-parse.ts';
import type { NativeChange, TableChange } from '../../src/events/types.ts';

/** What a parser said about some lines, in order. */
export interface Heard {
  readonly touched: readonly string[];
  readonly commits: readonly ParsedCommit[];
  readonly looks: readonly string[];
}

/** Lines of a capture in test/captures/nft-monitor, without the `## ` lines that say where it comes from. */
export function captureLines(file: string): string[] {
  return readCapture(file).filter((line) => !line.startsWith('## '));
}

/** The lines below `## case NAME...` of a capture. */
export function caseLines(file: string, name: string): string[] {
  const lines = readCapture(file);
  const start = lines.findIndex((line) => new RegExp(`^## case ${name}(:|$)`).test(line)); // ## case d: iptables -F
  if (start < 0) throw new Error(`no case ${name} in ${file}`);
  const length = lines.slice(start + 1).findIndex((line) => line.startsWith('## '));
  return length < 0 ? lines.slice(start + 1) : lines.slice(start + 1, start + 1 + length);
}

function readCapture(file: string): string[] {
  const path = fileURLToPath(new URL(`../captures/nft-monitor/${file}`, import.meta.url));
  return readFileSync(path, 'utf8').trimEnd().split('\n');
}

/** Runs lines through a parser; `trusted` (the default) as if the monitor had been quiet since it started. */
export function hear(lines: readonly string[], trusted = true): Heard {
  const heard = { touched: [] as string[], commits: [] as ParsedCommit[], looks: [] as string[] };
  const parser = createMonitorParser({
    touched: (family, table, chain) => void heard.touched.push([family, table, chain ?? '-'].join(' ')),
    commit: (commit) => void heard.commits.push(commit),
    look: (reason) => void heard.looks.push(reason),
  });
  if (trusted) parser.trust();
  for (const line of lines) parser.line(line);
  return heard;
}

/** `ip filter: -table +table, rules +4 -4 in INPUT FORWARD, chains +INPUT -MYCH`; `elsewhere` at the end. */
export function shapeOf(commit: Pick<ParsedCommit, 'changes' | 'elsewhere'>): string {
  return [...commit.changes.map(shapeOfChange), ...(commit.elsewhere ? ['elsewhere'] : [])].join(' | ');
}

/** `inet t: +table, rules +4 in in, chains +in, objects 8, elements 3`, for each native table. */
export function nativeShapeOf({ native }: Pick<ParsedCommit, 'native'>): string {
  return native.map(shapeOfNative).join(' | ');
}

function shapeOfNative(change: NativeChange): string {
  const { objectsChanged, elementsChanged } = change;
  const more = [
    ...(objectsChanged > 0 ? [`objects ${objectsChanged}`] : []),
    ...(elementsChanged > 0 ? [`elements ${elementsChanged}`] : []),
  ];
  return `${change.table}: ${[...partsOf(change), ...more].join(', ')}`;
}

function shapeOfChange(change: TableChange): string {
  return `${change.family} ${change.table}: ${partsOf(change).join(', ')}`;
}

function partsOf(change: TableChange | NativeChange): string[] {
  const table = [...(change.deletesTable ? ['-table'] : []), ...(change.addsTable ? ['+table'] : [])];
  const rules = [...signed('+', change.rulesAdded), ...signed('-', change.rulesDeleted)];
  const chains = [...change.chainsAdded.map((name) => `+${name}`), ...change.chainsDeleted.map((name) => `-${name}`)];
  return [
    ...(table.length > 0 ? [table.join(' ')] : []),
    ...(rules.length > 0 ? [`rules ${rules.join(' ')} in ${change.ruleChains.join(' ')}`] : []),
    ...(chains.length > 0 ? [`chains ${chains.join(' ')}`] : []),
  ];
}

const signed = (sign: string, count: number): string[] => (count === 0 ? [] : [`${sign}${count}`]);
