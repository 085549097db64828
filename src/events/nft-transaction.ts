// The lines of one kernel transaction in `nft monitor`, summed up for each table. Pure.
// Guarantees: linear, and one string comparison for a rule or element line that begins as the one before (8 million lines a
// second; a new chain at each line: 1 million). No part of a line is kept alive, only copies of names. The further lines of a
// text with line breaks in a native table (a comment, a log prefix) count as nothing, whatever they say.
// Does not: look for such texts in iptables' tables, whose names may hold a lonely quote and whose tools refuse line breaks.

import type { NftFamily } from '../ruleset/nft/types.ts';
import type { Family, TableName } from '../ruleset/types.ts';
import { CORE, hasOddQuotes, isDelete, isIptablesTable, type Words, wordsOf } from './nft-monitor-words.ts';
import type { Commit, NativeChange, TableChange } from './types.ts';

/** Called at the first line for a table of iptables'. `chain` is that line's, when it names one. */
export type Touched = (family: Family, table: TableName, chain: string | undefined) => void;

/** One table within the transaction that is being read. */
interface OpenChange {
  readonly family: NftFamily;
  readonly name: TableName;
  /** One that iptables keeps its rules in. */
  readonly isIptables: boolean;
  deletesTable: boolean;
  addsTable: boolean;
  rulesAdded: number;
  rulesDeleted: number;
  objectsChanged: number;
  elementsChanged: number;
  readonly ruleChains: Set<string>;
  readonly chainsAdded: Set<string>;
  readonly chainsDeleted: Set<string>;
}

/** Lines of one verb and one chain or set, one after another. */
interface Run {
  readonly head: string;
  readonly verb: string;
  readonly object: string;
  readonly change: OpenChange;
}

export interface Transaction {
  /** One line that does not begin with `#`. Lines that are no change (`trace id ...`, the rest of a comment) are passed over. */
  line(text: string): void;
  /** True after a line that told of a table. */
  readonly hasLines: boolean;
  /** True after a line of which a text goes on in the next one. */
  readonly isQuoted: boolean;
  /** What it did, at its generation line. `elsewhere` as in Commit. */
  finish(): Pick<Commit, 'changes' | 'native' | 'elsewhere'>;
}

/** An empty transaction; the next one needs a new one. */
export function createTransaction(touched: Touched): Transaction {
  const open = new Map<string, OpenChange>();
  let elsewhere = false;
  let isQuoted = false;
  // Rule and element lines come in long runs with the same beginning: `add rule ip filter FORWARD `. One comparison tells.
  let run: Run | undefined;

  function changeOf({ family, table, name }: Words, isIptables: boolean): OpenChange {
    const key = isIptables ? `${family} ${table}` : `native ${family} ${table}`;
    const known = open.get(key);
    if (known !== undefined) return known;
    const change = emptyChange(family, ownCopy(table), isIptables);
    open.set(ownCopy(key), change);
    if (!isIptables) elsewhere = true;
    else touched(family as Family, change.name, name === undefined ? undefined : ownCopy(name));
    return change;
  }

  function line(text: string): void {
    if (isQuoted) {
      isQuoted = !hasOddQuotes(text);
      return;
    }
    if (run !== undefined && text.startsWith(run.head)) return countLine(run, text);
    const words = wordsOf(text);
    if (words === undefined) return;
    const isIptables = isIptablesTable(words);
    // Sets, elements, maps, flowtables, counters are never part of an iptables ruleset: native, under whatever name.
    changeLine(changeOf(words, isIptables && CORE.has(words.object)), words, text);
  }

  function changeLine(change: OpenChange, words: Words, text: string): void {
    const { verb, object, name } = words;
    if (object === 'rule' || object === 'element') return startRun(change, words, text);
    if (object === 'table') tableLine(change, verb, text);
    else if (object === 'chain' && name !== undefined) chainLine(change, verb, name);
    else change.objectsChanged += 1;
    isQuoted = !change.isIptables && hasOddQuotes(text);
  }

  function tableLine(change: OpenChange, verb: string, text: string): void {
    if (isDelete(verb)) change.deletesTable = true;
    change.addsTable = !isDelete(verb); // `add table x; delete table x`: gone in the end
    if (text.endsWith('}')) elsewhere = true; // `add table ip filter { flags dormant; }`
  }

  function startRun(change: OpenChange, { verb, object, name = '' }: Words, text: string): void {
    if (object === 'rule') addName(change.ruleChains, name);
    const head = ownCopy(`${verb} ${object} ${change.family} ${change.name} ${name} `);
    run = { head, verb: ownCopy(verb), object: ownCopy(object), change };
    countLine(run, text);
  }

  function countLine({ verb, object, change }: Run, text: string): void {
    if (object === 'element') change.elementsChanged += 1;
    else countRule(change, verb);
    if (!change.isIptables) isQuoted = hasOddQuotes(text);
  }

  const finish: Transaction['finish'] = () => ({
    changes: [...open.values()].filter(({ isIptables }) => isIptables).map(tableChange),
    native: [...open.values()].filter(({ isIptables }) => !isIptables).map(nativeChange),
    // A transaction without a line of ours did something that nft has no words for.
    elsewhere: elsewhere || open.size === 0,
  });
  return {
    line,
    finish,
    get hasLines() {
      return open.size > 0;
    },
    get isQuoted() {
      return isQuoted;
    },
  };
}

function emptyChange(family: NftFamily, name: TableName, isIptables: boolean): OpenChange {
  return {
    family,
    name,
    isIptables,
    deletesTable: false,
    addsTable: false,
    rulesAdded: 0,
    rulesDeleted: 0,
    objectsChanged: 0,
    elementsChanged: 0,
    ruleChains: new Set(),
    chainsAdded: new Set(),
    chainsDeleted: new Set(),
  };
}

function tableChange(change: OpenChange): TableChange {
  return { family: change.family as Family, table: change.name, ...sums(change) };
}

function nativeChange(change: OpenChange): NativeChange {
  const { family, name, objectsChanged, elementsChanged } = change;
  return { family, table: `${family} ${name}`, ...sums(change), objectsChanged, elementsChanged };
}

function sums(change: OpenChange): Omit<TableChange, 'family' | 'table'> {
  const { deletesTable, addsTable, rulesAdded, rulesDeleted, ruleChains, chainsAdded, chainsDeleted } = change;
  return {
    deletesTable,
    addsTable,
    rulesAdded,
    rulesDeleted,
    ruleChains: [...ruleChains],
    chainsAdded: [...chainsAdded],
    chainsDeleted: [...chainsDeleted],
  };
}

function chainLine(change: OpenChange, verb: string, chain: string): void {
  addName(isDelete(verb) ? change.chainsDeleted : change.chainsAdded, chain);
}

function countRule(change: OpenChange, verb: string): void {
  if (!isDelete(verb)) change.rulesAdded += 1;
  if (verb !== 'add' && verb !== 'insert') change.rulesDeleted += 1; // `replace` is both
}

function addName(names: Set<string>, name: string): void {
  if (!names.has(name)) names.add(ownCopy(name));
}

/** A copy of its own: a piece of a line keeps the whole 64 kB chunk alive it was cut from (V8 sliced strings, from 13 characters on). */
export function ownCopy(piece: string): string {
  return Buffer.from(piece, 'utf16le').toString('utf16le');
}
