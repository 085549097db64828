// `[[netns]]` of mendwall.toml: network namespaces that the daemon guards beside its own. Pure.
//
//   [[netns]]
//   pattern = "qrouter-*"     # names as `ip netns list` shows them; * stands for any characters, ? for one
//   mode = "merge"            # default: the daemon's own
//
// The first entry whose pattern fits a name counts. Guarantees: every problem says which key, what was expected, what was found.

import type { Mode } from '../pass/types.ts';
import { didYouMean } from '../nearest.ts';

export interface NetnsEntry {
  readonly pattern: string;
  /** Undefined: as the daemon's own namespace. */
  readonly mode: Mode | undefined;
}

export interface NetnsProblem {
  readonly code: 'config-unknown-key' | 'config-bad-value';
  readonly key: string | undefined;
  readonly message: string;
}

const KEYS = ['pattern', 'mode'];
const MODES = ['observe', 'merge'];
/** What a file may be called, but `.` and `..`, with * and ? for characters. */
const PATTERN = /^(?!\.{1,2}$)[^/\s]+$/;

/** The entry, or what is wrong with it. */
export function parseNetns(entry: unknown): {
  readonly netns: NetnsEntry | undefined;
  readonly problems: readonly NetnsProblem[];
} {
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry))
    return { netns: undefined, problems: [bad(undefined, 'expected a table, as in [[netns]]', entry)] };
  const fields = entry as Readonly<Record<string, unknown>>;
  const { pattern, mode } = fields;
  const problems = [...unknownKeys(fields)];
  if (typeof pattern !== 'string' || !PATTERN.test(pattern))
    problems.push(bad('pattern', 'expected a name, * and ? for characters, as in "qrouter-*"', pattern));
  if (mode !== undefined && !MODES.includes(mode as string))
    problems.push(bad('mode', `expected "observe" or "merge"${didYouMean(String(mode), MODES)}`, mode));
  if (problems.length > 0) return { netns: undefined, problems };
  return { netns: { pattern: pattern as string, mode: mode as Mode | undefined }, problems };
}

function unknownKeys(fields: Readonly<Record<string, unknown>>): NetnsProblem[] {
  return Object.keys(fields)
    .filter((key) => !KEYS.includes(key))
    .map((key) => ({
      code: 'config-unknown-key',
      key,
      message: `unknown key "${key}" in [[netns]]${didYouMean(key, KEYS)}; it takes ${KEYS.join(', ')}`,
    }));
}

function bad(key: string | undefined, expected: string, found: unknown): NetnsProblem {
  const what = key === undefined ? '[[netns]]' : `key "netns.${key}"`;
  const message = `${what}: ${expected}, found ${JSON.stringify(found) ?? 'nothing'}`;
  return { code: 'config-bad-value', key, message };
}

/** The first entry that fits the name. */
export function netnsEntryFor(entries: readonly NetnsEntry[], name: string): NetnsEntry | undefined {
  return entries.find(({ pattern }) => fits(pattern, name));
}

function fits(pattern: string, name: string): boolean {
  const escaped = pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`^${escaped.replaceAll('*', '.*').replaceAll('?', '.')}$`).test(name); // qrouter-* -> ^qrouter-.*$
}
