// Native rule files as one text, and where things stand in it: lines, devices, `flush ruleset`. Pure; nft itself judges.

import { finding, type Finding, type Place, placeIn, placeOf, type RuleSource } from './types.ts';

export interface JoinedText {
  readonly text: string;
  /** Where line `line` (1-based) of the text is written. */
  place(line: number, word?: string): Place;
  isTemplate(line: number): boolean;
}

/** Files one after the other, each ending with a line end. */
export function joined(sources: readonly RuleSource[]): JoinedText {
  const texts = sources.map(({ text }) => (text.endsWith('\n') ? text : `${text}\n`));
  const starts: number[] = [];
  let next = 1;
  for (const text of texts) {
    starts.push(next);
    next += text.split('\n').length - 1;
  }
  const at = (line: number): number =>
    Math.max(
      0,
      starts.findLastIndex((start) => start <= line),
    );
  return {
    text: texts.join(''),
    place(line, word) {
      const source = sources[at(line)];
      return source === undefined
        ? { file: '', line: 0, column: 0 }
        : placeOf(source, line - (starts[at(line)] ?? 1) + 1, word);
    },
    isTemplate: (line) => sources[at(line)]?.template === true,
  };
}

const NAMED = /\b(?:iif|oif|device|devices)\s+(?:!=\s*|==\s*|=\s*)?(\{[^}]*\}|"[^"]+"|[\w.:-]+)/g; // iif { "eth0", eth1 }

export interface Device {
  readonly name: string;
  /** 1-based, of the joined text. */
  readonly line: number;
}

/** Devices that must exist when nft loads the text: those it names so, and words that are a device of this host. */
export function devicesNamed(text: string, interfaces: readonly string[]): readonly Device[] {
  const bare = text.replace(/#.*$/gm, '');
  const found = new Map<string, number>();
  const lineAt = (index: number): number => bare.slice(0, index).split('\n').length;
  for (const match of bare.matchAll(NAMED)) {
    for (const word of (match[1] ?? '').match(/[\w.:-]+/g) ?? [])
      if (!found.has(word) && word !== 'lo' && !/^\d+$/.test(word)) found.set(word, lineAt(match.index));
  }
  for (const name of interfaces) {
    if (found.has(name) || name === 'lo') continue;
    const at = bare.indexOf(name);
    if (at !== -1) found.set(name, lineAt(at));
  }
  return [...found].map(([name, line]) => ({ name, line }));
}

/** `flush ruleset` takes libvirt's rules, too, at each load of the file. */
export function flushes(sources: readonly RuleSource[]): Finding[] {
  return sources.flatMap((source) =>
    source.text.split('\n').flatMap((line, index): Finding[] => {
      if (!/^\s*flush\s+ruleset\b/.test(line)) return [];
      const said =
        "flush ruleset deletes everybody's rules, libvirt's too, when the file is loaded by itself; expected per table: table inet NAME, delete table inet NAME, table inet NAME { ... }";
      return [finding('flush-ruleset', placeIn(line, placeOf(source, index + 1), 'flush'), said)];
    }),
  );
}

/** The line where a table begins. */
export function placeOfTable(sources: readonly RuleSource[], key: string): Place {
  const [family = '', name = ''] = key.split(' ');
  const head = `${family === 'ip' ? '(?:ip\\s+)?' : `${family}\\s+`}${name.replace(/[^\w-]/g, '\\$&')}`;
  return (
    placeOfLine(sources, new RegExp(`^\\s*(?:add\\s+|create\\s+)?table\\s+${head}(?:\\s|\\{|$)`)) ?? wholeOf(sources)
  );
}

/** Lines by their text, without blanks around them: a rule that is written as nft lists it has its line. */
export function linesByText(sources: readonly RuleSource[]): ReadonlyMap<string, Place> {
  const found = new Map<string, Place>();
  for (const source of sources)
    source.text.split('\n').forEach((line, index) => {
      const text = line.trim();
      if (!found.has(text)) found.set(text, placeOf(source, index + 1));
    });
  return found;
}

const wholeOf = ([first]: readonly RuleSource[]): Place => ({ file: first?.file ?? '', line: 0, column: 0 });

function placeOfLine(sources: readonly RuleSource[], pattern: RegExp): Place | undefined {
  for (const source of sources) {
    const index = source.text.split('\n').findIndex((line) => pattern.test(line));
    if (index !== -1) return placeOf(source, index + 1);
  }
  return undefined;
}
