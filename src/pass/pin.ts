// Pinned drops (`[user] pin_drops`): after a pass the tables `ip mendwall` and `ip6 mendwall` hold what plan/pin.ts says.
//
// Guarantees: pins stand only while a daemon watches, in merge mode: they can follow the user's word only then. What stands is
// compared with what was written, so another's change is put right by the next pass; equal, nothing is written.
// The moment in which a pin may be stricter than the live rules: from the user's change to the end of the pass that hears
// it, that is the burst's quiet and one pass; at most the burst's cap while somebody keeps writing.
// Does not: throw, or hold up the pass's outcome.

import { standingPins, translatePins, writePins } from '../apply/pins.ts';
import { planPins, type PinnedRun, type PinPlan } from '../plan/pin.ts';
import { FAMILIES, type Family } from '../ruleset/types.ts';
import type { UserPart } from '../ruleset/user-part.ts';
import type { SeenRulesets } from './ending.ts';
import { letGoOfPins, newPinHold, type PinHold, writeOwned } from './pin-owner.ts';
import type { PassContext } from './types.ts';

export interface PinReport {
  /** `none`: the option is on and no rule can be pinned. `failed`: nft refused it, see `why`; then no pin stands. */
  readonly kind: 'off' | 'none' | 'pinned' | 'failed';
  readonly why: string | undefined;
  readonly runs: readonly PinnedRun[];
  /** Whether the tables are the daemon's alone, otherwise why not. Undefined: not asked for (`[user] pin_owner`), or no pin stands. */
  readonly owner: PinOwnership | undefined;
}

export interface PinOwnership {
  readonly held: boolean;
  readonly why: string | undefined;
}

/** Of one process. */
export interface PinState {
  /** Set by the daemon while it runs with the option on, in merge mode. */
  watched: boolean;
  report: PinReport;
  /** What was written last and how nft lists it; undefined: not known what stands. */
  written: { readonly plans: string; readonly listing: string } | undefined;
  readonly hold: PinHold;
}

const OFF: PinReport = { kind: 'off', why: undefined, runs: [], owner: undefined };

export const newPinState = (): PinState => ({ watched: false, report: OFF, written: undefined, hold: newPinHold() });

type Context = Pick<PassContext, 'host' | 'memory' | 'nonce' | 'ownSentinels' | 'pins'>;

/** Makes the pins what the wish and the live rules say. Without live rules (they cannot be read) no pin may stand. */
export async function pinDrops(
  context: Context,
  wish: Readonly<Record<Family, UserPart>>,
  seen: SeenRulesets | undefined,
): Promise<PinReport> {
  if (!context.pins.watched) return context.pins.report;
  const wanted = await translated(context, wish, seen);
  const plans = JSON.stringify(wanted);
  const { written } = context.pins;
  if (written?.plans === plans && (await standingPins(context.host)) === written.listing) return context.pins.report;
  return write(context, wanted, plans);
}

/** Takes both tables away, where one stands. */
export async function dropPins(context: Context): Promise<void> {
  context.pins.watched = false;
  await letGoOfPins(context);
  if ((await standingPins(context.host)) !== '') {
    const why = await writePins(context.host, FAMILIES.map(emptyPlan), '');
    if (why !== undefined) context.host.log.write('warning', `the tables of pinned drops stay: ${why}`);
  }
  context.pins.written = undefined;
  context.pins.report = OFF;
}

interface Wanted {
  readonly plan: PinPlan;
  readonly lines: readonly string[];
}

const emptyPlan = (family: Family): Wanted => ({ plan: { family, chains: [], runs: [] }, lines: [] });

async function translated(
  context: Context,
  wish: Readonly<Record<Family, UserPart>>,
  seen: SeenRulesets | undefined,
): Promise<readonly Wanted[]> {
  if (seen?.mixed !== undefined) return FAMILIES.map(emptyPlan);
  return Promise.all(
    FAMILIES.map(async (family) => {
      const live = seen?.families.find((each) => each.family === family)?.classified.tables.get('filter');
      // What replaced the user's rules and is not accepted stays as it was loaded.
      const replaced = context.memory.replaced.includes(`${family} filter`);
      return live === undefined || replaced ? emptyPlan(family) : translatedFamily(context, wish[family], live);
    }),
  );
}

type LiveTable = NonNullable<Parameters<typeof planPins>[0]['live']>;

/** A rule that iptables has no words for ends the copy there: planned again without it, until all can be said. */
async function translatedFamily({ host, pins }: Context, part: UserPart, live: LiveTable): Promise<Wanted> {
  const unsaid = new Map<string, string>();
  for (;;) {
    const plan = planPins({ family: part.family, wish: part.tables.get('filter'), live, unsaid });
    const known = knownLines(pins, plan);
    if (known !== undefined) return { plan, lines: known };
    const result = await translatePins(host, plan);
    if (result.kind === 'translated') return { plan, lines: result.lines };
    for (const [text, why] of result.rules) unsaid.set(text, why);
  }
}

/** The lines of the same plan, when it was translated before. */
function knownLines({ written }: PinState, plan: PinPlan): readonly string[] | undefined {
  const before = written === undefined ? [] : (JSON.parse(written.plans) as readonly Wanted[]);
  return before.find((each) => JSON.stringify(each.plan) === JSON.stringify(plan))?.lines;
}

async function write(context: Context, wanted: readonly Wanted[], plans: string): Promise<PinReport> {
  const { host, pins, ownSentinels, nonce } = context;
  const mark = `mw-${nonce()}`;
  ownSentinels.add(mark);
  const refused = await writeOwned(context, wanted, mark);
  // No pin is better than one that no longer follows the user's rules.
  if (refused !== undefined) await writePins(host, FAMILIES.map(emptyPlan), mark);
  const runs = wanted.flatMap(({ plan }) => plan.runs);
  const stands = wanted.some(({ plan }) => plan.chains.length > 0);
  const listing = await standingPins(host);
  // Somebody was there in between: the next pass writes again.
  pins.written = refused === undefined && stands && !listing.includes(mark) ? undefined : { plans, listing };
  const kind = refused !== undefined ? 'failed' : stands ? 'pinned' : 'none';
  pins.report = { kind, why: refused, runs, owner: kind === 'pinned' ? ownership(pins.hold) : undefined };
  tell(context);
  return pins.report;
}

function ownership({ wanted, owner, why }: PinHold): PinOwnership | undefined {
  return wanted === undefined ? undefined : { held: owner !== undefined, why };
}

function tell({ host, pins }: Context): void {
  const { kind, why, runs, owner } = pins.report;
  if (kind === 'failed') return host.log.write('error', `no drop is pinned: ${why ?? ''}`);
  const pinned = runs.filter(({ drops }) => drops > 0).map((run) => `${run.family} ${run.chain}: ${run.drops}`);
  const held = owner?.held === true ? '; no other process can change them' : '';
  host.log.write('info', `pinned drops: ${pinned.join(', ') || 'none'}${held}`);
}
