// A load that is known by its result: what stands is what a known boot file makes. Pure.
// Guarantee: no answer for a file that brings no rule, or of which anything stands otherwise.

import { countNativeRules, isSameTable, type NativePart } from '../ruleset/nft/native-part.ts';

/** The user's tables of one boot file, as nft lists them where it is loaded alone. */
export interface NativeBootFile {
  readonly file: string;
  readonly tables: NativePart;
  /** It takes tables away that it does not name. */
  readonly flushes: boolean;
}

/** The boot file of which everything stands. */
export function standingBootFile(files: readonly NativeBootFile[], live: NativePart): NativeBootFile | undefined {
  return files.find(
    ({ tables }) =>
      countNativeRules(tables) > 0 && [...tables].every(([key, table]) => isSameTable(table, live.get(key))),
  );
}

/** `keys` are what this file makes of them: its own tables, or gone. */
export const explains = ({ tables }: NativeBootFile, live: NativePart, keys: readonly string[]): boolean =>
  keys.every((key) => isSameTable(tables.get(key), live.get(key)));

/** The tables of `keys` that its load brought or took, when nobody was heard; none when it brought no rule to them. */
export function broughtBy(
  { tables, flushes }: NativeBootFile,
  live: NativePart,
  keys: readonly string[],
): readonly string[] {
  const brought = keys.filter((key) => tables.has(key));
  const rules = countNativeRules(new Map([...tables].filter(([key]) => brought.includes(key))));
  if (rules === 0) return [];
  return flushes ? keys.filter((key) => tables.has(key) || !live.has(key)) : brought;
}
