// Runs one neighbour of test/lab/neighbours beside libvirt and the user's rules, step by step, and says what stood after each.
// Goals: one runner for all neighbours; the same steps with mendwall and without it, so that what is said of mendwall is told
// from what the programs do to one another.
// Guarantees: what is not here is an obstacle with its reason, never a result; a step that failed says so.
// Does not: know any neighbour, or judge; the matrix prints, matrix.lab.ts expects.

import { existsSync } from 'node:fs';

import { type Classified, classify } from '../../src/classify/classify.ts';
import { NEIGHBOURS } from '../../src/owners/index.ts';
import { parseDocument } from '../../src/ruleset/iptables/parse.ts';
import type { Network } from '../../src/ruleset/network.ts';
import { FAMILIES } from '../../src/ruleset/types.ts';
import { installUserRules } from './actors.ts';
import { monoMs } from './agents.ts';
import { type GuardProcess, initGuard, mendwall, startGuard } from './guard-process.ts';
import { type Hypervisor, upHypervisor } from './host.ts';
import { type LabNeighbour, type Step, STEPS } from './neighbours/types.ts';
import { outages, startProber, traffic, type Traffic } from './probes.ts';
import { unpack, type Unpacked } from './unpack.ts';
import { USER_RULES } from './user-rules.ts';
import {
  activeNetworks,
  libvirtFaults,
  libvirtJumpFaults,
  userFaults,
  usersOf,
  type Wall,
  wallOf,
} from './yardstick.ts';

/** What stood after one step. */
export interface Outcome {
  readonly step: Step;
  /** What the step's script said when it failed; undefined when it did not. */
  readonly failed: string | undefined;
  /** What is wrong with the user's rules, and with libvirt's; empty when they are whole. */
  readonly user: readonly string[];
  readonly libvirt: readonly string[];
  /** Rules that count as the user's, and are none. */
  readonly taken: readonly string[];
  /** The neighbour's own rules, each with its place, sorted. */
  readonly own: readonly string[];
  /** `ip filter FORWARD DROP`: policies other than ACCEPT. */
  readonly policies: readonly string[];
  readonly traffic: Traffic;
  /** For how long the kind of traffic that was gone longest was gone, during the step and after it. */
  readonly darkMs: number;
  /** Passes of mendwall's that changed something; 0 without it. */
  readonly repairs: number;
  /** From the end of the step's command until user's and libvirt's rules were whole, read about every 100 ms; undefined: never. */
  readonly rightMs: number | undefined;
  /** What `status` says of the neighbour's rules: `foreign-lost ip filter`. */
  readonly told: readonly string[];
  /** What the daemon logged meanwhile. */
  readonly log: readonly string[];
}

export interface Run {
  readonly neighbour: LabNeighbour;
  readonly versions: readonly string[];
  readonly outcomes: readonly Outcome[];
}

export interface Obstacle {
  readonly neighbour: LabNeighbour;
  readonly obstacle: string;
}

interface Stand {
  readonly hypervisor: Hypervisor;
  readonly guard: GuardProcess | undefined;
  readonly neighbour: LabNeighbour;
}

/** A bound, not an aim: firewalld flushes more than once in a reload, and on a busy machine takes seconds between. */
const LATEST_MS = 30_000;
/** libvirt and others answer a reload by themselves, soon after it. */
const AFTERMATH_MS = 600;

/** All steps of one neighbour, with a guard in merge mode or without any. */
export async function runNeighbour(neighbour: LabNeighbour, guarded: boolean): Promise<Run | Obstacle> {
  let unpacked: Unpacked;
  try {
    unpacked = await unpack(neighbour.packages);
  } catch (error) {
    return { neighbour, obstacle: (error as Error).message };
  }
  const hypervisor = await upHypervisor({ name: `mwz-matrix-${neighbour.name}`, layers: [unpacked.root] });
  try {
    if (!existsSync(`/proc/${hypervisor.pid}/root${neighbour.program}`))
      return { neighbour, obstacle: `there is no ${neighbour.program}` };
    return { neighbour, versions: unpacked.versions, outcomes: await takeSteps(hypervisor, neighbour, guarded) };
  } finally {
    await hypervisor.down();
  }
}

async function takeSteps(hypervisor: Hypervisor, neighbour: LabNeighbour, guarded: boolean): Promise<Outcome[]> {
  await hypervisor.addGuest();
  if (neighbour.prepare !== undefined) await hypervisor.sh(neighbour.prepare);
  await installUserRules(hypervisor);
  if (guarded) await initGuard(hypervisor);
  const guard = guarded ? await startGuard(hypervisor) : undefined;
  const outcomes: Outcome[] = [];
  for (const step of STEPS) {
    const script = step === 'wiped' ? 'iptables -w -F' : neighbour.steps[step];
    if (script !== undefined) outcomes.push(await takeStep({ hypervisor, guard, neighbour }, step, script));
  }
  return outcomes;
}

async function takeStep(stand: Stand, step: Step, script: string): Promise<Outcome> {
  const { hypervisor } = stand;
  const repairsBefore = await repairsOf(stand);
  const mark = stand.guard?.logMark() ?? 0;
  const prober = startProber(hypervisor);
  const startedMs = monoMs();
  const result = await hypervisor.exec('sh', ['-ec', script], { timeoutMs: 60_000 });
  const rightMs = await untilRight(stand, monoMs());
  const samples = await prober.stop();
  const darkMs = Math.max(...outages(samples, startedMs).map(({ gapMs }) => Math.round(gapMs)));
  return {
    step,
    failed: result.exitCode === 0 ? undefined : `exit ${result.exitCode}: ${lastLines(result.stderr + result.stdout)}`,
    ...(await standing(stand)),
    traffic: await traffic(hypervisor),
    darkMs,
    repairs: (await repairsOf(stand)) - repairsBefore,
    rightMs: rightMs === undefined ? undefined : Math.round(rightMs),
    told: await toldOf(stand),
    log: stand.guard?.logSince(mark) ?? [],
  };
}

const lastLines = (text: string): string => text.trim().split('\n').slice(-4).join('; ');

/** ms until the rules became whole and stayed so while the guard came to rest; without a guard nobody is waited for. */
async function untilRight(stand: Stand, sinceMs: number): Promise<number | undefined> {
  const networks = await activeNetworks(stand.hypervisor);
  let rightMs: number | undefined;
  let [restedMs, everWrong] = [0, false];
  while (monoMs() - sinceMs < LATEST_MS && restedMs < AFTERMATH_MS) {
    const lookedMs = monoMs();
    const { user, libvirt } = faultsOf(wallOf(await stand.hypervisor.save()), networks);
    const wrong = user.length + libvirt.length > 0;
    everWrong ||= wrong;
    if (wrong) rightMs = undefined;
    else rightMs ??= everWrong ? lookedMs - sinceMs : 0;
    const resting = stand.guard === undefined || (await isIdle(stand.guard));
    await new Promise((resolve) => setTimeout(resolve, 50));
    restedMs = resting ? restedMs + (monoMs() - lookedMs) : 0;
  }
  return rightMs;
}

function faultsOf(wall: Wall, networks: readonly Network[]): Pick<Outcome, 'user' | 'libvirt'> {
  return {
    user: userFaults(wall, usersOf(wallOf(USER_RULES))),
    libvirt: [...libvirtJumpFaults(wall), ...libvirtFaults(wall, networks)],
  };
}

async function isIdle(guard: GuardProcess): Promise<boolean> {
  const { running, burst, timers } = await guard.status();
  return !running && !burst && !timers.includes('settle') && !timers.includes('libvirt');
}

/** Passes that changed something so far. */
async function repairsOf({ hypervisor, guard }: Stand): Promise<number> {
  if (guard === undefined) return 0;
  const { stdout } = await mendwall(hypervisor, 'log', '-n', '500', '--json');
  const entries = stdout
    .trim()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as { readonly mended?: readonly unknown[] });
  return entries.filter(({ mended = [] }) => mended.length > 0).length;
}

async function toldOf({ hypervisor, guard, neighbour }: Stand): Promise<string[]> {
  if (guard === undefined) return [];
  const { stdout } = await mendwall(hypervisor, 'status', '--json');
  const { drift } = JSON.parse(stdout) as { readonly drift: readonly Record<string, string>[] };
  return drift.map(
    ({ kind, family, table, owner, text }) =>
      `${kind} ${family} ${table}${owner === neighbour.owner ? '' : ` (${owner}) ${text}`}`,
  );
}

/** What stands now, by the tests' own measure, and by mendwall's owners. */
async function standing(stand: Stand): Promise<Pick<Outcome, 'user' | 'libvirt' | 'taken' | 'own' | 'policies'>> {
  const { hypervisor, neighbour } = stand;
  const saved = await hypervisor.save();
  const wall = wallOf(saved);
  const networks = await activeNetworks(hypervisor);
  const owned = ownedRules(saved, networks);
  const expected = usersOf(wallOf(USER_RULES));
  return {
    ...faultsOf(wall, networks),
    taken: surplus(
      owned.filter(({ owner }) => owner === 'user').map(({ rule }) => rule),
      [...expected.rules].flatMap(([place, rules]) => rules.map((text) => `${place} ${text}`)),
    ),
    own: [
      ...owned.filter(({ owner }) => owner === neighbour.owner).map(({ rule }) => rule),
      ...(await nativeRules(hypervisor, neighbour)),
    ].sort(),
    policies: [...wall.policies]
      .filter(([, policy]) => !['ACCEPT', '-'].includes(policy))
      .map((pair) => pair.join(' ')),
  };
}

interface OwnedRule {
  readonly owner: string;
  /** `ip filter FORWARD -A FORWARD -j ACCEPT` */
  readonly rule: string;
}

function ownedRules(saved: { readonly ip: string; readonly ip6: string }, networks: readonly Network[]): OwnedRule[] {
  return FAMILIES.flatMap((family) => {
    const classified: Classified = classify(parseDocument(saved[family], family).ruleset, networks);
    return [...classified.tables.values()].flatMap((table) =>
      [...table.chains.values()].flatMap(({ chain, claims }) =>
        chain.rules.map(({ text }, at) => ({
          owner: claims[at]?.owner ?? 'nobody',
          rule: `${family} ${table.name} ${chain.name} ${text}`,
        })),
      ),
    );
  });
}

/** What is in `all` more often than in `known`. */
export function surplus(all: readonly string[], known: readonly string[]): string[] {
  const left = [...known];
  return all.filter((text) => {
    const at = left.indexOf(text);
    if (at !== -1) left.splice(at, 1);
    return at === -1;
  });
}

/** Lines of the neighbour's own native tables. */
async function nativeRules(hypervisor: Hypervisor, { owner }: LabNeighbour): Promise<string[]> {
  const tables = NEIGHBOURS.find(({ id }) => id === owner)?.tables ?? [];
  const listings = await Promise.all(
    tables.map(async (key) => (await hypervisor.exec('nft', ['-s', 'list', 'table', ...key.split(' ')])).stdout),
  );
  return listings.flatMap((text) => text.split('\n').map((line) => line.trim())).filter((line) => line.length > 1);
}
