// The lines of one kernel transaction in `nft monitor`, summed up for each table. Pure.
// Guarantees: linear, and one string comparison for a rule line that begins as the one before (8 million lines a second; a new
// chain at each line: 1 million). No part of a line is kept alive, only copies of names.

import { FAMILIES, TABLES, type Family, type TableName } from '../ruleset/types.ts';
import type { Commit, TableChange } from './types.ts';

const NATIVE_FAMILIES: readonly string[] = ['inet', 'arp', 'bridge', 'netdev'];

/** Called at the first line for a table. `chain` is that line's, when it names one. */
export type Touched = (family: Family, table: TableName, chain: string | undefined) => void;

/** One table within the transaction that is being read. */
interface OpenChange {
  readonly family: Family;
  readonly table: TableName;
  deletesTable: boolean;
  addsTable: boolean;
  rulesAdded: number;
  rulesDeleted: number;
  readonly ruleChains: Set<string>;
  readonly chainsAdded: Set<string>;
  readonly chainsDeleted: Set<string>;
}

/** Rule lines of one verb and chain, one after another. */
interface RuleRun {
  readonly head: string;
  readonly verb: string;
  readonly change: OpenChange;
}

export interface Transaction {
  /** One line that does not begin with `#`. Lines that are no change (`trace id ...`, the rest of a comment) are passed over. */
  line(text: string): void;
  /** What it did, at its generation line. `elsewhere` as in Commit. */
  finish(): Pick<Commit, 'changes' | 'native' | 'elsewhere'>;
}

/** An empty transaction; the next one needs a new one. */
export function createTransaction(touched: Touched): Transaction {
  const open = new Map<string, OpenChange>();
  let elsewhere = false;
  // Rule lines come in long runs with the same beginning: `add rule ip filter FORWARD `. One comparison tells.
  let run: RuleRun | undefined;

  function changeOf(family: Family, name: string, chain: string | undefined): OpenChange {
    const known = open.get(`${family} ${name}`);
    if (known !== undefined) return known;
    const table = ownCopy(name);
    const change = emptyChange(family, table);
    open.set(ownCopy(`${family} ${table}`), change);
    if (!TABLES.includes(table)) elsewhere = true;
    touched(family, table, chain === undefined ? undefined : ownCopy(chain));
    return change;
  }

  function line(text: string): void {
    if (run !== undefined && text.startsWith(run.head)) return countRule(run);
    const [verb = '', object = '', family = '', table = '', chain] = text.split(' ', 5);
    if (!isChange(verb) || table === '') return; // `trace id ...`, or the rest of a comment with a line break
    if (!isFamily(family)) {
      // `add table inet t`, `delete ct helper ip t h`; not a rule comment's second line that begins with `add`
      elsewhere ||= NATIVE_FAMILIES.includes(family) || object === 'ct';
      return;
    }
    if (object === 'table') tableLine(changeOf(family, table, undefined), verb, text);
    else if (object === 'chain' && chain !== undefined) chainLine(changeOf(family, table, chain), verb, chain);
    else if (object === 'rule' && chain !== undefined) ruleLine(changeOf(family, table, chain), verb, chain);
    else elsewhere = true; // sets, elements, maps, flowtables, counters: never part of an iptables ruleset
  }

  function tableLine(change: OpenChange, verb: string, text: string): void {
    if (isDelete(verb)) change.deletesTable = true;
    else change.addsTable = true;
    if (text.endsWith('}')) elsewhere = true; // `add table ip filter { flags dormant; }`
  }

  function ruleLine(change: OpenChange, verb: string, chain: string): void {
    const { family, table } = change;
    addName(change.ruleChains, chain);
    run = { head: ownCopy(`${verb} rule ${family} ${table} ${chain} `), verb: ownCopy(verb), change };
    countRule(run);
  }

  const finish: Transaction['finish'] = () => ({
    changes: [...open.values()].map(closedChange),
    native: [],
    // A transaction without a line of ours did something that nft has no words for.
    elsewhere: elsewhere || open.size === 0,
  });
  return { line, finish };
}

function emptyChange(family: Family, table: TableName): OpenChange {
  return {
    family,
    table,
    deletesTable: false,
    addsTable: false,
    rulesAdded: 0,
    rulesDeleted: 0,
    ruleChains: new Set(),
    chainsAdded: new Set(),
    chainsDeleted: new Set(),
  };
}

function closedChange(change: OpenChange): TableChange {
  const { ruleChains, chainsAdded, chainsDeleted } = change;
  return {
    ...change,
    ruleChains: [...ruleChains],
    chainsAdded: [...chainsAdded],
    chainsDeleted: [...chainsDeleted],
  };
}

function chainLine(change: OpenChange, verb: string, chain: string): void {
  addName(isDelete(verb) ? change.chainsDeleted : change.chainsAdded, chain);
}

function countRule({ change, verb }: RuleRun): void {
  if (verb !== 'delete' && verb !== 'destroy') change.rulesAdded += 1;
  if (verb !== 'add' && verb !== 'insert') change.rulesDeleted += 1; // `replace` is both
}

const isDelete = (verb: string): boolean => verb === 'delete' || verb === 'destroy';

function isChange(verb: string): boolean {
  return verb === 'add' || verb === 'insert' || verb === 'create' || verb === 'replace' || isDelete(verb);
}

const isFamily = (word: string): word is Family => (FAMILIES as readonly string[]).includes(word);

function addName(names: Set<string>, name: string): void {
  if (!names.has(name)) names.add(ownCopy(name));
}

/** A copy of its own: a piece of a line keeps the whole 64 kB chunk alive it was cut from (V8 sliced strings, from 13 characters on). */
export function ownCopy(piece: string): string {
  return Buffer.from(piece, 'utf16le').toString('utf16le');
}
