// Native tables as one input for `nft -f`: all that differ are replaced in one transaction, nothing else is touched.
// Guarantees: never `flush ruleset`; a table that is as wanted is left out; of a table that cannot be loaded back nothing
// is written, it is `refused` with the reasons. The input fails as a whole when a table that was missing has been made
// meanwhile, or one that stood has been made anew or got or lost a rule (`create`, and the handles where the listing has them).
// A table under a name of iptables' (`ip nat`) that stands is never deleted: iptables may keep chains in it. There the native
// chains and sets are deleted one by one and written anew; the table's own flags and comment stay as they are.
// Does not: delete tables that nobody named, or check with nft (apply does).

import { elementsOf } from '../ruleset/nft/elements.ts';
import { formatDuration, parseDuration } from '../ruleset/nft/duration.ts';
import { isIptablesName } from '../ruleset/nft/iptables-part.ts';
import { evidenceOf, type IptablesEvidence } from '../ruleset/nft/iptables-tables.ts';
import { printNftObject } from '../ruleset/nft/print.ts';
import { sameTable } from '../ruleset/nft/same.ts';
import { chainsOf, type NftObject, type NftSet, type NftTable, tableKey } from '../ruleset/nft/types.ts';
import { isOwned, type Unloadable, unloadableIn } from '../ruleset/nft/unloadable.ts';

export interface NftReplacement {
  /** For `nft -f -`; empty when there is nothing to do. */
  readonly input: string;
  /** `FAMILY NAME` of each table in the input. */
  readonly replaced: readonly string[];
  readonly refused: readonly NftRefusal[];
}

export type NftRefusal =
  | { readonly kind: 'unloadable'; readonly table: string; readonly lines: readonly Unloadable[] }
  /** Its rules are loaded by iptables-restore, never by nft. */
  | { readonly kind: 'iptables'; readonly table: string; readonly evidence: IptablesEvidence }
  /** The live table is a running program's, or was: the whole input would fail, "Operation not permitted". */
  | { readonly kind: 'owned'; readonly table: string; readonly progname: string | undefined };

/**
 * A table's handles are numbers that the kernel counts up, one for each chain, rule and set that is added. So the handle that a
 * new one gets tells whether anything was added since (measured with nft 1.0.6 and 1.1.3, Linux 6.18).
 */
export interface NftLock {
  /** Name of a chain that is made and deleted again. */
  readonly chain: string;
  /** The handle it gets when nothing was added since. */
  readonly nextHandle: number;
}

export interface ReplaceOptions {
  /** By `FAMILY NAME`, for live tables that are replaced or removed; taken before they were listed. */
  readonly locks?: ReadonlyMap<string, NftLock>;
  /** Time since the wanted tables were listed, in ms: elements with a timeout have that much less left. Default 0. */
  readonly ageMs?: number;
  /** `FAMILY NAME` of live tables that are to go. */
  readonly remove?: readonly string[];
}

/**
 * The input that turns `live` into `wanted` for the tables that are wanted. Of a live table under a name of iptables' only the native
 * part is given (classify-native.ts).
 */
export function renderReplacement(
  wanted: readonly NftTable[],
  live: readonly NftTable[],
  { ageMs = 0, remove = [], locks = new Map() }: ReplaceOptions = {},
): NftReplacement {
  const now = new Map(live.map((table) => [tableKey(table), table]));
  const blocks: string[] = [];
  const replaced: string[] = [];
  const refused: NftRefusal[] = [];
  for (const asked of wanted) {
    const key = tableKey(asked);
    const before = now.get(key);
    const table = before !== undefined && isIptablesName(key) ? withLinesOf(asked, before) : asked;
    if (before !== undefined && sameTable(before, table)) continue;
    const refusal = refusalOf(table, before, key);
    if (refusal !== undefined) refused.push(refusal);
    else {
      const first = before === undefined ? renderCreation(table, key) : renderDeletion(before, locks.get(key));
      blocks.push(renderTable(table, first, ageMs));
      replaced.push(key);
    }
  }
  for (const key of remove) {
    const before = now.get(key);
    if (before === undefined || (isIptablesName(key) && before.objects.length === 0)) continue;
    if (isOwned(before)) refused.push({ kind: 'owned', table: key, progname: before.progname });
    else {
      blocks.push(renderDeletion(before, locks.get(key)));
      replaced.push(key);
    }
  }
  return { input: blocks.join(''), replaced, refused };
}

function refusalOf(table: NftTable, before: NftTable | undefined, key: string): NftRefusal | undefined {
  if (before !== undefined && isOwned(before)) return { kind: 'owned', table: key, progname: before.progname };
  const evidence = evidenceOf(table);
  if (evidence !== undefined) return { kind: 'iptables', table: key, evidence };
  const lines = unloadableIn(table);
  return lines.length === 0 ? undefined : { kind: 'unloadable', table: key, lines };
}

/** `first`: what makes room for it. */
function renderTable(table: NftTable, first: string, ageMs: number): string {
  const parts = table.parts.map((part) => {
    if ('source' in part) return part.source;
    return part.kind === 'set' ? renderSet(part, ageMs) : printNftObject(part);
  });
  const tail = table.tail.endsWith('\n') ? table.tail : `${table.tail}\n`;
  return `${first}${table.head}${parts.join('')}${tail}`;
}

/**
 * What says something of the table itself stands here: a later `table` block changes no comment and no flag of a table that is
 * there (measured, nft 1.0.6). Nothing else may: of `create table x { chain c { } }` nft makes the table alone.
 */
function renderCreation(table: NftTable, key: string): string {
  const own = table.parts.flatMap((part) => (part.kind === 'line' ? [part.source] : []));
  return own.length === 0 ? `create table ${key}\n` : `create table ${key} {\n${own.join('')}}\n`;
}

/**
 * Fails when another table has the name by now, when a rule of the table was deleted, and with a lock when anything was added to
 * it: a new chain gets another handle then. (nft deletes a chain or table with all that is in it, known or not.) Elements of
 * sets have no handles: a change of theirs is not noticed.
 */
function renderDeletion(table: NftTable, lock: NftLock | undefined): string {
  const key = tableKey(table);
  const isMixed = isIptablesName(key);
  if (table.handle === undefined) return isMixed ? renderEmptying(table, key, 'flush') : `delete table ${key}\n`;
  const guard =
    lock === undefined ? [] : [`create chain ${key} ${lock.chain}\ndelete chain ${key} handle ${lock.nextHandle}\n`];
  const rules = chainsOf(table).flatMap(({ name, rules: all }) =>
    all.flatMap(({ handle }) => (handle === undefined ? [] : [`delete rule ${key} ${name} handle ${handle}\n`])),
  );
  const last = isMixed ? renderEmptying(table, key) : `delete table ${table.family} handle ${table.handle}\n`;
  return [...guard, ...rules, last].join('');
}

/** What is native in the table goes object by object: first what leads to chains and counters, then these. */
function renderEmptying(table: NftTable, key: string, rules: 'flush' | 'gone' = 'gone'): string {
  const rank = ({ kind }: NftObject): number => ['set', 'flowtable', 'chain', 'stateful', 'opaque'].indexOf(kind);
  const flushed = (rules === 'flush' ? chainsOf(table) : []).map(({ name }) => `flush chain ${key} ${name}\n`);
  const deleted = [...table.objects]
    .sort((a, b) => rank(a) - rank(b))
    .flatMap((object) => (object.kind === 'opaque' ? [] : [`delete ${wordOf(object)} ${key} ${object.name}\n`]));
  return [...flushed, ...deleted].join('');
}

/** `chain`, `map`, `ct helper` */
function wordOf(object: Exclude<NftObject, { kind: 'opaque' }>): string {
  if (object.kind === 'set') return object.keyword === 'map' ? 'map' : 'set';
  return object.kind === 'stateful' ? object.keyword : object.kind;
}

/** The table with the flags and comment of another: a table that stands keeps its own. */
function withLinesOf(table: NftTable, { flags, comment, parts }: NftTable): NftTable {
  const lines = parts.filter(({ kind }) => kind === 'line');
  return { ...table, flags, comment, parts: [...lines, ...table.parts.filter(({ kind }) => kind !== 'line')] };
}

/** The set's text, with the time its elements have left now. Without such elements the text stays as it is. */
function renderSet(set: NftSet, ageMs: number): string {
  if (!set.elementsText.includes(' expires ')) return printNftObject(set);
  const parts = set.parts.map((part) => {
    if (part.kind !== 'line' || !part.text.startsWith('elements = {')) return part.source;
    const elements = elementsOf(set.elementsText).flatMap(({ text, expires }) => renderElement(text, expires, ageMs));
    return elements.length === 0 ? '' : `\t\telements = { ${elements.join(', ')} }\n`;
  });
  return set.head + parts.join('') + set.tail;
}

/**
 * `expires` is accepted on load as it is printed (measured: nft 1.0.6, Linux 6.18). But `expires 0s` counts as none, and
 * the element would live for its whole timeout again: what has nothing left is left out.
 */
function renderElement(text: string, expires: string | undefined, ageMs: number): string[] {
  const left = expires === undefined ? undefined : parseDuration(expires);
  if (expires === undefined || left === undefined) return [text];
  const rest = left - ageMs;
  return rest <= 0 ? [] : [text.replace(` expires ${expires}`, ` expires ${formatDuration(rest)}`)];
}
