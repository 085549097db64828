// `[[owners]]` of mendwall.toml: a program that mendwall does not know (a vendor's agent), described without code. Pure.
//
//   [[owners]]
//   name = "acme-agent"             # what log and diff call it
//   chains = ["ACME", "ACME-*"]     # its own chains; * at the end stands for the rest of the name
//   comment = "acme:*"              # or: its rules carry this comment
//   tables = ["inet acme*"]         # or: its own native nft tables
//   top = true                      # it insists on the top: never moved
//   repair = "systemctl restart acme-agent"
//
// Guarantees: every problem says which entry and key, what was expected, what was found; a description cannot take what is
// libvirt's, mendwall's or a built-in chain's.

import { escaped } from '../owners/claim-neighbours.ts';
import { neighbour } from '../owners/neighbour.ts';
import { OWNERS, ownerOfChain, ownerOfNativeTable } from '../owners/index.ts';
import type { Neighbour } from '../owners/types.ts';
import { IPTABLES_KEYS } from '../ruleset/nft/iptables-tables.ts';
import { didYouMean } from '../nearest.ts';

/** A problem of one entry; `key` is undefined where the entry as a whole is meant. */
export interface OwnerProblem {
  readonly code: 'config-unknown-key' | 'config-bad-value';
  readonly key: string | undefined;
  readonly message: string;
}

const KEYS = ['name', 'chains', 'comment', 'tables', 'top', 'repair'];
const NAME = /^[a-z][a-z0-9-]{0,40}$/;
/** iptables' names hold 28 characters; `*` alone would claim everything. */
const CHAIN = /^[A-Za-z0-9_.:-]{2,28}\*?$/;
const BUILTIN = /^(?:INPUT|OUTPUT|FORWARD|PREROUTING|POSTROUTING)$/;

/** `inet acme`, `ip acme-*` */
const TABLE = /^(?:ip|ip6|inet|arp|bridge|netdev) [\w.-]{2,}\*?$/;

type Fields = Readonly<Record<string, unknown>>;

/** The neighbour that one entry describes, or what is wrong with it. `taken`: names of the entries before it. */
export function parseOwner(
  entry: unknown,
  taken: readonly string[],
): { readonly owner: Neighbour | undefined; readonly problems: readonly OwnerProblem[] } {
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry))
    return { owner: undefined, problems: [bad(undefined, 'expected a table, as in [[owners]]', entry)] };
  const fields = entry as Fields;
  const problems = [...unknownKeys(fields), ...problemsOf(fields, taken)];
  return { owner: problems.length > 0 ? undefined : ownerOf(fields), problems };
}

function unknownKeys(fields: Fields): OwnerProblem[] {
  return Object.keys(fields)
    .filter((key) => !KEYS.includes(key))
    .map((key) => ({
      code: 'config-unknown-key' as const,
      key,
      message: `unknown key "${key}" in [[owners]]${didYouMean(key, KEYS)}; it takes ${KEYS.join(', ')}`,
    }));
}

function bad(key: string | undefined, expected: string, found: unknown): OwnerProblem {
  const what = key === undefined ? '[[owners]]' : `key "owners.${key}"`;
  return {
    code: 'config-bad-value',
    key,
    message: `${what}: ${expected}, found ${JSON.stringify(found) ?? 'nothing'}`,
  };
}

function problemsOf({ name, chains, comment, tables, top, repair }: Fields, taken: readonly string[]): OwnerProblem[] {
  const problems: OwnerProblem[] = [];
  if (typeof name !== 'string' || !NAME.test(name))
    problems.push(bad('name', 'expected small letters, digits and "-", as in "acme-agent"', name));
  else if (name === 'user' || OWNERS.some((owner) => owner.id === name) || taken.includes(name))
    problems.push(bad('name', 'expected a name that no other owner has', name));
  if (chains === undefined && comment === undefined && tables === undefined)
    problems.push(bad(undefined, 'expected "chains", "comment" or "tables", by which its rules are told', undefined));
  if (chains !== undefined && !(Array.isArray(chains) && chains.length > 0))
    problems.push(bad('chains', 'expected a list of names, as in ["ACME-*"]', chains));
  else for (const chain of (chains as unknown[] | undefined) ?? []) problems.push(...chainProblems(chain));
  if (tables !== undefined && !(Array.isArray(tables) && tables.length > 0))
    problems.push(bad('tables', 'expected a list of tables, as in ["inet acme"]', tables));
  else for (const table of (tables as unknown[] | undefined) ?? []) problems.push(...tableProblems(table));
  if (comment !== undefined && !(typeof comment === 'string' && /^[^"*\\]{2,}\*?$/.test(comment)))
    problems.push(bad('comment', 'expected a comment, or its beginning and "*", as in "acme:*"', comment));
  if (top !== undefined && typeof top !== 'boolean') problems.push(bad('top', 'expected true or false', top));
  if (repair !== undefined && (typeof repair !== 'string' || repair === ''))
    problems.push(bad('repair', 'expected a command, as in "systemctl restart acme-agent"', repair));
  return problems;
}

function chainProblems(chain: unknown): OwnerProblem[] {
  if (typeof chain !== 'string' || !CHAIN.test(chain))
    return [bad('chains', 'expected a chain’s name, or two or more characters of it and "*" at the end', chain)];
  if (BUILTIN.test(chain))
    return [bad('chains', 'expected a chain that the program makes; built-in chains are shared', chain)];
  const owner = ownerOfChain(chain.replace('*', 'X'));
  return owner === undefined
    ? []
    : [bad('chains', `expected chains that nobody else has (these are ${owner}’s)`, chain)];
}

function tableProblems(table: unknown): OwnerProblem[] {
  if (typeof table !== 'string' || !TABLE.test(table))
    return [
      bad(
        'tables',
        'expected family and name of a native table, as in "inet acme", or the beginning of the name and "*"',
        table,
      ),
    ];
  if (IPTABLES_KEYS.has(table))
    return [bad('tables', 'expected a table that the program makes; iptables’ tables are shared', table)];
  const owner = ownerOfNativeTable(table.replace('*', 'X'));
  return owner === undefined
    ? []
    : [bad('tables', `expected tables that nobody else has (these are ${owner}’s)`, table)];
}

function ownerOf({ name, chains, comment, tables, top, repair }: Fields): Neighbour {
  const id = String(name);
  return neighbour({
    id,
    title: id,
    chains: ((chains as string[] | undefined) ?? []).map((chain) => ({ name: chain })),
    rules: comment === undefined ? [] : [commentSign(String(comment))],
    ...(tables === undefined ? {} : { tables: tables as string[] }),
    slot: top === true ? 'none' : 'kept',
    habits: { start: 'not known', reload: 'not known', stop: 'not known' },
    repair: { command: repair === undefined ? undefined : String(repair), onRequest: true },
    verified: 'unverified',
    source: 'the configuration',
  });
}

/** iptables-save puts a comment with blanks in it into quotes, another one not. */
function commentSign(comment: string): NonNullable<Neighbour['rules']>[number] {
  const open = comment.endsWith('*');
  const text = open ? comment.slice(0, -1) : comment;
  const tail = open ? '' : '(?:"| |$)';
  return {
    telltale: text,
    form: new RegExp(` --comment "?${escaped(text)}${tail}`), // -m comment --comment "acme:guest 7" -j ACCEPT
    evidence: `comment ${comment}`,
  };
}
