// A pass asked for by hand, and what it needs to know of the neighbours' quiet.

import { observe, type Seen, type SeenFamily, withoutKnown } from '../pass/observe.ts';
import type { Mode, PassContext, PassRequest } from '../pass/types.ts';
import { type Classified, classify, neighbourPartOf } from '../classify/classify.ts';
import { readLibvirtNetworks } from '../observe/networks.ts';
import { readFamily } from '../observe/rulesets.ts';
import { printNeighbourPart } from '../ruleset/part-text.ts';
import { FAMILIES, type Family } from '../ruleset/types.ts';
import { type Refusal, refused } from './types.ts';

/** Two reads this far apart that agree: the neighbours are not in the middle of a rewrite. */
const QUIET_MS = 500;
/** A libvirt that starts with many networks takes a few seconds. */
const MOST_READS = 8;

export type SeenRulesets = Extract<Seen, { kind: 'rulesets' }>;

/** No events: what happened is told by its result. Asked for by hand, so no budget counts it. */
export function handRequest(mode: Mode, more: Partial<PassRequest> = {}): PassRequest {
  return {
    trigger: 'hand',
    mode,
    dryRun: false,
    scope: undefined,
    summaries: undefined,
    burstOver: true,
    repair: false,
    neighboursQuiet: false,
    standDown: new Set(),
    by: ['hand'],
    ...more,
  };
}

/** The same context for looking only: nothing is written to the journal. */
export function readOnly(context: PassContext): PassContext {
  return { ...context, journal: { ...context.journal, append: () => Promise.resolve() } };
}

/** The live rules of both families, each with its owner. */
export async function readLive(context: PassContext): Promise<SeenRulesets | Refusal> {
  const seen = await observe(context, handRequest('observe'));
  return seen.kind === 'unreadable' ? refused('unreadable-rules', `the live rules cannot be read: ${seen.why}`) : seen;
}

/** One family's live rules with their owners, for a look: which engine it is and which interfaces there are is not asked. */
export interface LiveFamily {
  readonly family: Family;
  readonly classified: Classified;
}

/** The same reads as a pass makes, without those only a writer needs: half the programs, half the time. */
export async function readForLooking({ host, memory, cache }: PassContext): Promise<readonly LiveFamily[] | Refusal> {
  const [networks, ...reads] = await Promise.all([
    readLibvirtNetworks(host.files),
    ...FAMILIES.map((family) => readFamily(host, family)),
  ]);
  cache.networks = networks.networks.length === 0 ? undefined : networks.networks;
  const live: LiveFamily[] = [];
  for (const read of reads.map((each) => withoutKnown(each, { memory }))) {
    if (read.kind === 'unreadable') return refused('unreadable-rules', `the live rules cannot be read: ${read.why}`);
    const { family } = read.ruleset;
    live.push({ family, classified: classify(read.ruleset, cache.networks, memory.known[family]) });
  }
  return live;
}

/** Waits until the neighbours' part is the same in two reads, at most some seconds; false when it never was. */
export async function neighboursAreQuiet(context: PassContext): Promise<boolean> {
  let before = await neighboursText(context);
  for (let read = 1; read < MOST_READS; read++) {
    await new Promise<void>((resolve) => void context.host.clock.after(QUIET_MS, resolve));
    const now = await neighboursText(context);
    if (now !== undefined && now === before) return true;
    before = now;
  }
  return false;
}

async function neighboursText(context: PassContext): Promise<string | undefined> {
  const seen = await observe(context, handRequest('observe'));
  if (seen.kind === 'unreadable') return undefined;
  return seen.families.map(({ classified }) => printNeighbourPart(neighbourPartOf(classified), '')).join('\n');
}

export function familyOf(seen: SeenRulesets, family: string): SeenFamily | undefined {
  return seen.families.find((each) => each.family === family);
}
