// The commit for native tables: one `nft -f -`. What nft refuses by its line is named; then nothing was written.
// Does not: decide what to leave out (the pass plans again), or read back (the pass does).

import type { Host } from '../host/host.ts';
import { objectKey } from '../ruleset/nft/native-part.ts';
import { parseNft } from '../ruleset/nft/parse.ts';
import { printNftObject } from '../ruleset/nft/print.ts';
import { type NftChain, type NftTable, tableKey } from '../ruleset/nft/types.ts';
import { readNftErrors } from './nft-error.ts';

/**
 * `chain` is empty when it is no rule that nft refuses, but something of the table (`text`: `set banned`, `chain input`), or the
 * table itself (`text` is empty).
 */
export interface RefusedNative {
  readonly key: string;
  readonly chain: string;
  readonly text: string;
  readonly said: string;
}

export type NativeResult =
  | { readonly kind: 'committed' }
  | { readonly kind: 'refused'; readonly refused: readonly RefusedNative[] }
  /** Somebody made or deleted one of the tables meanwhile: read again. */
  | { readonly kind: 'raced'; readonly said: string }
  | { readonly kind: 'failed'; readonly said: string };

/** `input` is the text of plan/nft-replace.ts. Nothing is written unless all of it is. */
export async function applyNative({ exec }: Pick<Host, 'exec'>, input: string): Promise<NativeResult> {
  const result = await exec({ file: 'nft', args: ['-f', '-'], input });
  if (result.exitCode === 0) return { kind: 'committed' };
  const errors = readNftErrors(result);
  const lines = input.split('\n');
  const raced = errors.find(({ line }) => line !== undefined && isOurLine(lines[line - 1] ?? ''));
  if (raced !== undefined) return { kind: 'raced', said: raced.message };
  const places = placesOf(input);
  const refused = errors.flatMap(({ line, message }) => {
    const place = line === undefined ? undefined : places.get(line);
    return place === undefined ? [] : [{ ...place, said: message }];
  });
  return refused.length > 0
    ? { kind: 'refused', refused }
    : { kind: 'failed', said: errors[0]?.message ?? 'nft failed' };
}

/**
 * Makes the chains and deletes them again (`mw-...`, by `FAMILY NAME`), and says which handle a chain made next would get. A table
 * that is gone has none.
 */
export async function nextHandles(
  { exec }: Pick<Host, 'exec'>,
  chains: ReadonlyMap<string, string>,
): Promise<Map<string, number>> {
  const input = [...chains].map(([key, name]) => `add chain ${key} ${name}\ndelete chain ${key} ${name}\n`).join('');
  const { exitCode, stdout } = await exec({ file: 'nft', args: ['-e', '-a', '-f', '-'], input });
  const found = exitCode === 0 ? stdout.matchAll(/^add chain (\S+ \S+) (\S+).* # handle (\d+)$/gm) : []; // add chain inet a mw-1a2b3c4d # handle 7
  return new Map([...found].map(([, key = '', , handle]) => [key, Number(handle) + 1]));
}

/** `create table inet a`, `delete table inet handle 3`, `delete rule inet a input handle 7`, `delete set ip nat banned` */
const isOurLine = (line: string): boolean => /^(?:create|delete|flush) /.test(line);

type Place = Omit<RefusedNative, 'said'>;

/** Which rule, or else which object, each line of the input belongs to. */
function placesOf(input: string): Map<number, Place> {
  const places = new Map<number, Place>();
  let line = 1;
  for (const part of parseNft(input).parts) {
    if (part.kind === 'text') line += lineCount(part.source);
    else line = placeTable(part, line, places);
  }
  return places;
}

function placeTable(table: NftTable, first: number, places: Map<number, Place>): number {
  const key = tableKey(table);
  const whole = { key, chain: '', text: '' };
  const add = (from: number, source: string, place: Place): number => {
    const next = from + lineCount(source);
    for (let line = from; line < next; line++) places.set(line, place);
    return next;
  };
  let line = add(first, table.head, whole);
  for (const part of table.parts) {
    if ('source' in part) line = add(line, part.source, whole);
    else if (part.kind === 'chain') line = placeChain(part, line, add, { ...whole, text: objectKey(part) });
    else line = add(line, printNftObject(part), { ...whole, text: objectKey(part) });
  }
  return add(line, table.tail, whole);
}

function placeChain(
  { name, head, parts, tail }: NftChain,
  first: number,
  add: (from: number, source: string, place: Place) => number,
  whole: Place,
): number {
  let line = add(first, head, whole);
  for (const part of parts)
    line = add(line, part.source, part.kind === 'rule' ? { key: whole.key, chain: name, text: part.text } : whole);
  return add(line, tail, whole);
}

const lineCount = (text: string): number => text.split('\n').length - 1;
