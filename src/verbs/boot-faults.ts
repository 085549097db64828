// Where a rule that could not be loaded is written, and which word of it is at fault: one line for the journal.

import type { Drift } from '../merge/drift.ts';
import { escapeControl } from '../host/text.ts';
import { FAMILIES } from '../ruleset/types.ts';
import type { LoadedRules } from './load-rules.ts';
import type { World } from './types.ts';

export interface WrittenPlace {
  readonly file: string;
  /** 1-based; 0: the file as a whole. */
  readonly line: number;
}

/** Where the rule of a drift is written. */
export type WrittenIn = (drift: Drift) => WrittenPlace;

/** `/var/lib/mendwall/snapshots/3f0a.../user.v4:7:24: "banned": iptables-restore v1.8.9 (nf_tables): Set banned doesn't exist.` */
export function ruleFault(drift: Drift, written: WrittenIn): string {
  const { file, line } = written(drift);
  const { text, evidence } = drift;
  const word = wordAtFault(text, evidence);
  const at = line === 0 ? file : `${file}:${line}:${Math.max(1, text.indexOf(word) + 1)}`;
  return escapeControl(`${at}: "${word}": ${evidence.trim()} (not loaded: ${drift.family} ${drift.table} ${text})`);
}

/** The longest word of the rule that the refusal names; of a missing interface the word behind iif or oif; else the rule's own first. */
export function wordAtFault(rule: string, said: string): string {
  const words = rule.split(/\s+/).map((word) => word.replace(/^["@]+|["]+$/g, ''));
  const named = words
    .filter((word) => word.length > 1 && !word.startsWith('-') && isNamed(said, word))
    .toSorted((a, b) => b.length - a.length);
  const device = /interface/i.test(said) ? /\b(?:iif|oif|device)\s+"?([\w.:-]+)/.exec(rule)?.[1] : undefined;
  return device ?? named[0] ?? words[0] ?? '';
}

/** As a word of its own: `Set banned doesn't exist.`, "Couldn't load match `geoip':No such file or directory" */
const isNamed = (said: string, word: string): boolean =>
  said.split(/[\s`'":;,()]+/).some((part) => part === word || part === `${word}.`);

/** By the files of a snapshot. */
export async function writtenInSnapshot({ context, config }: World, id: string): Promise<WrittenIn> {
  const folder = `${config.stateDir}/snapshots/${id}`;
  const names = { ip: 'user.v4', ip6: 'user.v6', native: 'user.nft' } as const;
  const texts = new Map<string, readonly string[]>();
  for (const name of Object.values(names))
    texts.set(name, ((await context.host.files.read(`${folder}/${name}`)) ?? '').split('\n'));
  return ({ family, table, text }) => {
    const saved = FAMILIES.find((each) => each === family);
    const own = saved === undefined ? -1 : lineIn(texts.get(names[saved]) ?? [], `*${table}`, text);
    if (saved !== undefined && own !== -1) return { file: `${folder}/${names[saved]}`, line: own + 1 };
    const native = lineIn(texts.get(names.native) ?? [], `table ${family} ${table} {`, text);
    return { file: `${folder}/${names.native}`, line: native + 1 };
  };
}

/** Index of the first such line behind the head of its table; -1 when there is none. */
function lineIn(lines: readonly string[], head: string, text: string): number {
  const start = lines.indexOf(head);
  return start === -1 ? -1 : lines.findIndex((line, index) => index > start && line.trim() === text);
}

/** By the rule files that were loaded. */
export function writtenInFiles({ placed, sources }: LoadedRules): WrittenIn {
  return ({ table, chain, text }) =>
    placed.find((rule) => rule.table === table && rule.chain === chain && rule.text === text) ?? {
      file: sources[0]?.file ?? '',
      line: 0,
    };
}
