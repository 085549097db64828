// An old iptables file as a rule file of today's: spellings translated, neighbours' lines taken out, all else as it stands. Pure.

import { translateLine } from './dialect.ts';
import type { LeftOutRule } from './types.ts';

export interface TranslatedLine {
  /** 1-based. */
  readonly line: number;
  readonly changes: readonly string[];
  readonly text: string;
}

/** The text with today's spellings; line numbers stay. */
export function translate(text: string): { readonly text: string; readonly changed: readonly TranslatedLine[] } {
  const changed: TranslatedLine[] = [];
  const lines = text.split('\n').map((line, index) => {
    const translated = translateLine(line.replace(/\r$/, ''));
    if (translated.changes.length > 0) changed.push({ line: index + 1, ...translated });
    return translated.text;
  });
  return { text: lines.join('\n'), changed };
}

/**
 * The text without the lines left out. `chains`: neighbours' chains, as `filter LIBVIRT_FWI`; their declarations go with their
 * rules. A slot line stands where a run of rules was whose owner keeps a slot.
 */
export function withoutNeighbours(
  text: string,
  leftOut: readonly LeftOutRule[],
  chains: ReadonlySet<string>,
  keepsSlot: (owner: string, chain: string) => boolean,
): string {
  const gone = new Map(leftOut.map((rule) => [rule.line, rule]));
  const out: string[] = [];
  let table = '';
  let slot = '';
  text.split('\n').forEach((line, index) => {
    table = /^\*(\S+)/.exec(line)?.[1] ?? table; // *filter
    const chain = /^:(\S+)/.exec(line)?.[1]; // :LIBVIRT_FWI - [0:0]
    const rule = gone.get(index + 1);
    if (chain !== undefined && chains.has(`${table} ${chain}`)) return;
    if (rule === undefined) {
      out.push(line);
      if (line.startsWith('-')) slot = '';
      return;
    }
    const place = `${rule.owner} in ${rule.chain}`;
    if (!keepsSlot(rule.owner, rule.chain) || chains.has(`${table} ${rule.chain}`) || slot === place) return;
    slot = place;
    out.push(`# mendwall: slot ${place}`);
  });
  return out.join('\n');
}
