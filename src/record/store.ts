// The snapshots of the user's rules, with their neighbours' part beside them, in files people and iptables-restore can read.
//   <dir>/<id>/{user.v4,user.v6,neighbours.v4,neighbours.v6,meta.json} and, with native, bridge or ARP tables, user.nft, user.ebtables, user.arptables
//   <dir>/history.jsonl
// Guarantees: a crash, a kill -9, a power loss or a full disk at any instant leaves the old latest snapshot or the new one,
// whole: the folder is written under another name, flushed and renamed; only then the history names it. Reading never writes.
// An id is a hash of the content, checked at each load. What it does not do: parse rules; lock (callers hold the pass lock).

import { HostError, type Host } from '../host/host.ts';
import { addTaking, isTaking, readHistory, type History, type NeighboursState, type Taking } from './history.ts';
import { parseObject } from './json-lines.ts';
import { pruneStore, type PruneOutcome, type PrunePolicy } from './prune.ts';
import { countRules, ID_LENGTH, snapshotId, type FamilyTexts, type UserTexts } from './snapshot-id.ts';
import { countNativeRules, parseNative } from '../ruleset/nft/native-part.ts';

/** What a snapshot holds. The texts are in iptables-save form (`nft` in nft's); a family without rules is ''. */
export interface SnapshotContent {
  readonly user: UserTexts;
  /** As seen when the content was first taken; taking the same user rules again leaves it. */
  readonly neighbours: FamilyTexts;
  readonly neighboursState: NeighboursState;
}

export interface TakingReason {
  readonly trigger: string;
  readonly message: string;
  /** Id of the snapshot before; undefined for the first. */
  readonly parent: string | undefined;
}

export type LoadOutcome =
  /** `taking` is the last time it was taken. */
  | { readonly kind: 'snapshot'; readonly id: string; readonly taking: Taking; readonly content: SnapshotContent }
  /** No such snapshot; `known` holds the ids there are, newest first. */
  | { readonly kind: 'unknown'; readonly ref: string; readonly known: readonly string[] }
  | { readonly kind: 'ambiguous'; readonly ref: string; readonly ids: readonly string[] }
  /** Neither `latest`, `latest~N` nor 4 or more hex digits. */
  | { readonly kind: 'bad-ref'; readonly ref: string }
  | { readonly kind: 'damaged'; readonly id: string; readonly reason: string };

/** A snapshot that the history names and that cannot be used. */
export interface DamagedSnapshot {
  readonly id: string;
  readonly reason: string;
}

export interface NewestWhole {
  /** Undefined when there is none. */
  readonly loaded: Extract<LoadOutcome, { kind: 'snapshot' }> | undefined;
  /** Those taken after it, newest first; they stay as they are. */
  readonly damaged: readonly DamagedSnapshot[];
  /** What is wrong with the history itself. */
  readonly notes: readonly string[];
}

export interface Store {
  /** Keeps a snapshot durably and notes the taking. Throws HostError `write-failed`; then the old latest stands. */
  save(content: SnapshotContent, reason: TakingReason): Promise<Taking>;
  /** The same as `load('latest')`. */
  latest(): Promise<LoadOutcome>;
  /** The last one taken that is whole, and for which `problemOf` finds nothing wrong. */
  newestWhole(problemOf: (content: SnapshotContent) => string | undefined): Promise<NewestWhole>;
  list(): Promise<History>;
  /** `ref`: an id or its first 4 or more characters, `latest`, or `latest~2` (two takings before the latest). */
  load(ref: string): Promise<LoadOutcome>;
  prune(policy: PrunePolicy): Promise<PruneOutcome>;
}

const FILES = ['user.v4', 'user.v6', 'neighbours.v4', 'neighbours.v6', 'meta.json'] as const;
const NATIVE_FILE = 'user.nft';
/** Only in a snapshot with such tables: that one is missing is seen by the id. */
const OPTIONAL_FILES = [
  ['nft', NATIVE_FILE],
  ['ebtables', 'user.ebtables'],
  ['arptables', 'user.arptables'],
] as const;
const HISTORY = 'history.jsonl';
/** `3f0a51b2c4d6e788` */
const SNAPSHOT_ID = new RegExp(`^[0-9a-f]{${ID_LENGTH}}$`);

/** The store in `dir`. Touches nothing before its first use; the folder is made by the first `save`. */
export function openStore(host: Host, dir: string): Store {
  const history = (): Promise<History> => historyOf(host, dir);
  return {
    save: (content, reason) => save(host, dir, content, reason),
    latest: () => load(host, dir, 'latest'),
    newestWhole: (problemOf) => newestWhole(host, dir, problemOf),
    list: history,
    load: (ref) => load(host, dir, ref),
    prune: async (policy) => pruneStore(host, dir, `${dir}/${HISTORY}`, (await history()).takings, policy),
  };
}

async function save(host: Host, dir: string, content: SnapshotContent, reason: TakingReason): Promise<Taking> {
  await host.files.makeDir(dir);
  const history = await historyOf(host, dir);
  const taking = makeTaking(host, content, reason, (history.takings.at(-1)?.seq ?? 0) + 1);
  if ((await readFolder(host, dir, taking.id)).kind !== 'whole') await writeFolder(host, dir, taking, content);
  await addTaking(host.files, `${dir}/${HISTORY}`, history, taking);
  return taking;
}

/**
 * The history; where it is lost or lines of it are damaged, with what the whole snapshots say of their own first taking, so that
 * the newest is still the newest.
 */
async function historyOf(host: Host, dir: string): Promise<History> {
  const history = await readHistory(host.files, `${dir}/${HISTORY}`);
  if (history.takings.length > 0 && history.dropped.length === 0) return history;
  const ids = (await host.files.list(dir)).filter((name) => SNAPSHOT_ID.test(name));
  const folders = await Promise.all(ids.map((id) => readFolder(host, dir, id)));
  const named = new Set(history.takings.map(({ seq }) => seq));
  const found = folders.flatMap((folder) =>
    folder.kind === 'whole' && !named.has(folder.meta.seq) ? [folder.meta] : [],
  );
  if (found.length === 0) return history;
  const how = named.size === 0 ? 'the history is lost' : 'the history is damaged';
  const takings = [...history.takings, ...found].sort((a, b) => a.seq - b.seq);
  return { takings, dropped: [...history.dropped, `${how}; ${found.length} snapshots are still there`] };
}

async function newestWhole(
  host: Host,
  dir: string,
  problemOf: (content: SnapshotContent) => string | undefined,
): Promise<NewestWhole> {
  const { takings, dropped } = await historyOf(host, dir);
  const damaged: DamagedSnapshot[] = [];
  for (const taking of [...takings].reverse()) {
    const { id } = taking;
    if (damaged.some((other) => other.id === id)) continue;
    const folder = await readFolder(host, dir, id);
    const reason = folder.kind === 'damaged' ? folder.reason : problemOf(folder.content);
    if (reason === undefined && folder.kind === 'whole')
      return { loaded: { kind: 'snapshot', id, taking, content: folder.content }, damaged, notes: dropped };
    damaged.push({ id, reason: reason ?? '' });
  }
  return { loaded: undefined, damaged, notes: dropped };
}

function makeTaking(host: Host, content: SnapshotContent, reason: TakingReason, seq: number): Taking {
  return {
    schema: 1,
    seq,
    at: new Date(host.clock.wallMs()).toISOString(),
    id: snapshotId(content.user),
    parent: reason.parent ?? null,
    trigger: reason.trigger,
    message: reason.message,
    neighbours: content.neighboursState,
    rules: { ip: countRules(content.user.ip), ip6: countRules(content.user.ip6), ...nativeCount(content.user) },
  };
}

/** Said only where there are native tables; those of ebtables and arptables count among them. */
function nativeCount({ nft = '', ebtables = '', arptables = '' }: UserTexts): { readonly native?: number } {
  const parsed = parseNative(nft, NATIVE_FILE);
  if (nft + ebtables + arptables === '' || parsed.kind !== 'part') return {};
  return { native: countNativeRules(parsed.part) + countRules(ebtables) + countRules(arptables) };
}

async function writeFolder(host: Host, dir: string, taking: Taking, content: SnapshotContent): Promise<void> {
  const temporary = `${dir}/.new-${taking.id}`;
  await host.files.remove(temporary);
  try {
    await host.files.makeDir(temporary);
    const { user, neighbours } = content;
    const texts = [user.ip, user.ip6, neighbours.ip, neighbours.ip6, `${JSON.stringify(taking, undefined, 2)}\n`];
    for (const [index, name] of FILES.entries())
      await host.files.writeAtomic(`${temporary}/${name}`, texts[index] ?? '');
    for (const [field, name] of OPTIONAL_FILES)
      if ((user[field] ?? '') !== '') await host.files.writeAtomic(`${temporary}/${name}`, user[field] ?? '');
    await setDamagedAside(host, dir, taking.id);
    await host.files.rename(temporary, `${dir}/${taking.id}`);
  } catch (error) {
    await host.files.remove(temporary);
    throw error;
  }
}

/** A folder of this name that is not whole makes room; it is kept for a look, never deleted. */
async function setDamagedAside(host: Host, dir: string, id: string): Promise<void> {
  if (!(await host.files.exists(`${dir}/${id}`))) return;
  await host.files.rename(`${dir}/${id}`, `${dir}/damaged-${id}-${host.clock.wallMs()}`);
}

type Folder =
  | { readonly kind: 'whole'; readonly meta: Taking; readonly content: SnapshotContent }
  | { readonly kind: 'damaged'; readonly reason: string };

async function readFolder(host: Host, dir: string, id: string): Promise<Folder> {
  const texts: string[] = [];
  for (const name of FILES) {
    const text = await readPart(host, `${dir}/${id}/${name}`);
    if (typeof text !== 'string') return { kind: 'damaged', reason: text.reason };
    texts.push(text);
  }
  const [ip = '', ip6 = '', neighboursIp = '', neighboursIp6 = '', metaText = ''] = texts;
  const optional = await readOptional(host, `${dir}/${id}`);
  if ('reason' in optional) return { kind: 'damaged', reason: optional.reason };
  const user = { ip, ip6, ...optional };
  const meta = parseObject(metaText);
  if (meta === undefined || !isTaking(meta)) return { kind: 'damaged', reason: `${dir}/${id}/meta.json is not whole` };
  const found = snapshotId(user);
  if (found !== id) return { kind: 'damaged', reason: `the rules in ${dir}/${id} were altered: their id is ${found}` };
  const neighbours = { ip: neighboursIp, ip6: neighboursIp6 };
  return { kind: 'whole', meta, content: { user, neighbours, neighboursState: meta.neighbours } };
}

type OptionalTexts = Pick<UserTexts, 'nft' | 'ebtables' | 'arptables'>;

async function readOptional(host: Host, folder: string): Promise<OptionalTexts | { readonly reason: string }> {
  const texts: Record<string, string> = {};
  for (const [field, name] of OPTIONAL_FILES) {
    if (!(await host.files.exists(`${folder}/${name}`))) continue;
    const text = await readPart(host, `${folder}/${name}`);
    if (typeof text !== 'string') return text;
    texts[field] = text;
  }
  return texts;
}

/** A file that the disk cannot give back is damaged, too: an older snapshot is better than none. */
async function readPart(host: Host, path: string): Promise<string | { readonly reason: string }> {
  try {
    return (await host.files.read(path)) ?? { reason: `${path} is missing` };
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return { reason: error.message };
  }
}

async function load(host: Host, dir: string, ref: string): Promise<LoadOutcome> {
  const { takings } = await historyOf(host, dir);
  const resolved = ref.startsWith('latest')
    ? resolveLatest(takings, ref)
    : await resolvePrefix(host, dir, takings, ref);
  if (resolved.kind !== 'id') return resolved;
  const folder = await readFolder(host, dir, resolved.id);
  if (folder.kind === 'damaged') return { kind: 'damaged', id: resolved.id, reason: folder.reason };
  const taking = resolved.taking ?? takings.findLast(({ id }) => id === resolved.id) ?? folder.meta;
  return { kind: 'snapshot', id: resolved.id, taking, content: folder.content };
}

type Resolved = { readonly kind: 'id'; readonly id: string; readonly taking: Taking | undefined };

function resolveLatest(takings: readonly Taking[], ref: string): Resolved | LoadOutcome {
  // Matches `latest` and `latest~2`.
  const steps = /^latest(?:~(\d+))?$/.exec(ref);
  if (steps === null) return { kind: 'bad-ref', ref };
  const taking = takings.at(-1 - Number(steps[1] ?? 0));
  return taking === undefined ? unknown(takings, ref) : { kind: 'id', id: taking.id, taking };
}

/** Folders count too, so that snapshots can still be had by id when the history is lost. */
async function resolvePrefix(
  host: Host,
  dir: string,
  takings: readonly Taking[],
  ref: string,
): Promise<Resolved | LoadOutcome> {
  // Matches `3f0a` and longer, up to a whole id.
  if (!/^[0-9a-f]{4,}$/.test(ref)) return { kind: 'bad-ref', ref };
  const folders = (await host.files.list(dir)).filter((name) => name.length === ID_LENGTH);
  const ids = [...new Set([...takings.map(({ id }) => id), ...folders])].filter((id) => id.startsWith(ref));
  const [id] = ids;
  if (id === undefined) return unknown(takings, ref);
  return ids.length > 1 ? { kind: 'ambiguous', ref, ids } : { kind: 'id', id, taking: undefined };
}

function unknown(takings: readonly Taking[], ref: string): LoadOutcome {
  return { kind: 'unknown', ref, known: [...new Set(takings.map(({ id }) => id).reverse())] };
}
