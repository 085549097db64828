// The ipsets that the user's rules name, kept beside a snapshot (`user.ipset`, in ipset-save form): at boot a rule that names a
// set which is not there cannot be loaded.
// Guarantees: a set that is not there now keeps the text it was kept with; never throws, what could not be kept is a note.
// Does not: count for the snapshot's id (elements come and go), keep native nft sets (they are part of their tables), restore
// (apply/restore-sets.ts).

import { HostError, type Host } from '../host/host.ts';
import { type Family, FAMILIES } from '../ruleset/types.ts';
import { ruleTexts, type UserPart } from '../ruleset/user-part.ts';

export const SETS_FILE = 'user.ipset';
/** Some 250,000 elements. Of what is larger only the headers are kept: empty sets, so that the rules can be loaded. */
export const MOST_CHARACTERS = 16 * 1024 * 1024;

/** `-m set --match-set banned src`, `-j SET --add-set seen src`, `--del-set`, `--map-set` */
const NAMED = /--(?:match|add|del|map)-set (\S+) /g;

/** Names of the sets that the rules need, sorted. */
export function setsNamed(parts: Readonly<Record<Family, UserPart>>): string[] {
  const names = FAMILIES.flatMap((family) => [...parts[family].tables.values()])
    .flatMap(({ chains }) => [...chains.values()])
    .flatMap(({ items }) => ruleTexts(items))
    .flatMap((text) => [...`${text} `.matchAll(NAMED)].map(([, name = '']) => name));
  return [...new Set(names)].sort();
}

/** Lines of an ipset-save text by set, in the order in which the sets are made. */
export function setsOf(text: string): Map<string, string[]> {
  const sets = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const name = /^(?:create|add) (\S+) /.exec(line)?.[1]; // create banned hash:ip family inet ... | add banned 192.0.2.1
    if (name !== undefined) sets.set(name, [...(line.startsWith('create ') ? [] : (sets.get(name) ?? [])), line]);
  }
  return sets;
}

/** Writes `<dir>/<id>/user.ipset`; `before`: the snapshot whose text stands in for sets that are not there now. */
export async function keepSets(
  host: Host,
  dir: string,
  parts: Readonly<Record<Family, UserPart>>,
  { id, before }: { readonly id: string; readonly before: string | undefined },
): Promise<void> {
  const names = setsNamed(parts);
  const path = `${dir}/${id}/${SETS_FILE}`;
  try {
    if (names.length === 0) return;
    const saved = await host.exec({ file: 'ipset', args: ['save'] });
    const live = setsOf(saved.exitCode === 0 ? saved.stdout : '');
    const own = setsOf((await host.files.read(path)) ?? '');
    const old = before === undefined ? own : new Map([...(await readSets(host, dir, before)), ...own]);
    const text = textOf(host, withMembers(names, live, old));
    if (text !== '') await host.files.writeAtomic(path, text);
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    host.log.write('warning', `the ipsets that the rules name are not kept: ${error.message}`);
  }
}

/** The kept sets of a snapshot; none when none were kept. */
export async function readSets(host: Host, dir: string, id: string): Promise<Map<string, string[]>> {
  return setsOf((await host.files.read(`${dir}/${id}/${SETS_FILE}`)) ?? '');
}

type Sets = ReadonlyMap<string, readonly string[]>;

/** Sets that are elements of a list stand before the list. */
function withMembers(names: readonly string[], live: Sets, old: Sets): string[][] {
  const found = new Map<string, string[]>();
  const add = (name: string): void => {
    const lines = live.get(name) ?? old.get(name);
    if (lines === undefined || found.has(name)) return;
    if (lines[0]?.startsWith(`create ${name} list:set `) === true)
      for (const line of lines.slice(1)) add(line.split(' ')[2] ?? ''); // add all banned
    found.set(name, [...lines]);
  };
  for (const name of names) add(name);
  return [...found.values()];
}

function textOf(host: Host, sets: readonly string[][]): string {
  const text = sets.map((lines) => `${lines.join('\n')}\n`).join('');
  if (text.length <= MOST_CHARACTERS) return text;
  host.log.write('warning', 'the ipsets that the rules name are too large to be kept: only that they exist is');
  return sets.map(([head = '']) => `${head}\n`).join('');
}
