// A load that is known by its result: the rules that stand are those of a known boot file. Pure.
// Guarantee: no answer for a file that brings no rule, or of which another rule stands.

/** By `inet filter`: the rules of a table in a form that is the same for the same rules. A table without a rule may be missing. */
export type RuleForms = ReadonlyMap<string, string>;

/** The user's tables of one boot file. */
export interface NativeBootFile {
  readonly file: string;
  readonly rules: RuleForms;
  /** It takes tables away that it does not name. */
  readonly flushes: boolean;
}

/** What may explain a load. */
export interface BootEvidence {
  readonly files: readonly NativeBootFile[];
  readonly live: RuleForms;
}

export const NO_BOOT_FILES: BootEvidence = { files: [], live: new Map() };

/** The boot file of which everything stands. */
export const standingBootFile = ({ files, live }: BootEvidence): NativeBootFile | undefined =>
  files.find(({ rules }) => rules.size > 0 && [...rules].every(([key, form]) => live.get(key) === form));

/** `keys` hold what this file makes of them: its rules, or none. */
export const explains = ({ rules }: NativeBootFile, { live }: BootEvidence, keys: readonly string[]): boolean =>
  keys.every((key) => rules.get(key) === live.get(key));

/** The tables of `keys` that its load brought or took, when nobody was heard; none when it brought no rule to them. */
export function broughtBy(
  { rules, flushes }: NativeBootFile,
  keys: readonly string[],
  stands: (key: string) => boolean,
): readonly string[] {
  const brought = keys.filter((key) => rules.has(key));
  return brought.length > 0 && flushes ? keys.filter((key) => rules.has(key) || !stands(key)) : brought;
}
