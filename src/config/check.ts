// One configuration file as a value, checked: every key against the table of options, every entry of a list by its own rules. Pure.
// Guarantee: every problem says file, line, column, key, what was expected, what was found, and the nearest key.

import type { ConfigProblem, Setting } from '../config.ts';
import { didYouMean } from '../nearest.ts';
import type { OrderWish } from '../owners/index.ts';
import type { Neighbour } from '../owners/types.ts';
import { type NetnsEntry, parseNetns } from './netns.ts';
import { accepts, expected, type Option, OPTIONS } from './options.ts';
import { parseOrder } from './order.ts';
import { parseOwner } from './owners.ts';
import { type EntryList, placeOf, placeOfEntry, type Spot } from './place.ts';
import { parseVars, type RuleVars, type VarValue } from './vars.ts';

/** What one file says. */
export interface CheckedFile {
  readonly settings: readonly Setting[];
  readonly problems: readonly ConfigProblem[];
  readonly owners: readonly Neighbour[];
  readonly vars: RuleVars;
  readonly netns: readonly NetnsEntry[];
  readonly order: readonly OrderWish[];
}

interface Source {
  readonly file: string;
  readonly text: string;
}

/** `taken`: names of owners that files before this one describe. */
export function checkTable(
  source: Source,
  { owners: described, netns: named, order: wanted, vars: variables, ...table }: Readonly<Record<string, unknown>>,
  taken: readonly string[],
): CheckedFile {
  const owners = checkOwners(source, described, taken);
  const netns = checkNetns(source, named);
  const order = checkOrder(source, wanted, [...taken, ...owners.entries.map(({ id }) => id)]);
  const { vars, ...varsTold } = checkVars(source, variables);
  const all = [owners, netns, order, varsTold, checkOptions(source, table)];
  return {
    settings: all.flatMap(({ settings }) => settings),
    problems: all.flatMap(({ problems }) => problems),
    owners: owners.entries,
    netns: netns.entries,
    order: order.entries,
    vars,
  };
}

/** What the entries of one list of tables say. */
interface Checked<T> {
  readonly entries: readonly T[];
  readonly settings: readonly Setting[];
  readonly problems: readonly ConfigProblem[];
}

interface EntryProblem {
  readonly code: ConfigProblem['code'];
  readonly key: string | undefined;
  readonly message: string;
}

/** The entries of one list (`[[owners]]`), each checked by `parse`, which sees those before it; each shows as one setting. */
function checkEntries<T>(
  { file, text }: Source,
  list: EntryList,
  value: unknown,
  parse: (entry: unknown, before: readonly T[]) => { found: T | undefined; problems: readonly EntryProblem[] },
  shows: (found: T) => Omit<Setting, 'from'>,
): Checked<T> {
  const checked = { entries: [] as T[], settings: [] as Setting[], problems: [] as ConfigProblem[] };
  for (const [index, entry] of entriesOf(value).entries()) {
    const { found, problems } = parse(entry, checked.entries);
    const place = (key: string | undefined): Spot => placeOfEntry(text, list, index, key);
    for (const { code, key, message } of problems) checked.problems.push({ code, file, ...place(key), message });
    if (found === undefined) continue;
    checked.entries.push(found);
    checked.settings.push({ ...shows(found), from: `${file}:${place(undefined).line}` });
  }
  return checked;
}

const entriesOf = (value: unknown): readonly unknown[] =>
  Array.isArray(value) ? value : value === undefined ? [] : [value];

/** `owners.acme-agent` */
function checkOwners(source: Source, described: unknown, taken: readonly string[]): Checked<Neighbour> {
  return checkEntries<Neighbour>(
    source,
    'owners',
    described,
    (entry, before) => {
      const { owner, problems } = parseOwner(entry, [...taken, ...before.map(({ id }) => id)]);
      return { found: owner, problems };
    },
    ({ id, chains = [], rules = [], tables = [] }) => {
      const told = [...chains.map(({ name }) => name), ...rules.map(({ evidence }) => evidence), ...tables];
      return { key: `owners.${id}`, value: told.join(', ') };
    },
  );
}

/** `netns.qrouter-*` */
function checkNetns(source: Source, named: unknown): Checked<NetnsEntry> {
  return checkEntries<NetnsEntry>(
    source,
    'netns',
    named,
    (entry) => {
      const { netns, problems } = parseNetns(entry);
      return { found: netns, problems };
    },
    ({ pattern, mode }) => ({ key: `netns.${pattern}`, value: mode ?? "the daemon's mode" }),
  );
}

/** `order.INPUT.fail2ban` */
function checkOrder(source: Source, wanted: unknown, described: readonly string[]): Checked<OrderWish> {
  return checkEntries<OrderWish>(
    source,
    'order',
    wanted,
    (entry) => {
      const { order, problems } = parseOrder(entry, described);
      return { found: order, problems };
    },
    ({ chain, above }) => ({ key: `order.${chain}.${above}`, value: 'above' }),
  );
}

/** `[vars]`: each shows as one setting. */
function checkVars({ file, text }: Source, variables: unknown): Omit<Checked<never>, 'entries'> & { vars: RuleVars } {
  const vars = parseVars(variables, file);
  const place = (name: string): Spot => placeOf(text, `vars.${name}`);
  const told = [
    ...Object.entries(vars.values).map(([name, value]) => ({ name, value: shown(value) })),
    ...vars.files.map(({ name, path }) => ({ name, value: path })),
  ];
  return {
    vars,
    settings: told.map(({ name, value }) => ({ key: `vars.${name}`, value, from: `${file}:${place(name).line}` })),
    problems: vars.problems.map(({ name, message }) => ({
      code: 'config-bad-value',
      file,
      ...place(name),
      message: `key "vars.${name}": ${message}`,
    })),
  };
}

const shown = (value: VarValue): string => (typeof value === 'string' ? value : JSON.stringify(value));

/** All other keys, by the table of options. */
function checkOptions(
  { file, text }: Source,
  table: Readonly<Record<string, unknown>>,
): Omit<Checked<never>, 'entries'> {
  const checked = { settings: [] as Setting[], problems: [] as ConfigProblem[] };
  for (const [key, value] of flatten(table)) {
    const place = placeOf(text, key);
    const option = OPTIONS.find((each) => each.key === key);
    if (option === undefined)
      checked.problems.push({ code: 'config-unknown-key', file, ...place, message: unknownKey(key) });
    else if (!accepts(option, value))
      checked.problems.push({ code: 'config-bad-value', file, ...place, message: badValue(option, value) });
    else checked.settings.push({ key, value, from: `${file}:${place.line}` });
  }
  return checked;
}

function flatten(table: Readonly<Record<string, unknown>>, prefix = ''): [string, unknown][] {
  return Object.entries(table).flatMap(([name, value]): [string, unknown][] => {
    const isTable = typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
    return isTable ? flatten(value as Record<string, unknown>, `${prefix}${name}.`) : [[`${prefix}${name}`, value]];
  });
}

function unknownKey(key: string): string {
  const keys = OPTIONS.map((option) => option.key);
  const last = key.slice(key.lastIndexOf('.') + 1);
  // `repair` at the top, or under a wrong section, is most likely the option of that name.
  const sameName = keys.find((each) => each.endsWith(`.${last}`) || each === last);
  const hint = sameName === undefined ? didYouMean(key, keys) : ` (did you mean "${sameName}"?)`;
  return `unknown key "${key}"${hint}; \`mendwall config show\` lists all`;
}

function badValue(option: Option, value: unknown): string {
  const found = JSON.stringify(value) ?? String(value);
  const word = typeof value === 'string' && option.type.kind === 'one of' ? didYouMean(value, option.type.words) : '';
  return `key "${option.key}": expected ${expected(option)}, found ${found}${word}`;
}
