// Whose voice is it? What the user's part of one table should be, given what stands live and what is known of how it
// came about. The table of the design, row by row. Pure.
// Goals: a neighbour's rewrite never speaks for the user; what a person or the user's own program does stays.
// Guarantees: with `burstOver` false nothing of the user's is decided but displacement and a whole-table load.
// Does not: look at order against neighbours (merge does), nor at the neighbours' own part (repair does).

import { type ClassifiedTable, userTableOf } from '../classify/classify.ts';
import { countShared } from '../ruleset/multiset.ts';
import { countRules, ruleTexts, type UserChain, type UserTable } from '../ruleset/user-part.ts';
import { decideChains } from './decide-chains.ts';
import { type ChainDifference, type Difference, differenceOf, withoutReclaimed } from './difference.ts';
import { restoredTable, takeLive } from './next-table.ts';

/** What the events of a burst say about one table. Undefined where there are no events (legacy engine, no daemon). */
export interface ChangeSummary {
  /** One transaction deleted and made the table: a load. */
  readonly replaced: boolean;
  /** A flush, a deleted table, or a commit that took two or more rules out of the user's chains. */
  readonly wiped: boolean;
  /** Rules were added to the user's chains after that. */
  readonly addedAfterWipe: boolean;
  /** A neighbour committed in this burst, by its parent process or because only its rules changed. */
  readonly neighbour: string | undefined;
  /** The commits that touched the user's chains came from a program known as a neighbour. */
  readonly byNeighbour: string | undefined;
  /** They came from a process that could be read and is no neighbour. */
  readonly byOther: boolean;
  /** The loader that wrote it (iptables.service, netfilter-persistent, ...). */
  readonly loader: string | undefined;
  /** All neighbours that wrote to this table, by their process or because only their chains changed. */
  readonly writers?: readonly string[];
}

/** Events were heard, and none of them touched the table. */
export const NO_CHANGE: ChangeSummary = {
  replaced: false,
  wiped: false,
  addedAfterWipe: false,
  neighbour: undefined,
  byNeighbour: undefined,
  byOther: false,
  loader: undefined,
};

/** What the state of things says where events do not. */
export interface ResultEvidence {
  /** The neighbours' rules of this table went with it, or all counters restarted. */
  readonly wholeTableNew: boolean;
  /** The live user rules equal the user part of a known boot file: its name. */
  readonly bootFile: string | undefined;
}

export interface Situation {
  readonly table: string;
  /** The user's part as wanted until now: snapshot with pending. */
  readonly wish: UserTable | undefined;
  readonly live: ClassifiedTable | undefined;
  readonly summary: ChangeSummary | undefined;
  readonly evidence: ResultEvidence;
  readonly burstOver: boolean;
  readonly onDelete: 'pending' | 'restore';
  readonly onLoad: 'adopt' | 'restore';
  readonly isGuestBridge: (name: string) => boolean;
}

export type DecisionKind = 'kept' | 'wait' | 'load' | 'replaced' | 'wipe' | 'pending' | 'damage';

export interface Decision {
  readonly kind: DecisionKind;
  /** The user's part to have from now on. For `wait`: the wish, unchanged. */
  readonly next: UserTable;
  /** Why, for the journal: key=value words. */
  readonly evidence: readonly string[];
  /** True when a whole ruleset was loaded: foreign rules in it are not their owner's word. */
  readonly loaded: boolean;
}

/** The decision for one table. */
export function decideTable(situation: Situation): Decision {
  const wanted = situation.wish ?? { name: situation.table, chains: new Map() };
  const wish = situation.summary?.wiped === true ? wanted : withoutReclaimed(wanted, situation.live);
  const live =
    situation.live === undefined
      ? { name: situation.table, chains: new Map<string, UserChain>() }
      : userTableOf(situation.live);
  const difference = differenceOf(wish, live);
  if (!difference.any) return { kind: 'kept', next: wish, evidence: ['user=same'], loaded: looksLikeLoad(situation) };
  if (looksLikeLoad(situation) && !onlyEmptied(situation, difference, live)) return decideLoad(situation, wish, live);
  if (!situation.burstOver) return decideInBurst(situation, wish, live, difference);
  return decideChains(situation, wish, live, difference);
}

/**
 * Without events: nothing but whole chains is gone, and policies changed, while other rules stand as they were. That is
 * `-F CHAIN` and `-P`, not a load: an emptied chain is a wipe, a policy is pending. (What a pass itself put back after a wipe
 * looks so, too, where somebody had closed the host with `-P FORWARD DROP; -F`.)
 */
function onlyEmptied({ summary, evidence }: Situation, difference: Difference, live: UserTable): boolean {
  if (summary !== undefined || evidence.bootFile !== undefined) return false;
  const emptied = difference.chains.every(
    (chain) =>
      isOnlyPolicy(chain) ||
      (chain.added.length === 0 && ruleTexts(live.chains.get(chain.name)?.items ?? []).length === 0),
  );
  return emptied && countRules(live) > 0;
}

function isOnlyPolicy({ gone, added, moved, chainGone, chainAdded }: ChainDifference): boolean {
  return gone.length + added.length === 0 && !moved && !chainGone && !chainAdded;
}

function looksLikeLoad({ summary, evidence, burstOver }: Situation): boolean {
  if (summary === undefined) return burstOver && (evidence.wholeTableNew || evidence.bootFile !== undefined);
  return summary.replaced || (burstOver && summary.wiped && summary.addedAfterWipe);
}

function decideLoad(situation: Situation, wish: UserTable, live: UserTable): Decision {
  const { summary, evidence } = situation;
  const brought = countRules(live);
  const how = summary === undefined ? 'by=result' : summary.replaced ? 'by=transaction' : 'by=script';
  const neighbour = summary?.byOther === true ? undefined : summary?.byNeighbour;
  if (brought === 0 || neighbour !== undefined || situation.onLoad === 'restore') {
    if (!situation.burstOver) return { kind: 'wait', next: wish, evidence: ['burst=open', how], loaded: false };
    const why = brought === 0 ? 'brings=no-user-rule' : `loader=${neighbour ?? 'on_load=restore'}`;
    const next = brought === 0 || neighbour !== undefined ? restoredTable(situation, wish, live) : wish;
    return { kind: 'wipe', next, evidence: [how, why], loaded: true };
  }
  const wanted = allRules(wish);
  const shared = countShared(wanted, allRules(live));
  const known = summary?.loader ?? evidence.bootFile;
  const next = takeLive(situation, wish, live);
  const words = [how, `shared=${shared}/${wanted.length}`, ...(known === undefined ? [] : [`loader=${known}`])];
  return {
    kind: known !== undefined || shared * 2 >= wanted.length ? 'load' : 'replaced',
    next,
    evidence: words,
    loaded: true,
  };
}

function allRules(table: UserTable): string[] {
  return [...table.chains.values()].flatMap((chain) => ruleTexts(chain.items));
}

/** Before the burst is over only this is certain: no user rule is missing, so a displacement may be mended now. */
function decideInBurst(situation: Situation, wish: UserTable, live: UserTable, difference: Difference): Decision {
  const incomplete = difference.chains.some((chain) => chain.gone.length > 0 || chain.moved || chain.chainGone);
  if (incomplete || situation.summary?.wiped === true)
    return { kind: 'wait', next: wish, evidence: ['burst=open', 'user=changed'], loaded: false };
  return {
    kind: 'pending',
    next: takeLive(situation, wish, live),
    evidence: ['burst=open', 'user=complete'],
    loaded: false,
  };
}
