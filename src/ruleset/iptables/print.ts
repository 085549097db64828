// Printing joins stored text; nothing is formatted anew. Pure.

import type { Problem, Ruleset } from '../types.ts';
import type { Document } from './parse.ts';

/** print(parse(x)) = x, byte for byte. */
export function printDocument(document: Document): string {
  return document.lines.map((line) => line.source).join('\n');
}

/** A ruleset built in memory, in iptables-save form without counters: what `debug merge` prints. */
export function printRuleset(ruleset: Ruleset): string {
  const lines: string[] = [];
  for (const table of ruleset.tables.values()) {
    lines.push(`*${table.name}`);
    for (const chain of table.chains.values())
      lines.push(`:${chain.name} ${chain.policy} [${chain.counters ?? '0:0'}]`);
    for (const chain of table.chains.values()) for (const rule of chain.rules) lines.push(rule.text);
    lines.push('COMMIT');
  }
  return lines.length === 0 ? '' : lines.join('\n') + '\n';
}

/** `rules.v4:3:4: unknown-chain: chain web is not declared; expected ...` */
export function printProblem(problem: Problem): string {
  return `${problem.file}:${problem.line}:${problem.column}: ${problem.code}: ${problem.message}`;
}
