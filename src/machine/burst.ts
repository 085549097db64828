// What the commits of one burst say about each table, before anything is read: the summary decide.ts works with. Pure.
// A burst is everything between two quiets. Commits of our own (known by their sentinel) are not in it.

import type { Author, Commit, TableChange } from '../events/types.ts';
import { type ChangeSummary, NO_CHANGE } from '../merge/decide.ts';
import { type NativeSummary, NO_NATIVE_CHANGE } from '../merge/native-summary.ts';
import { addNative, nwfilterWrote, takesLibvirts, usersNative } from './native.ts';
import { loaderOf, neighbourOf } from '../observe/author-kind.ts';
import { isLibvirts, isNeighbourChain, ownerOfChain, ownerOfNativeTable } from '../owners/index.ts';
import type { Family, TableName } from '../ruleset/types.ts';

export type TableKey = `${Family} ${TableName}`;

/** What is heard of the tables that are the user's, whole or in part. */
export interface Heard {
  readonly tables: ReadonlyMap<TableKey, ChangeSummary>;
  /** Native tables that are nobody's by their name, by key: `inet filter`. */
  readonly native: ReadonlyMap<string, NativeSummary>;
}

export const NOTHING_HEARD: Heard = { tables: new Map(), native: new Map() };

export const isNothing = ({ tables, native }: Heard): boolean => tables.size === 0 && native.size === 0;

export interface Burst extends Heard {
  readonly startedMs: number;
  /** Quiet counts from here: when the user's part was last written, or its writer last seen alive. */
  readonly quietFromMs: number;
  readonly commits: number;
  /** Who changed the user's chains or whole tables, last first, at most 8. */
  readonly authors: readonly Author[];
  /** libvirt wrote in this burst: its process was seen, or only its chains changed. */
  readonly libvirt: 'seen' | 'inferred' | undefined;
  /** One commit whose process was seen to be libvirt's, and how many commits were its own. */
  readonly libvirtAuthor: Author | undefined;
  readonly libvirtCommits: number;
  /** When libvirt last wrote, monotonic ms. */
  readonly libvirtMs: number;
  /** A table was flushed or replaced in this burst. */
  readonly wiped: boolean;
  /** The script that flushed it, as far as it could be read: while it runs, the burst is not over. */
  readonly script: Script | undefined;
}

/** A shell or interpreter that was given something to run; an interactive shell is none. */
export interface Script {
  readonly pid: number;
  readonly comm: string;
}

export function openBurst(nowMs: number): Burst {
  return {
    startedMs: nowMs,
    quietFromMs: nowMs,
    commits: 0,
    ...NOTHING_HEARD,
    authors: [],
    libvirt: undefined,
    libvirtAuthor: undefined,
    libvirtCommits: 0,
    libvirtMs: 0,
    wiped: false,
    script: undefined,
  };
}

/** What two bursts say together: the evidence of one whose pass failed counts in the next. */
export function joinHeard(before: Heard, after: Heard): Heard {
  const tables = new Map(before.tables);
  for (const [key, later] of after.tables) tables.set(key, joinSummary(tables.get(key) ?? NO_CHANGE, later));
  const native = new Map(before.native);
  for (const [key, later] of after.native) {
    const first = native.get(key) ?? NO_NATIVE_CHANGE;
    native.set(key, {
      ...joinSummary(first, later),
      named: first.named || later.named,
      flushed: first.flushed || later.flushed,
      leftOut: first.leftOut || later.leftOut,
      madeByLoad: first.madeByLoad || later.madeByLoad,
      emptied: [...new Set([...first.emptied, ...later.emptied])],
    });
  }
  return { tables, native };
}

function joinSummary(first: ChangeSummary, later: ChangeSummary): ChangeSummary {
  return {
    replaced: first.replaced || later.replaced,
    wiped: first.wiped || later.wiped,
    addedAfterWipe: first.addedAfterWipe || later.addedAfterWipe,
    neighbour: later.neighbour ?? first.neighbour,
    byNeighbour: later.byNeighbour ?? first.byNeighbour,
    byOther: first.byOther || later.byOther,
    loader: later.loader ?? first.loader,
    writers: [...new Set([...(first.writers ?? []), ...(later.writers ?? [])])],
  };
}

const MOST_AUTHORS = 8;
const BASE_CHAIN = /^(?:INPUT|OUTPUT|FORWARD|PREROUTING|POSTROUTING)$/;

/** The burst with one more commit. */
export function addCommit(burst: Burst, commit: Commit, nowMs: number): Burst {
  const tables = new Map(burst.tables);
  const neighbour = neighbourOf(commit.author)?.name;
  const byAnother = neighbour === undefined && commit.author.parents.length > 0;
  const takes = takesLibvirts(commit);
  const users = usersNative(commit);
  // Only a neighbour's chains or tables changed: its own doing, unless another process was seen to do it.
  let foreignOnly = commit.changes.length + commit.native.length > 0 && !byAnother && !takes && users.length === 0;
  for (const change of commit.changes) {
    const key: TableKey = `${change.family} ${change.table}`;
    tables.set(key, addChange(tables.get(key) ?? NO_CHANGE, change, commit.author, neighbour));
    if (touchesUser(change)) foreignOnly = false;
  }
  const native = addNative(burst.native, commit);
  const emptied = [
    ...commit.changes.map((change) => tables.get(`${change.family} ${change.table}`)),
    ...users.map(({ table }) => native.get(table)),
  ].some((summary) => summary?.wiped === true || summary?.replaced === true);
  const wiped = burst.wiped || takes || emptied;
  const onlyLibvirts =
    foreignOnly &&
    (neighbour === undefined || isLibvirts(neighbour)) &&
    (ownersOf(commit).some(isLibvirts) || nwfilterWrote(commit));
  const libvirt = neighbour === 'libvirt' ? 'seen' : onlyLibvirts ? (burst.libvirt ?? 'inferred') : burst.libvirt;
  const byLibvirt = neighbour === 'libvirt' || onlyLibvirts;
  return {
    ...burst,
    quietFromMs: foreignOnly ? burst.quietFromMs : nowMs,
    commits: burst.commits + 1,
    tables,
    native,
    authors: foreignOnly ? burst.authors : [commit.author, ...burst.authors].slice(0, MOST_AUTHORS),
    libvirt,
    libvirtAuthor: neighbour === 'libvirt' ? commit.author : burst.libvirtAuthor,
    libvirtCommits: burst.libvirtCommits + (byLibvirt ? 1 : 0),
    libvirtMs: byLibvirt ? nowMs : burst.libvirtMs,
    wiped,
    script: burst.script ?? (wiped ? scriptOf(commit.author) : undefined),
  };
}

/** `bash /etc/firewall.sh`, `sh -c "iptables -F; ..."`, `python3 rules.py`; not `-bash` or `bash`. */
const INTERPRETER = /^-?(?:\w*sh|python[\d.]*|perl|ruby)$/;

function scriptOf(author: Author): Script | undefined {
  const parent = author.parents[0];
  if (parent === undefined || parent.cmdline.length < 2 || !INTERPRETER.test(parent.comm)) return undefined;
  return { pid: parent.pid, comm: parent.comm };
}

/** A change that concerns the user's rules: anything outside the chains that neighbours keep for themselves. */
function touchesUser(change: TableChange): boolean {
  if (change.deletesTable || change.addsTable) return true;
  return chainsOf(change).some((chain) => !isNeighbourChain(chain));
}

function chainsOf(change: TableChange): string[] {
  return [...change.ruleChains, ...change.chainsDeleted, ...change.chainsAdded];
}

/** Whose rewrite it is, where only chains changed that neighbours keep for themselves. */
function chainsOwner(change: TableChange): string | undefined {
  return chainsOf(change)
    .map(ownerOfChain)
    .find((owner) => owner !== undefined);
}

/** Whose chains and native tables changed. */
function ownersOf({ changes, native }: Commit): (string | undefined)[] {
  return [...changes.map(chainsOwner), ...native.map(({ table }) => ownerOfNativeTable(table))];
}

function addChange(
  summary: ChangeSummary,
  change: TableChange,
  author: Author,
  neighbour: string | undefined,
): ChangeSummary {
  const owner = neighbour ?? (touchesUser(change) ? undefined : chainsOwner(change));
  const writers = owner === undefined ? (summary.writers ?? []) : [...new Set([...(summary.writers ?? []), owner])];
  if (!touchesUser(change)) return { ...summary, neighbour: neighbour ?? summary.neighbour ?? owner, writers };
  const replaced = change.deletesTable && change.addsTable;
  const wipes = (change.deletesTable && !change.addsTable) || (!replaced && isFlush(change, author));
  const loses = change.rulesDeleted > 0 || change.deletesTable || change.chainsDeleted.length > 0;
  const other = neighbour === undefined && (author.cmdline !== undefined || author.parents.length > 0);
  // A neighbour that puts its jumps back after a flush is no script of the user's.
  const added = change.rulesAdded > 0 && neighbour === undefined;
  return {
    replaced: summary.replaced || replaced,
    wiped: summary.wiped || wipes,
    addedAfterWipe: summary.addedAfterWipe || ((summary.wiped || wipes) && added),
    neighbour: summary.neighbour ?? neighbour,
    byNeighbour: loses ? (neighbour ?? summary.byNeighbour) : summary.byNeighbour,
    byOther: summary.byOther || (loses && other),
    loader: summary.loader ?? loaderOf(author)?.name,
    writers,
  };
}

/**
 * Two or more rules of the user's chains deleted at once and none added, base chains deleted (only `-X` without a name does
 * that), or a command that says so: `-F` of a chain with one rule looks like `-D`, but its command line can be read in 99 of
 * 100 deletions. Deletions and additions in one commit are `iptables-restore --noflush`: somebody replacing rules of his own.
 */
function isFlush(change: TableChange, author: Author): boolean {
  const words = author.cmdline ?? [];
  if (words.includes('-F') || words.includes('--flush')) return true;
  return (
    (change.rulesDeleted >= 2 && change.rulesAdded === 0) ||
    change.chainsDeleted.some((chain) => BASE_CHAIN.test(chain))
  );
}
