// What mendwall remembers between passes: the last snapshot, the wish (snapshot with pending), the neighbours' last
// complete part, and the rules that wait.
// Guarantees: a reboot ends pending (the wish is kept with the boot id); a damaged file is set aside, and the snapshot
// stands in for it. Does not: lock; callers hold the pass lock.

import type { Host } from '../host/host.ts';
import { parseNeighbourPart, parseUserPart, printNeighbourPart, printUserPart } from '../ruleset/part-text.ts';
import { FAMILIES, type Family } from '../ruleset/types.ts';
import { EMPTY_NATIVE, nativePart, type NativePart, parseNative, printNative } from '../ruleset/nft/native-part.ts';
import { parseSaved, printSaved, type SavedFamily, withoutSaved } from '../ruleset/nft/saved.ts';
import { emptyPart, type NeighbourPart, type UserPart } from '../ruleset/user-part.ts';
import type { UserTexts } from './snapshot-id.ts';
import { openKeeper } from './keep.ts';
import { keepSets } from './kept-sets.ts';
import { bootId, openStateFiles, type StateFiles } from './state.ts';
import { type DamagedSnapshot, openStore, type SnapshotContent, type Store, type TakingReason } from './store.ts';

export type PerFamily<T> = Readonly<Record<Family, T>>;

/** All rules of the user's: iptables' of both families, and the native nft tables. */
export interface UserRules extends PerFamily<UserPart> {
  readonly native: NativePart;
}

/** A rule of a native table that nft could not load at the last try, as plan/native-plan.ts has it. */
export interface WaitingNative {
  /** `inet filter` */
  readonly key: string;
  readonly chain: string;
  readonly text: string;
  readonly why: string;
}

export interface WaitingRule {
  readonly family: Family;
  readonly table: string;
  readonly chain: string;
  readonly text: string;
  readonly why: string;
}

/** As merge/foreign-lost.ts has it. */
export interface LostRules {
  readonly family: Family;
  readonly table: string;
  readonly owner: string;
  readonly rules: number;
  readonly chain: string;
  readonly text: string;
  readonly emptied: boolean;
  readonly unhooked: boolean;
  readonly asked?: true;
  readonly gone?: readonly string[];
}

export interface Memory {
  /** Id of the latest snapshot; undefined before `init`. */
  snapshotId: string | undefined;
  snapshot: UserRules;
  /** What the user's part should be: the snapshot with what is pending. */
  wish: UserRules;
  known: PerFamily<NeighbourPart | undefined>;
  /** Tables, native ones too, whose user part was replaced by a load that is not adopted: `ip filter`. */
  replaced: readonly string[];
  waiting: readonly WaitingRule[];
  waitingNative?: readonly WaitingNative[];
  /** What flushes and loads took from neighbours that are not put back by text; said until they have written again. */
  lost?: readonly LostRules[];
  /** By guest's NIC: what libvirt's nwfilter wrote into ebtables' table nat, as merge/nwfilter-losses.ts has it. */
  nicFilters?: Readonly<Record<string, readonly string[]>>;
  /** Neighbours' native tables at the last look, and those that flushes took: owner by `inet firewalld`. */
  foreignTables?: Readonly<Record<string, string>>;
  lostTables?: Readonly<Record<string, string>>;
  /** Snapshots that were taken after `snapshotId` and are damaged, newest first; the wish of the newest may still stand. */
  damaged?: readonly DamagedSnapshot[];
  /** The wish on disk is older than this one (full disk): the next pass writes it again. */
  unsaved?: boolean;
}

interface WishDocument {
  readonly bootId: string;
  readonly snapshotId: string;
  readonly ip: string;
  readonly ip6: string;
  /** Native tables; '' or missing: none. */
  readonly nft?: string;
  /** Of ebtables' and arptables' tables; '' or missing: none. */
  readonly ebtables?: string;
  readonly arptables?: string;
  readonly replaced: readonly string[];
  readonly waiting: readonly WaitingRule[];
  readonly waitingNative?: readonly WaitingNative[];
}

interface KnownDocument {
  readonly bootId: string;
  readonly ip: string;
  readonly ip6: string;
  readonly lost?: readonly LostRules[];
  readonly nicFilters?: Readonly<Record<string, readonly string[]>>;
  readonly foreignTables?: Readonly<Record<string, string>>;
  readonly lostTables?: Readonly<Record<string, string>>;
}

export interface MemoryFiles {
  readonly store: Store;
  readonly state: StateFiles;
  load(): Promise<{ readonly memory: Memory; readonly notes: readonly string[] }>;
  saveWish(memory: Memory): Promise<void>;
  saveKnown(memory: Memory): Promise<void>;
  /** Writes again what was removed under us; true when it did. For the daemon, at rest. */
  keep(memory: Memory): Promise<boolean>;
  /** A new snapshot of `user`; pending and replaced end. */
  takeSnapshot(
    memory: Memory,
    user: UserRules,
    complete: boolean,
    reason: Omit<TakingReason, 'parent'>,
  ): Promise<string>;
}

export function openMemory(host: Host, stateDir: string): MemoryFiles {
  const store = openStore(host, `${stateDir}/snapshots`);
  const state = openStateFiles(host, stateDir);
  const boot = bootId(host) ?? 'unknown';

  async function saveWish(memory: Memory): Promise<void> {
    if (memory.snapshotId === undefined) return;
    const document: WishDocument = {
      bootId: boot,
      snapshotId: memory.snapshotId,
      ip: printUserPart(memory.wish.ip, WISH_TITLE),
      ip6: printUserPart(memory.wish.ip6, WISH_TITLE),
      nft: printNative(withoutSaved(memory.wish.native), WISH_TITLE),
      ebtables: printSaved(memory.wish.native, 'bridge', WISH_TITLE),
      arptables: printSaved(memory.wish.native, 'arp', WISH_TITLE),
      replaced: memory.replaced,
      waiting: memory.waiting,
      waitingNative: memory.waitingNative ?? [],
    };
    await state.write('wish', document);
  }

  async function saveKnown(memory: Memory): Promise<void> {
    const text = (family: Family): string => {
      const part = memory.known[family];
      return part === undefined ? '' : printNeighbourPart(part, KNOWN_TITLE);
    };
    await state.write('neighbours', {
      bootId: boot,
      ip: text('ip'),
      ip6: text('ip6'),
      lost: memory.lost ?? [],
      nicFilters: memory.nicFilters ?? {},
      foreignTables: memory.foreignTables ?? {},
      lostTables: memory.lostTables ?? {},
    } satisfies KnownDocument);
  }

  async function takeSnapshot(
    memory: Memory,
    user: UserRules,
    complete: boolean,
    reason: Omit<TakingReason, 'parent'>,
  ): Promise<string> {
    const before = memory.snapshotId;
    const taking = await store.save(contentOf(memory, user, complete), { ...reason, parent: before });
    await keepSets(host, `${stateDir}/snapshots`, user, { id: taking.id, before });
    memory.snapshotId = taking.id;
    memory.snapshot = user;
    memory.wish = user;
    memory.replaced = [];
    delete memory.damaged;
    await saveWish(memory);
    return taking.id;
  }

  async function saveSnapshot(memory: Memory, message: string): Promise<void> {
    const content = contentOf(memory, memory.snapshot, memory.known.ip !== undefined);
    memory.snapshotId = (await store.save(content, { trigger: 'kept', message, parent: memory.snapshotId })).id;
    await keepSets(host, `${stateDir}/snapshots`, memory.snapshot, { id: memory.snapshotId, before: undefined });
  }

  const keep = openKeeper(host, stateDir, { saveSnapshot, saveWish, saveKnown });
  return { store, state, load: () => load(store, state, boot), saveWish, saveKnown, keep, takeSnapshot };
}

function contentOf({ known }: Memory, user: UserRules, complete: boolean): SnapshotContent {
  return {
    user: userTexts(user),
    neighbours: { ip: knownText(known.ip), ip6: knownText(known.ip6) },
    neighboursState: complete ? 'complete' : 'partial',
  };
}

/** The texts of a snapshot's files; `nft`, `ebtables`, `arptables` only where there are such tables. */
export function userTexts({ ip, ip6, native }: UserRules): UserTexts {
  const nft = printNative(withoutSaved(native), NATIVE_TITLE);
  const ebtables = printSaved(native, 'bridge', EBTABLES_TITLE);
  const arptables = printSaved(native, 'arp', ARPTABLES_TITLE);
  return {
    ip: printUserPart(ip, SNAPSHOT_TITLE),
    ip6: printUserPart(ip6, SNAPSHOT_TITLE),
    ...(nft === '' ? {} : { nft }),
    ...(ebtables === '' ? {} : { ebtables }),
    ...(arptables === '' ? {} : { arptables }),
  };
}

const WISH_TITLE = "mendwall: the user's rules as wanted now (the latest snapshot with what is pending)";
const KNOWN_TITLE = "mendwall: the neighbours' rules at the last complete read";
const SNAPSHOT_TITLE = "mendwall: the user's rules; loads with plain iptables-restore";
const EBTABLES_TITLE = "mendwall: the user's bridge rules; loads with plain ebtables-restore";
const ARPTABLES_TITLE = "mendwall: the user's ARP rules; loads with plain arptables-restore";
const NATIVE_TITLE = "mendwall: the user's native tables; loads with plain nft -f";
const NO_RULES: UserRules = { ip: emptyPart('ip'), ip6: emptyPart('ip6'), native: EMPTY_NATIVE };

function knownText(part: NeighbourPart | undefined): string {
  return part === undefined ? '' : printNeighbourPart(part, KNOWN_TITLE);
}

async function load(store: Store, state: StateFiles, boot: string): Promise<{ memory: Memory; notes: string[] }> {
  const notes: string[] = [];
  const memory: Memory = {
    snapshotId: undefined,
    snapshot: NO_RULES,
    wish: NO_RULES,
    known: { ip: undefined, ip6: undefined },
    replaced: [],
    waiting: [],
  };
  const { loaded, damaged, notes: history } = await store.newestWhole(({ user }) => problemIn(user));
  notes.push(...history.map((note) => `the history of snapshots: ${note}`));
  if (damaged.length > 0) {
    memory.damaged = damaged;
    notes.push(...describeDamage(damaged, loaded?.id));
  }
  if (loaded !== undefined) {
    memory.snapshotId = loaded.id;
    memory.snapshot = readParts(loaded.content.user, `snapshot ${loaded.id}`, notes);
    memory.wish = memory.snapshot;
  }
  await loadWish(state, boot, memory, notes);
  await loadKnown(state, boot, memory, notes);
  return { memory, notes };
}

/** Why a snapshot cannot be used although its files are as they were written. */
function problemIn(user: UserTexts): string | undefined {
  const problems: string[] = [];
  readParts(user, 'its rules', problems);
  return problems[0];
}

/** `snapshot 3f0a... is damaged (...); the newest whole one before it, 77b1..., is used instead` */
function describeDamage(damaged: readonly DamagedSnapshot[], used: string | undefined): string[] {
  const instead =
    used === undefined ? 'no snapshot is whole' : `the newest whole one before it, ${used}, is used instead`;
  return damaged.map(({ id, reason }) => `snapshot ${id} is damaged (${reason}); ${instead}`);
}

async function loadWish(state: StateFiles, boot: string, memory: Memory, notes: string[]): Promise<void> {
  const wish = await state.read('wish', isWish);
  if (wish.kind === 'damaged')
    notes.push(`the file of pending changes was damaged (${wish.reason}); the snapshot stands`);
  if (wish.kind !== 'found' || !isWishOf(memory, wish.value.snapshotId)) return;
  if (wish.value.bootId !== boot) {
    notes.push('the host was booted, or the network namespace made anew, since: changes that were pending have ended');
    return;
  }
  memory.wish = readParts(wish.value, 'wish.json', notes);
  memory.replaced = wish.value.replaced;
  memory.waiting = wish.value.waiting;
  if ((wish.value.waitingNative ?? []).length > 0) memory.waitingNative = wish.value.waitingNative ?? [];
}

/** Of a damaged snapshot the wish is what is left: its rules with what was pending, shown as pending against the older one. */
function isWishOf({ snapshotId, damaged }: Memory, id: string): boolean {
  return snapshotId !== undefined && (id === snapshotId || id === damaged?.[0]?.id);
}

async function loadKnown(state: StateFiles, boot: string, memory: Memory, notes: string[]): Promise<void> {
  const known = await state.read('neighbours', isKnown);
  if (known.kind === 'damaged') notes.push(`the neighbours' last complete part was damaged (${known.reason})`);
  // After a boot libvirt writes its rules anew; what it had before is no word of its own any more.
  if (known.kind !== 'found' || known.value.bootId !== boot) return;
  const parts: Record<Family, NeighbourPart | undefined> = { ip: undefined, ip6: undefined };
  for (const family of FAMILIES) {
    const text = known.value[family];
    if (text === '') continue;
    const parsed = parseNeighbourPart(text, family, 'neighbours.json');
    if (parsed.kind === 'part') parts[family] = parsed.part;
    else notes.push(`the neighbours' last complete part cannot be read: ${parsed.problems[0]?.message}`);
  }
  memory.known = parts;
  const { nicFilters = {}, foreignTables = {}, lostTables = {} } = known.value;
  if (Object.keys(nicFilters).length > 0) memory.nicFilters = nicFilters;
  if (known.value.lost !== undefined && known.value.lost.length > 0) memory.lost = known.value.lost;
  if (Object.keys(foreignTables).length > 0) memory.foreignTables = foreignTables;
  if (Object.keys(lostTables).length > 0) memory.lostTables = lostTables;
}

/** The user's part from text; a family that cannot be read is empty, with a note. */
export function readParts(texts: UserTexts, file: string, notes: string[]): UserRules {
  const read = (family: Family): UserPart => {
    const parsed = parseUserPart(texts[family], family, file);
    if (parsed.kind === 'part') return parsed.part;
    notes.push(`${file}: ${parsed.problems[0]?.message}`);
    return emptyPart(family);
  };
  const native = parseNative(texts.nft ?? '', file);
  if (native.kind === 'problems') notes.push(`${file}: ${native.problems[0]?.message}`);
  const saved = [
    ...readSaved(texts.ebtables, 'bridge', file, notes),
    ...readSaved(texts.arptables, 'arp', file, notes),
  ];
  const own = native.kind === 'part' ? native.part : EMPTY_NATIVE;
  return { ip: read('ip'), ip6: read('ip6'), native: new Map([...own, ...saved]) };
}

function readSaved(text = '', family: SavedFamily, file: string, notes: string[]): NativePart {
  const { tables, problems } = parseSaved(text, family, file);
  if (problems[0] !== undefined) notes.push(`${file}: ${problems[0].message}`);
  return problems.length > 0 ? EMPTY_NATIVE : nativePart(tables);
}

type Fields = Readonly<Record<string, unknown>>;
const isText = (value: Fields, ...names: readonly string[]): boolean =>
  names.every((name) => typeof value[name] === 'string');

function isWish(value: Fields): value is Fields & WishDocument {
  return (
    isText(value, 'bootId', 'snapshotId', 'ip', 'ip6') &&
    Array.isArray(value['replaced']) &&
    Array.isArray(value['waiting'])
  );
}

function isKnown(value: Fields): value is Fields & KnownDocument {
  const isTables = (tables: unknown): boolean =>
    tables === undefined || (typeof tables === 'object' && tables !== null && !Array.isArray(tables));
  return (
    isText(value, 'bootId', 'ip', 'ip6') &&
    (value['lost'] === undefined || Array.isArray(value['lost'])) &&
    isTables(value['foreignTables']) &&
    isTables(value['lostTables'])
  );
}
