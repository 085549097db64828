// `status`: where things stand, from the state folder and the live rules; what only the daemon knows is asked of it.
// Writes nothing.

import type { ClassifiedNative } from '../classify/classify-native.ts';
import type { Classified } from '../classify/classify.ts';
import type { GuardStatus } from '../guard.ts';
import type { ExecResult, Host } from '../host/host.ts';
import type { Drift } from '../merge/drift.ts';
import { runPass } from '../pass.ts';
import type { PinReport } from '../pass/pin.ts';
import type { Mode } from '../pass/types.ts';
import type { FamilyEngine } from '../observe/engine.ts';
import { readFamily } from '../observe/rulesets.ts';
import type { DamagedSnapshot } from '../record/store.ts';
import { FAMILIES, type Family } from '../ruleset/types.ts';
import { USER } from '../ruleset/user-part.ts';
import { blockedNow, type BlockedDrift } from './blocked.ts';
import { handRequest, readLive, readOnly, type SeenRulesets } from './hand.ts';
import { keptOpenNow, type KeptOpen } from './kept-open.ts';
import { lastEntries, type LogEntry } from './log.ts';
import { readPause } from './pause-state.ts';
import { countNativeOwners, readLiveNative } from './native.ts';
import { countsOf, type RuleCounts } from './snapshot.ts';
import { leftMs, readTrial } from './trial-state.ts';
import type { World } from './types.ts';

/** What the running daemon answers. */
export interface DaemonStatus extends GuardStatus {
  readonly pid: number;
  /** What it guards by `[[netns]]`, by name; only its own socket says. */
  readonly namespaces?: readonly NamespaceStatus[];
}

/** A network namespace that the daemon guards beside its own. */
export interface NamespaceStatus {
  readonly name: string;
  readonly mode: Mode;
  /** `failed`: not guarded now; it is tried again. */
  readonly state: 'starting' | 'guarded' | 'failed';
  /** Why it failed. */
  readonly why: string | undefined;
  readonly snapshot: string | undefined;
  readonly passes: number;
  /** Left by the last pass, by kind. */
  readonly drift: Readonly<Partial<Record<Drift['kind'], number>>>;
}

export interface StatusResult {
  readonly kind: 'status';
  readonly mode: Mode;
  readonly daemon: DaemonStatus | undefined;
  readonly snapshot: { readonly id: string; readonly at: string; readonly rules: RuleCounts } | undefined;
  /** Newer snapshots that cannot be used, newest first: why the snapshot above is not the latest. */
  readonly damagedSnapshots: readonly DamagedSnapshot[];
  readonly engines: readonly Pick<FamilyEngine, 'family' | 'engine' | 'version' | 'mixed' | 'evidence'>[];
  /** Live rules by owner. */
  readonly owners: readonly {
    readonly owner: string;
    readonly engine: string;
    readonly rules: RuleCounts;
  }[];
  /** Why the live rules could not be read; then `drift` says which family, and nothing else. */
  readonly unreadable: string | undefined;
  readonly drift: readonly (Drift | BlockedDrift)[];
  readonly pausedUntil: string | undefined;
  /** Rules that `apply` put in place and nobody has confirmed yet. */
  readonly trial: { readonly what: string; readonly leftMs: number } | undefined;
  /** Pinned drops, as the daemon keeps them; `off` without one. */
  readonly pins: PinReport;
  /** Rules that stand in the user's chains for the guests (`[libvirt] open_guests`). */
  readonly keptOpen: readonly KeptOpen[];
  readonly last: LogEntry | undefined;
}

export async function status(asked: World, daemon: DaemonStatus | undefined): Promise<StatusResult> {
  const world = { ...asked, context: { ...asked.context, host: askingOnce(asked.context.host) } };
  const { context } = world;
  // One after the other: the rules' reader asks for the engines, too, and finds the answer.
  const rules = context.engines.read().then(async (engines) => ({ engines, live: await readLive(context) }));
  const [{ engines, live }, native, paused, trial, entries, snapshot] = await Promise.all([
    rules,
    readLiveNative(context),
    readPause(context),
    readTrial(context),
    lastEntries(world, 50),
    latestSnapshot(world),
  ]);
  const unreadable = live.kind === 'refused' ? live.message : undefined;
  const found = live.kind === 'refused' ? unreadableNow(world) : driftNow(world, daemon);
  const blocked = live.kind === 'refused' ? [] : blockedNow(context.host, live, found);
  const drift = (await Promise.all([found, blocked])).flat();
  const tables: ClassifiedNative = native.kind === 'native' ? native.classified : new Map();
  return {
    kind: 'status',
    mode: (daemon?.mode as Mode | undefined) ?? world.config.mode,
    daemon,
    snapshot,
    damagedSnapshots: context.memory.damaged ?? [],
    engines: FAMILIES.map((family) => engines[family]).map(({ family, engine, version, mixed, evidence }) => ({
      family,
      engine,
      version,
      mixed,
      evidence,
    })),
    owners: live.kind === 'refused' ? [] : countOwners(live, tables),
    unreadable,
    drift,
    pausedUntil: paused === undefined ? undefined : new Date(paused.untilMs).toISOString(),
    trial: trial === undefined ? undefined : { what: trial.what, leftMs: leftMs(context.host, trial) },
    pins: daemon?.pins ?? context.pins.report,
    keptOpen: live.kind === 'refused' ? [] : keptOpenNow(live.families.map(classifiedOf), tables),
    last: entries.findLast(({ entry }) => entry['event'] === 'pass'),
  };
}

/** The same question has the same answer throughout: one look, and half the programs. For verbs that write nothing. */
export function askingOnce(host: Host): Host {
  const answers = new Map<string, Promise<ExecResult>>();
  return {
    ...host,
    exec: (command) => {
      const question = JSON.stringify(command);
      const answer = answers.get(question) ?? host.exec(command);
      answers.set(question, answer);
      return answer;
    },
  };
}

const classifiedOf = ({ classified }: SeenRulesets['families'][number]): Classified => classified;

async function latestSnapshot({ context }: World): Promise<StatusResult['snapshot']> {
  const { memory, files } = context;
  if (memory.snapshotId === undefined) return undefined;
  const { takings } = await files.store.list();
  return {
    id: memory.snapshotId,
    at: takings.findLast(({ id }) => id === memory.snapshotId)?.at ?? '',
    rules: countsOf(memory.snapshot),
  };
}

/** One drift for each family that cannot be read; its rules are nobody's until they can. */
async function unreadableNow({ context }: World): Promise<readonly Drift[]> {
  const reads = await Promise.all(FAMILIES.map((family) => readFamily(context.host, family)));
  return reads.flatMap((read) => (read.kind === 'ruleset' ? [] : [unreadableDrift(read.family, '', read.why)]));
}

function unreadableDrift(family: Family, table: string, evidence: string): Drift {
  return { kind: 'unreadable', family, table, chain: '', text: '', owner: 'unknown', evidence };
}

/** What a pass would find now. */
async function driftNow({ context }: World, daemon: DaemonStatus | undefined): Promise<readonly Drift[]> {
  if (context.memory.snapshotId === undefined) return [];
  const outcome = await runPass(readOnly(context), handRequest('observe', { dryRun: true }));
  const contended = (daemon?.contended ?? []).map((place): Drift => {
    const [family = 'ip', table = '', chain = ''] = place.split(' ');
    return {
      kind: 'contended',
      family: family as Family,
      table,
      chain,
      text: '',
      owner: USER,
      evidence: 'its order is left alone until the rival is quiet',
    };
  });
  return [...outcome.drift, ...pendingNow(outcome.tables, outcome.drift, context), ...contended];
}

type Tables = Awaited<ReturnType<typeof runPass>>['tables'];

/** Changes the memory does not have yet: they become pending with the next pass. */
function pendingNow(tables: Tables, known: readonly Drift[], context: World['context']): Drift[] {
  const unsaid = tables.filter(
    (table) => table.decision === 'pending' || table.decision === 'load' || table.decision === 'replaced',
  );
  const said = (table: Tables[number]): boolean =>
    known.some((drift) => drift.kind === 'pending' && drift.family === table.family && drift.table === table.table);
  return unsaid
    .filter((table) => context.memory.snapshotId !== undefined && !said(table))
    .map((table): Drift => ({
      kind: table.decision === 'replaced' ? 'replaced' : 'pending',
      family: table.family,
      table: table.table,
      chain: '',
      text: '',
      owner: USER,
      evidence: `${table.decision}: ${table.evidence.join(' ')}`,
    }));
}

function countOwners(live: SeenRulesets, native: ClassifiedNative): StatusResult['owners'] {
  const counts = new Map<string, Record<Family, number> & { native?: number }>();
  for (const [owner, rules] of countNativeOwners(native)) counts.set(owner, { ip: 0, ip6: 0, native: rules });
  for (const { family, classified } of live.families) {
    for (const table of classified.tables.values()) {
      for (const entry of table.chains.values()) {
        for (const claim of entry.claims) {
          const count = counts.get(claim.owner) ?? { ip: 0, ip6: 0 };
          count[family]++;
          counts.set(claim.owner, count);
        }
      }
    }
  }
  const engine = live.engine.ip === live.engine.ip6 ? live.engine.ip : `${live.engine.ip}/${live.engine.ip6}`;
  return [...counts]
    .map(([owner, rules]) => ({ owner, engine, rules }))
    .sort((a, b) => Number(b.owner === USER) - Number(a.owner === USER) || (a.owner < b.owner ? -1 : 1));
}
