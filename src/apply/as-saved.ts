// A typed rules file with each rule as iptables prints it, so that it can be compared with live text.
// Guarantees: comments, chains and order stay; what could not be judged keeps its typed spelling, and is told.

import type { Host } from '../host/host.ts';
import type { Family, Problem } from '../ruleset/types.ts';
import { canonicalise } from './canonical.ts';
import type { RestoreEngine } from './restore-error.ts';

export type AsSaved =
  | {
      readonly kind: 'text';
      readonly text: string;
      readonly unchecked: readonly { readonly line: number; readonly why: string }[];
    }
  | { readonly kind: 'problems'; readonly problems: readonly Problem[] };

/** Judges the text in a throw-away network namespace. Where none can be made (no root), the text comes back as it is. */
export async function asSaved(
  host: Host,
  engine: RestoreEngine,
  family: Family,
  text: string,
  file: string,
): Promise<AsSaved> {
  const canonical = await canonicalise(host, engine, family, text, file);
  if (canonical.kind === 'unavailable') return { kind: 'text', text, unchecked: [{ line: 0, why: canonical.why }] };
  const problems = canonical.lines.flatMap((line) => (line.kind === 'bad' ? [line.problem] : []));
  if (problems.length > 0) return { kind: 'problems', problems };
  const saved = new Map(canonical.lines.map((line) => [line.line, line.kind === 'bad' ? [] : line.saved]));
  const lines = text.split('\n').map((source, index) => {
    const rules = /^(?:\[\d+:\d+\] )?-A /.test(source) ? (saved.get(index + 1) ?? []) : [];
    return rules.length === 0 ? source : rules.join('\n');
  });
  const unchecked = canonical.lines.flatMap((line) =>
    line.kind === 'unchecked' ? [{ line: line.line, why: line.why }] : [],
  );
  return { kind: 'text', text: lines.join('\n'), unchecked };
}
