// The first stage of a pass: read the live rules and what is known around them, and say whose each is.

import { type Classified, classify } from '../classify/classify.ts';
import type { ResultEvidence } from '../merge/decide.ts';
import { misprintedRule } from '../observe/native-rules.ts';
import { readLibvirtNetworks, tellProblems } from '../observe/networks.ts';
import { type FamilyRead, readFamily } from '../observe/rulesets.ts';
import { restarted } from './counters.ts';
import type { PassContext, PassRequest } from './types.ts';
import { sameUserRules } from '../classify/same.ts';
import type { Network } from '../ruleset/network.ts';
import { isLibvirts } from '../owners/index.ts';
import { isSentinel } from '../owners/mendwall.ts';
import { regularChains } from '../ruleset/nft/iptables-part.ts';
import { FAMILIES, type Family, type Ruleset, type TableName } from '../ruleset/types.ts';

export interface SeenFamily {
  readonly family: Family;
  readonly text: string;
  readonly classified: Classified;
  readonly evidence: (table: TableName) => ResultEvidence;
}

export type Seen =
  | { readonly kind: 'unreadable'; readonly why: string }
  | {
      readonly kind: 'rulesets';
      readonly families: readonly SeenFamily[];
      readonly networks: readonly Network[] | undefined;
      readonly exists: (name: string) => boolean;
      /** Both engines hold user rules: why nothing is written. */
      readonly mixed: string | undefined;
      readonly engine: Readonly<Record<Family, 'nft' | 'legacy'>>;
      readonly readMs: number;
    };

/** Reads what the request is about. Fast requests (a scope) take networks and engines as last read. */
export async function observe(context: PassContext, request: PassRequest): Promise<Seen> {
  const fast = request.scope !== undefined;
  const started = context.host.clock.monoMs();
  const engines = (fast ? context.engines.last() : undefined) ?? (await context.engines.read());
  const engine = { ip: engineOf(engines.ip.engine), ip6: engineOf(engines.ip6.engine) };
  const reads = await Promise.all([...wantedReads(context, request, engine), refresh(context, fast)]);
  const families = reads.flatMap((read) => (read === undefined ? [] : [withoutKnown(read, context)]));
  const unreadable = families.find((read) => read.kind === 'unreadable');
  if (unreadable !== undefined && unreadable.kind === 'unreadable') return { kind: 'unreadable', why: unreadable.why };
  for (const read of families) {
    const native = read.kind === 'ruleset' ? await misprintedRule(context.host, read.ruleset, fast) : undefined;
    if (native !== undefined) return { kind: 'unreadable', why: native };
  }
  const networks = context.cache.networks;
  const seen = await Promise.all(families.map((read) => classifyRead(context, read, networks, request)));
  const mixed = [engines.ip, engines.ip6].find((family) => family.mixed);
  return {
    kind: 'rulesets',
    families: seen.filter((family) => family !== undefined),
    networks,
    exists: (name) => context.cache.interfaces.has(name),
    mixed: mixed === undefined ? undefined : `both engines hold rules: ${mixed.evidence.join('; ')}`,
    engine,
    readMs: context.host.clock.monoMs() - started,
  };
}

/** A native chain of the user's in a table of iptables' is none of iptables', also when nothing native leads to it any more. */
export function withoutKnown(read: FamilyRead, { memory }: Pick<PassContext, 'memory'>): FamilyRead {
  if (read.kind === 'unreadable') return read;
  const tables = new Map(read.ruleset.tables);
  for (const [name, table] of tables) {
    const native = memory.wish.native.get(`${read.ruleset.family} ${name}`);
    const names = new Set(native === undefined ? [] : regularChains(native));
    if (names.size > 0)
      tables.set(name, { name, chains: new Map([...table.chains].filter(([chain]) => !names.has(chain))) });
  }
  return { ...read, ruleset: { ...read.ruleset, tables } };
}

function wantedReads(
  context: PassContext,
  { scope }: PassRequest,
  engine: Readonly<Record<Family, string>>,
): Promise<FamilyRead>[] {
  return FAMILIES.flatMap((family) => {
    const tables = scope?.filter((place) => place.family === family).map((place) => place.table);
    if (tables === undefined || (tables.length > 1 && tables.length > 0) || engine[family] === 'legacy') {
      return tables?.length === 0 ? [] : [readFamily(context.host, family)];
    }
    return tables.map((table) => readFamily(context.host, family, table));
  });
}

async function refresh(context: PassContext, fast: boolean): Promise<undefined> {
  if (fast && !context.cache.stale && context.cache.networks !== undefined) return undefined;
  context.cache.stale = false;
  const { files, log } = context.host;
  const [read, interfaces] = await Promise.all([readLibvirtNetworks(files), files.list('/sys/class/net')]);
  tellProblems(log, read.problems);
  // No definition at all: libvirt is not here, or keeps them elsewhere; then the shape of whole sets decides.
  context.cache.networks = read.networks.length === 0 ? undefined : read.networks;
  context.cache.interfaces = new Set(interfaces);
  return undefined;
}

async function classifyRead(
  context: PassContext,
  read: FamilyRead,
  networks: readonly Network[] | undefined,
  request: PassRequest,
): Promise<SeenFamily | undefined> {
  if (read.kind === 'unreadable') return undefined;
  const { family } = read.ruleset;
  noteSentinels(context, read.ruleset);
  const classified = classify(read.ruleset, networks, context.memory.known[family]);
  const evidence = request.summaries === undefined ? await resultEvidence(context, classified) : () => NO_EVIDENCE;
  return { family, text: read.text, classified, evidence };
}

function noteSentinels({ unlocked }: PassContext, { family, tables }: Ruleset): void {
  for (const table of tables.values()) {
    const locked = [...table.chains.values()].some((chain) => isSentinel(chain));
    if (locked) unlocked.delete(`${family} ${table.name}`);
    else unlocked.add(`${family} ${table.name}`);
  }
}

const NO_EVIDENCE: ResultEvidence = { wholeTableNew: false, bootFile: undefined };

/** Where there are no events, a load is known by its result. */
async function resultEvidence(
  context: PassContext,
  classified: Classified,
): Promise<(table: TableName) => ResultEvidence> {
  const { family } = classified.ruleset;
  const bootParts = await context.bootParts(family);
  const known = context.memory.known[family];
  return (table) => {
    const live = classified.tables.get(table);
    // libvirt's alone: it never takes its chains and jumps away, others do (`fail2ban-client stop`).
    const hadNeighbours = [...(known?.tables.get(table)?.values() ?? [])].some((chain) =>
      chain.rules.some((rule) => isLibvirts(rule.owner)),
    );
    const hasNeighbours = [...(live?.chains.values() ?? [])].some((entry) =>
      entry.claims.some((claim) => isLibvirts(claim.owner)),
    );
    const bootFile = [...bootParts].find(
      ([, part]) => live !== undefined && sameUserRules(part.tables.get(table), live),
    );
    const wholeTableNew =
      (hadNeighbours && !hasNeighbours) || restarted(context.cache.counters.get(family), classified, table);
    return { wholeTableNew, bootFile: bootFile?.[0] };
  };
}

function engineOf(engine: string): 'nft' | 'legacy' {
  return engine === 'legacy' ? 'legacy' : 'nft';
}
