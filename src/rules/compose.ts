// The fragments of one family as one ruleset, in the order of the files, and as one text that iptables judges. Pure.
// Guarantees: a rule goes below those of its chain that were there before it (`-I` above); a policy is said once, or said
// alike; a chain without a declaration is found here, whichever file should have declared it.

import { isLeftToUser, ownerOfChain, OWNERS } from '../owners/index.ts';
import { didYouMean } from '../nearest.ts';
import { targetOf } from '../ruleset/iptables/lex.ts';
import type { Fragment, Statement } from './fragment.ts';
import { finding, type Finding, type Place } from './types.ts';

export type Entry =
  | { readonly kind: 'rule'; readonly text: string; readonly place: Place }
  | { readonly kind: 'slot'; readonly owner: string; readonly texts: readonly string[]; readonly place: Place };

export interface ComposedChain {
  readonly name: string;
  /** Of a built-in chain, where a file says it. */
  policy: string | undefined;
  place: Place;
  /** A neighbour's chain, that no file has to declare. */
  readonly foreign: boolean;
  readonly entries: Entry[];
}

export type ComposedTables = ReadonlyMap<string, ReadonlyMap<string, ComposedChain>>;

export interface Composed {
  readonly tables: ComposedTables;
  /** Where each table is opened first. */
  readonly heads: ReadonlyMap<string, Place>;
  readonly problems: readonly Finding[];
}

/** Built-in chains by table (iptables(8)). */
export const BUILTIN: Readonly<Record<string, readonly string[]>> = {
  filter: ['INPUT', 'FORWARD', 'OUTPUT'],
  nat: ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'],
  mangle: ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'],
  raw: ['PREROUTING', 'OUTPUT'],
  security: ['INPUT', 'FORWARD', 'OUTPUT'],
};

export const isBuiltinIn = (table: string, chain: string): boolean => BUILTIN[table]?.includes(chain) === true;

interface Work {
  readonly heads: Map<string, Place>;
  readonly tables: Map<string, Map<string, ComposedChain>>;
  readonly problems: Finding[];
  /** `filter ACCEPT`: targets that were looked at, as most rules share a few. */
  readonly targets: Set<string>;
}

export function compose(fragments: readonly Fragment[]): Composed {
  const work: Work = {
    heads: new Map(),
    tables: new Map(),
    targets: new Set(),
    problems: fragments.flatMap(({ problems }) => [...problems]),
  };
  const all = fragments.flatMap(({ statements }) => withSlotChains(statements));
  for (const { table, place } of all) {
    if (!work.tables.has(table)) work.tables.set(table, new Map());
    if (!work.heads.has(table)) work.heads.set(table, place);
  }
  for (const statement of all) if (statement.kind === 'chain') declare(work, statement);
  for (const statement of all) if (statement.kind === 'rule' || statement.kind === 'slot') add(work, statement);
  return work;
}

/** A slot without a chain stands in the chain of the next rule, or else of the last. */
function withSlotChains(statements: readonly Statement[]): Statement[] {
  return statements.flatMap((statement, at): Statement[] => {
    if (statement.kind !== 'slot' || statement.chain !== undefined) return [statement];
    const isHere = (each: Statement): boolean => each.kind === 'rule' && each.table === statement.table;
    const rule = statements.slice(at).find(isHere) ?? statements.slice(0, at).findLast(isHere);
    return rule?.kind === 'rule' ? [{ ...statement, chain: rule.chain }] : [];
  });
}

function declare(
  { tables, problems }: Work,
  { table, chain, policy, place }: Extract<Statement, { kind: 'chain' }>,
): void {
  const chains = tables.get(table);
  const found = chains?.get(chain);
  if (found === undefined) {
    chains?.set(chain, { name: chain, policy, place, foreign: isForeign(table, chain), entries: [] });
    return;
  }
  if (policy === undefined || policy === found.policy) return;
  if (found.policy !== undefined) {
    const before = `${found.place.file}:${found.place.line} says ${found.policy}`;
    problems.push(finding('policy-again', place, `policy ${policy} of ${table} ${chain}: ${before}; expected it once`));
    return;
  }
  found.policy = policy;
  found.place = place;
}

/** A neighbour's by its name, or made by one for the user's rules (DOCKER-USER). */
const isForeign = (table: string, chain: string): boolean =>
  !isBuiltinIn(table, chain) && (ownerOfChain(chain) !== undefined || OWNERS.some(({ id }) => isLeftToUser(id, chain)));

function add(work: Work, statement: Extract<Statement, { kind: 'rule' | 'slot' }>): void {
  const { table, chain = '', place } = statement;
  const chains = work.tables.get(table);
  const found = chains?.get(chain) ?? implied(table, chain, place);
  if (found === undefined) {
    const known = [...(chains?.keys() ?? []), ...(BUILTIN[table] ?? [])];
    const declared = `table ${table} has no chain ${chain}${didYouMean(chain, known)}; expected ":${chain} - [0:0]" in one of the files`;
    work.problems.push(finding('unknown-chain', place, declared));
    return;
  }
  chains?.set(chain, found);
  if (statement.kind === 'slot')
    found.entries.push({ kind: 'slot', owner: statement.owner, texts: statement.texts, place });
  else insert(found.entries, { kind: 'rule', text: statement.text, place }, statement.at);
  if (statement.kind === 'rule') addTarget(work, table, statement.text, place);
}

/** Built-in chains and neighbours' need no declaration. */
function implied(table: string, name: string, place: Place): ComposedChain | undefined {
  const foreign = isForeign(table, name);
  if (!foreign && !isBuiltinIn(table, name) && BUILTIN[table] !== undefined) return undefined;
  return { name, policy: undefined, place, foreign, entries: [] };
}

/** A jump to a neighbour's chain: it is there when the neighbour is. */
function addTarget({ tables, targets }: Work, table: string, text: string, place: Place): void {
  const target = targetOf(text)?.name;
  if (target === undefined || targets.has(`${table} ${target}`)) return;
  targets.add(`${table} ${target}`);
  const chains = tables.get(table);
  if (chains?.has(target) !== false || !isForeign(table, target)) return;
  chains.set(target, { name: target, policy: undefined, place, foreign: true, entries: [] });
}

/** `-I CHAIN n` counts rules; slots are no rules. */
function insert(entries: Entry[], entry: Entry, at: number | undefined): void {
  if (at === undefined) return void entries.push(entry);
  let rules = 0;
  const index = entries.findIndex((each) => each.kind === 'rule' && ++rules === at);
  entries.splice(index === -1 ? entries.length : index, 0, entry);
}

/** What one line of the composed text stands for. */
export interface ComposedLine {
  readonly place: Place;
  readonly table: string;
  readonly chain: string;
  /** Undefined for the line of a chain or of the table. */
  readonly rule: Extract<Entry, { kind: 'rule' }> | undefined;
}

/** One text in restore form, and what each line stands for. */
export function composedText({ tables, heads }: Pick<Composed, 'tables' | 'heads'>): {
  readonly text: string;
  readonly lines: readonly (ComposedLine | undefined)[];
} {
  const texts: string[] = [];
  const lines: (ComposedLine | undefined)[] = [];
  const say = (text: string, line?: ComposedLine): void => {
    texts.push(text);
    lines.push(line);
  };
  for (const [table, chains] of tables) {
    const head = heads.get(table);
    say(`*${table}`, head && { place: head, table, chain: '', rule: undefined });
    for (const { name, policy, place } of chains.values())
      say(`:${name} ${policyText(table, name, policy)} [0:0]`, { place, table, chain: name, rule: undefined });
    for (const { name, entries } of chains.values())
      for (const rule of entries)
        if (rule.kind === 'rule') say(rule.text, { place: rule.place, table, chain: name, rule });
    say('COMMIT');
  }
  return { text: texts.map((text) => `${text}\n`).join(''), lines };
}

/** A built-in chain whose policy nobody says is as the kernel makes it. */
export const policyText = (table: string, chain: string, policy: string | undefined): string =>
  policy ?? (isBuiltinIn(table, chain) ? 'ACCEPT' : '-');
