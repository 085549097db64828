// What one commit says about the native tables of the user's, added to what the burst said before. Pure.
// Guarantees: a table that was made again is not left out; the last deletion tells whether it was named. What nobody's name is
// on is the user's; tables of neighbours by name never come here.
// A table under a name of iptables' (`ip nat`) may hold native chains: what is heard of it counts for both engines, and a load only
// where its author and chains are none of iptables'.
// Does not: know how many rules a table holds, so a table of one rule that is flushed and filled without naming its chains
// again looks like an edit.

import type { Author, Commit, NativeChange, TableChange } from '../events/types.ts';
import { type NativeSummary, NO_NATIVE_CHANGE } from '../merge/native-summary.ts';
import { loaderOf, neighbourOf } from '../observe/author-kind.ts';
import { isNeighbourChain, ownerOfNativeTable, ownerOfSavedChain } from '../owners/index.ts';
import { filteredNic } from '../owners/libvirt-nwfilter.ts';
import { SENTINEL } from '../owners/mendwall.ts';
import { isSavedKey } from '../ruleset/nft/saved.ts';

export type NativeSummaries = ReadonlyMap<string, NativeSummary>;

/** The changes of tables that are nobody's by their name, but for what libvirt does in those of ebtables. */
export function usersNative({ native, author }: Pick<Commit, 'native' | 'author'>): NativeChange[] {
  return native.filter((change) => ownerOfNativeTable(change.table) === undefined && !isTheirs(change, author));
}

/** In a table of ebtables' or arptables': libvirt wrote (nwfilter), or only chains of neighbours and our locks changed. */
function isTheirs(change: NativeChange, author: Author): boolean {
  if (!isSavedKey(change.table)) return false;
  if (neighbourOf(author)?.name === 'libvirt') return true;
  const chains = chainsIn(change);
  return !change.deletesTable && !change.addsTable && chains.length > 0 && chains.every(isTheirChain);
}

const chainsIn = ({ ruleChains, chainsAdded, chainsDeleted }: NativeChange): string[] => [
  ...ruleChains,
  ...chainsAdded,
  ...chainsDeleted,
];

const isTheirChain = (chain: string): boolean => SENTINEL.test(chain) || ownerOfSavedChain(chain) !== undefined;

/** nwfilter wrote in ebtables' tables: libvirt's process was seen, or only its chains changed. */
export function nwfilterWrote({ native, author }: Pick<Commit, 'native' | 'author'>): boolean {
  return native.some(
    (change) =>
      isSavedKey(change.table) && isTheirs(change, author) && chainsIn(change).some((chain) => filteredNic(chain)),
  );
}

/** Somebody else than libvirt deleted the table in which libvirt's nftables backend keeps its rules, or rules of nwfilter's. */
export function takesLibvirts({ native, author }: Commit): boolean {
  if (neighbourOf(author)?.name === 'libvirt') return false;
  return native.some((change) => isLibvirtsLoss(change) || takesNwfilters(change, author));
}

/** A process whose parents could not be read may be libvirt's, which flushes its chains one by one: no deleted table, nor a whole flush. */
function takesNwfilters(change: NativeChange, author: Author): boolean {
  if (!isSavedKey(change.table)) return false;
  const isSeen = author.parents.length > 0 || FLUSH_ALL.test(commandOf(author));
  const isFiltered = [...change.ruleChains, ...change.chainsDeleted].some((chain) => filteredNic(chain) !== undefined);
  // Any command of ebtables' takes the rule at each chain's end that is its policy out, and writes it anew (measured, 1.8.9).
  const isLoss = change.rulesDeleted >= 2 + change.rulesAdded || change.chainsDeleted.length > 0;
  return isFiltered && (change.deletesTable || (isSeen && isLoss));
}

/** Tables of the user's or libvirt's, or a table deleted: of other neighbours' it is only remembered which there are. */
export function concerns({ native }: Pick<Commit, 'native'>): boolean {
  return native.some(({ table, deletesTable }) => {
    const owner = ownerOfNativeTable(table);
    return owner === undefined || owner === 'libvirt' || deletesTable;
  });
}

const isLibvirtsLoss = ({ table, deletesTable }: NativeChange): boolean =>
  deletesTable && ownerOfNativeTable(table) === 'libvirt';

/** The summaries with one more commit. */
export function addNative(before: NativeSummaries, commit: Commit): NativeSummaries {
  const changes = [...usersNative(commit), ...nativeUnderNames(commit)];
  if (changes.length === 0 && commit.changes.length === 0) return before;
  const taken = takenByIptables(commit);
  if (taken.length > 0) return addTaken(before, taken, commit.author);
  if (changes.length === 0) return before;
  const next = new Map(before);
  const takes = changes.some(({ deletesTable, addsTable }) => deletesTable && !addsTable);
  for (const change of changes) {
    const summary = addChange(next.get(change.table) ?? NO_NATIVE_CHANGE, change, commit.author);
    const isMade = change.addsTable && !change.deletesTable;
    next.set(change.table, isMade && takes ? { ...summary, madeByLoad: true } : summary);
  }
  const made = new Set(changes.filter((change) => change.addsTable).map(({ table }) => table));
  if (made.size === 0 || neighbourOf(commit.author) !== undefined) return next;
  // What a flush took and the load after it did not bring, in the same commit or later in the same script.
  for (const [table, summary] of next)
    if (summary.wiped && !made.has(table)) next.set(table, { ...summary, leftOut: true });
  return next;
}

/** iptables, ip6tables-restore, xtables-nft-multi */
const isByIptables = ({ comm }: Author): boolean => /^(?:ip6?tables|xtables)/.test(comm);

const chainsOf = ({ ruleChains, chainsAdded, chainsDeleted }: TableChange): string[] => [
  ...new Set([...ruleChains, ...chainsAdded, ...chainsDeleted]),
];

/** Chains in which iptables and neighbours write are no native ones. */
const isNatives = (chain: string): boolean => !BUILTIN.test(chain) && !isNeighbourChain(chain) && !SENTINEL.test(chain);
const BUILTIN = /^(?:INPUT|OUTPUT|FORWARD|PREROUTING|POSTROUTING)$/;

/** What nft did to tables under names of iptables', where a chain of it may be native. */
function nativeUnderNames({ changes, author }: Commit): NativeChange[] {
  if (isByIptables(author)) return [];
  return changes
    .filter((change) => change.deletesTable || chainsOf(change).some(isNatives))
    .map((change) => ({ ...change, table: `${change.family} ${change.table}`, objectsChanged: 0, elementsChanged: 0 }));
}

/** Tables in which iptables' own programs took something that may be native: `iptables -F`, a whole load. They never mean it. */
function takenByIptables({ changes, author }: Commit): TableChange[] {
  if (!isByIptables(author)) return [];
  return changes.filter(
    (change) =>
      change.deletesTable ||
      (change.rulesDeleted + change.chainsDeleted.length > 0 && chainsOf(change).some(isNatives)),
  );
}

function addTaken(before: NativeSummaries, taken: readonly TableChange[], author: Author): NativeSummaries {
  const next = new Map(before);
  for (const change of taken) {
    const key = `${change.family} ${change.table}`;
    const summary = next.get(key) ?? NO_NATIVE_CHANGE;
    const neighbour = neighbourOf(author)?.name;
    const emptied = [...new Set([...summary.emptied, ...change.ruleChains])];
    next.set(key, {
      ...summary,
      wiped: true,
      flushed: true,
      named: false,
      emptied,
      neighbour: summary.neighbour ?? neighbour,
      byNeighbour: neighbour ?? summary.byNeighbour,
      byOther: summary.byOther || neighbour === undefined,
    });
  }
  return next;
}

function addChange(summary: NativeSummary, change: NativeChange, author: Author): NativeSummary {
  const neighbour = neighbourOf(author)?.name;
  const gone = change.deletesTable && !change.addsTable;
  const replaced = isReplaced(change);
  const wipes = gone || (!replaced && isFlush(change, author));
  const loses = !isAddition(change);
  const other = neighbour === undefined && (author.cmdline !== undefined || author.parents.length > 0);
  const emptied = wipes && !gone ? [...new Set([...summary.emptied, ...change.ruleChains])] : summary.emptied;
  const fills = change.rulesAdded > 0 && change.ruleChains.some((chain) => emptied.includes(chain));
  // ebtables ends each chain of somebody's own with a rule for its policy, which a flush writes anew.
  const isPolicy = wipes && isSavedKey(change.table);
  const added = neighbour === undefined && !isPolicy && (fills || change.addsTable);
  return {
    replaced: !gone && (summary.replaced || replaced),
    wiped: summary.wiped || wipes,
    addedAfterWipe: !gone && (summary.addedAfterWipe || ((summary.wiped || wipes) && added)),
    neighbour: summary.neighbour ?? neighbour,
    byNeighbour: loses ? (neighbour ?? summary.byNeighbour) : summary.byNeighbour,
    byOther: summary.byOther || (loses && other),
    loader: summary.loader ?? loaderOf(author)?.name,
    writers: [...new Set([...(summary.writers ?? []), ...(neighbour === undefined ? [] : [neighbour])])],
    named: change.deletesTable ? namesTable(author, change.table) : summary.named,
    flushed: summary.flushed || (loses && FLUSH.test(commandOf(author))),
    leftOut: !gone && !change.addsTable && summary.leftOut,
    madeByLoad: !gone && summary.madeByLoad,
    emptied: gone ? [] : emptied,
  };
}

/**
 * Deleted and made, or emptied and filled: two or more rules out, or one and its chains declared again, as a `table` block
 * does. One rule out and one in is `nft replace rule`.
 */
function isReplaced(change: NativeChange): boolean {
  if (change.deletesTable || isSavedKey(change.table)) return change.deletesTable && change.addsTable;
  return change.rulesAdded > 0 && change.rulesDeleted > (change.chainsAdded.length > 0 ? 0 : 1);
}

/** `nft flush chain inet filter input`, `nft flush ruleset inet`, `ebtables -t nat -F` */
const FLUSH = /(?:^|[\s;])(?:flush\s+(?:chain|table|ruleset)\b|(?:-F|--flush)(?=\s|$))/;

/** `ebtables -t nat -F`, without a chain. */
const FLUSH_ALL = /\s(?:-F|--flush)(?=$|\s+-)/;

/** Rules were taken out and none put in: two or more, or by a command that says `flush`. */
function isFlush(change: NativeChange, author: Author): boolean {
  if (isSavedKey(change.table) && change.rulesAdded <= change.ruleChains.length)
    return change.rulesDeleted >= 2 + change.rulesAdded || (change.rulesDeleted > 0 && FLUSH.test(commandOf(author)));
  if (change.rulesAdded > 0 || change.rulesDeleted === 0) return false;
  return change.rulesDeleted >= 2 || FLUSH.test(commandOf(author));
}

const isAddition = (change: NativeChange): boolean =>
  !change.deletesTable &&
  change.rulesDeleted === 0 &&
  change.chainsDeleted.length === 0 &&
  change.objectsChanged === 0 &&
  change.elementsChanged === 0;

/** `nft delete table inet filter`, also as one argument; without a family it is ip's. */
function namesTable(author: Author, key: string): boolean {
  const words = commandOf(author).split(/[\s;{}]+/);
  const [family, name = ''] = key.split(' ', 2);
  return words.some((word, at) => {
    if ((word !== 'delete' && word !== 'destroy') || words[at + 1] !== 'table') return false;
    return (words[at + 2] === family && words[at + 3] === name) || (family === 'ip' && words[at + 2] === name);
  });
}

const commandOf = ({ cmdline = [] }: Author): string => cmdline.join(' ');
