// `snapshot list`, `show` and `prune`: the history. Reading needs neither the daemon nor the lock.

import type { Taking } from '../record/history.ts';
import { readSets } from '../record/kept-sets.ts';
import { keptTakings } from '../record/prune.ts';
import type { UserTexts } from '../record/snapshot-id.ts';
import type { LoadOutcome, Store } from '../record/store.ts';
import { type Refusal, refused, type World } from './types.ts';

export type LoadedSnapshot = Extract<LoadOutcome, { kind: 'snapshot' }>;

/** Loads a snapshot by id, its beginning, `latest` or `latest~N`; what cannot be loaded is a refusal that says why. */
export async function loadSnapshot(store: Store, ref: string): Promise<LoadedSnapshot | Refusal> {
  const outcome = await store.load(ref);
  switch (outcome.kind) {
    case 'snapshot':
      return outcome;
    case 'unknown':
      return unknownSnapshot(ref, outcome.known);
    case 'ambiguous':
      return refused('ambiguous-snapshot', `${ref} begins more than one id: ${outcome.ids.join(', ')}`);
    case 'bad-ref':
      return refused(
        'bad-snapshot-name',
        `"${ref}" names no snapshot; expected an id (4 or more of its digits), latest, or latest~N`,
      );
    case 'damaged':
      return refused(
        'damaged-snapshot',
        `snapshot ${outcome.id} is damaged: ${outcome.reason}; \`mendwall snapshot list\` shows the others`,
      );
  }
}

function unknownSnapshot(ref: string, known: readonly string[]): Refusal {
  if (known.length === 0)
    return refused('no-snapshot', 'there is no snapshot yet; run `mendwall init` first (it changes no rule)');
  return refused(
    'unknown-snapshot',
    `there is no snapshot ${ref}; the newest are ${known.slice(0, 3).join(', ')}; \`mendwall snapshot list\` shows all`,
  );
}

export interface SnapshotListResult {
  readonly kind: 'snapshot-list';
  readonly latest: string | undefined;
  /** Newest first. */
  readonly snapshots: readonly Taking[];
  /** Damage in the history that was left out. */
  readonly notes: readonly string[];
}

export async function listSnapshots({ context }: World): Promise<SnapshotListResult> {
  const { takings, dropped } = await context.files.store.list();
  return { kind: 'snapshot-list', latest: takings.at(-1)?.id, snapshots: [...takings].reverse(), notes: dropped };
}

export interface SnapshotShowResult {
  readonly kind: 'snapshot-show';
  readonly id: string;
  readonly taking: Taking;
  /** `nft`, `ebtables`, `arptables` only where there are such tables. */
  readonly user: UserTexts;
  readonly neighbours: { readonly ip: string; readonly ip6: string };
  readonly neighboursState: string;
  /** The ipsets that its rules name, in ipset-save form; '' when they name none. */
  readonly sets: string;
}

export async function showSnapshot({ context, config }: World, ref: string): Promise<SnapshotShowResult | Refusal> {
  const loaded = await loadSnapshot(context.files.store, ref);
  if (loaded.kind === 'refused') return loaded;
  const sets = await readSets(context.host, `${config.stateDir}/snapshots`, loaded.id);
  const lines = [...sets.values()].flat().map((line) => `${line}\n`);
  return { kind: 'snapshot-show', id: loaded.id, taking: loaded.taking, ...loaded.content, sets: lines.join('') };
}

export interface PruneResult {
  readonly kind: 'snapshot-prune';
  readonly changed: boolean;
  readonly removed: readonly string[];
  /** Live texts the journal kept that were too old or too many. */
  readonly removedTexts: number;
}

export async function pruneSnapshots(
  { context, config }: World,
  args: { readonly dryRun: boolean; readonly keepLast?: number; readonly keepDays?: number },
): Promise<PruneResult> {
  const policy = {
    keepLast: args.keepLast ?? config.keep.last,
    keepDays: args.keepDays ?? config.keep.days,
    keepIds: context.memory.snapshotId === undefined ? [] : [context.memory.snapshotId],
  };
  if (args.dryRun)
    return {
      kind: 'snapshot-prune',
      changed: false,
      removed: await wouldRemove(context.files.store, policy, context.host.clock.wallMs()),
      removedTexts: 0,
    };
  const { removedIds } = await context.files.store.prune(policy);
  const texts = await context.journal.pruneTexts();
  return {
    kind: 'snapshot-prune',
    changed: removedIds.length + texts.length > 0,
    removed: removedIds,
    removedTexts: texts.length,
  };
}

async function wouldRemove(
  store: Store,
  policy: { keepLast: number; keepDays: number; keepIds: readonly string[] },
  nowMs: number,
): Promise<string[]> {
  const { takings } = await store.list();
  const kept = new Set(keptTakings(takings, policy, nowMs).map(({ id }) => id));
  return [...new Set(takings.map(({ id }) => id))].filter((id) => !kept.has(id));
}
