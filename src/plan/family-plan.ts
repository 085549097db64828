// All that is worked out for one family in one pass: decision, target, plan and drift of each table. Pure.

import type { Classified, ClassifiedTable } from '../classify/classify.ts';
import { type ChangeSummary, type Decision, decideTable, NO_CHANGE, type ResultEvidence } from '../merge/decide.ts';
import { libvirtReference, withActive } from '../merge/libvirt-reference.ts';
import { displacementOf, type Drift, duplicateDrift, lossDrift, staleOf, waitingDrift } from '../merge/drift.ts';
import { isTheirsToMake, mergeTable, type TargetTable } from '../merge/merge.ts';
import {
  duplicatesOf,
  foreignTable,
  type InterfaceExists,
  type Loss,
  lossesOf,
  restorable,
  settleStale,
} from '../merge/repair.ts';
import { reslot } from '../merge/reslot.ts';
import { shadowedIn } from '../merge/shadowed.ts';
import { leaveInPlace, lostUnloadable } from '../merge/unloadable.ts';
import { weave } from '../merge/weave.ts';
import type { Network } from '../ruleset/network.ts';
import { missingFrom, sameSequence } from '../ruleset/multiset.ts';
import type { Family, TableName } from '../ruleset/types.ts';
import { type NeighbourPart, ruleTexts, type UserChain, type UserPart, type UserTable } from '../ruleset/user-part.ts';
import { planTable, type TablePlan } from './plan.ts';
import { respellNeighbours, respellUser, type Spellings } from './spelling.ts';

/** A user rule that iptables cannot load now, and why (its own words). */
export interface Waiting {
  readonly family: Family;
  readonly table: TableName;
  readonly chain: string;
  readonly text: string;
  readonly why: string;
}

export interface Settings {
  readonly onDelete: 'pending' | 'restore';
  readonly onLoad: 'adopt' | 'restore';
}

export interface FamilyInput {
  readonly classified: Classified;
  readonly wish: UserPart;
  readonly known: NeighbourPart | undefined;
  readonly networks: readonly Network[] | undefined;
  readonly exists: InterfaceExists;
  /** Tables to work on; undefined: all. */
  readonly tables: readonly TableName[] | undefined;
  /** By table; undefined where there are no events. */
  readonly summaries: ReadonlyMap<TableName, ChangeSummary> | undefined;
  readonly evidence: (table: TableName) => ResultEvidence;
  readonly burstOver: boolean;
  /** True when libvirt's known part may be put back by text now. */
  readonly repair: boolean;
  /** Rules that could not be loaded at the last try: wanted, though they do not stand. */
  readonly waiting: readonly Waiting[];
  /** Rules left out of the target in this pass, because iptables refused them just now (or, in the fast lane, before). */
  readonly held: readonly Waiting[];
  readonly settings: Settings;
  /** How iptables prints rules that were written otherwise. */
  readonly spellings: Spellings;
  /** The wish is to be put in place exactly (`restore`, `accept`): no decision, and user rules that are not in it go. */
  readonly byHand?: boolean;
}

export interface TableWork {
  readonly table: TableName;
  readonly decision: Decision;
  readonly target: TargetTable;
  readonly plan: TablePlan;
  readonly inverse: TablePlan;
  readonly drift: readonly Drift[];
  /** What the plan puts right, if it is carried out: the drift, neighbours' rules put back, stale copies taken out. */
  readonly mends: readonly Drift[];
}

export interface FamilyWork {
  readonly family: Family;
  readonly tables: readonly TableWork[];
  /** libvirt's, which mendwall repairs. */
  readonly losses: readonly Loss[];
  /** User rules in a neighbour's chain that is gone: they wait for the neighbour to make it again. */
  readonly homeless: readonly Waiting[];
  readonly drift: readonly Drift[];
}

/** Classified rules and memory in, plans out. */
export function planFamily(given: FamilyInput): FamilyWork {
  const input = {
    ...given,
    classified: settleStale(given.classified, given.exists),
    wish: respellUser(given.wish, given.spellings),
  };
  const { family } = input.classified.ruleset;
  const reference = respellNeighbours(referenceOf(input), given.spellings);
  // A table that was not read is not one that lost its rules.
  const losses = lossesOf(reference, input.classified).filter(({ table }) => input.tables?.includes(table) ?? true);
  const homeless = homelessRules(input);
  const tables = tableNames(input, reference).map((table) =>
    planOne({ ...input, held: [...input.held, ...homeless] }, table, reference, losses),
  );
  return {
    family,
    tables,
    losses,
    homeless,
    // Only for the record, so after the commit: what is shadowed takes as long to find as the plan (measured).
    get drift() {
      return [
        ...tables.flatMap((work) => work.drift),
        ...staleOf(input.classified),
        ...duplicateDrift(family, duplicatesOf(reference, input.classified)),
        ...[...input.classified.tables.values()].flatMap((table) => shadowedIn(family, table, input.networks ?? [])),
        ...lossDrift(family, losses),
        ...waitingDrift(tables.flatMap(({ table, decision }) => lostIn(input, table, decision.next))),
      ];
    },
  };
}

const lostIn = ({ classified }: FamilyInput, table: TableName, next: UserTable): Waiting[] =>
  lostUnloadable(classified.ruleset.family, next, classified.tables.get(table));

/** What should stand of the neighbours' part: the last complete read, as far as its interfaces exist. */
function referenceOf({ known, networks, classified, exists }: FamilyInput): NeighbourPart {
  const active = libvirtReference(classified.ruleset.family, networks ?? [], classified);
  return known === undefined ? active : restorable(withActive(known, active), exists);
}

/** The user's rules in chains that a neighbour made, where the chain is gone and mendwall does not make it. */
function homelessRules({ wish, classified }: FamilyInput): Waiting[] {
  const { family } = wish;
  return [...wish.tables.values()].flatMap((table) =>
    [...table.chains.values()]
      .filter((chain) => isTheirsToMake(chain) && classified.tables.get(table.name)?.chains.has(chain.name) !== true)
      .flatMap((chain) =>
        ruleTexts(chain.items).map((text) => ({
          family,
          table: table.name,
          chain: chain.name,
          text,
          why: `chain ${chain.name} is gone, and its program's to make`,
        })),
      ),
  );
}

function tableNames({ tables, classified, wish }: FamilyInput, reference: NeighbourPart): TableName[] {
  const all = new Set([...classified.tables.keys(), ...wish.tables.keys(), ...reference.tables.keys()]);
  return tables === undefined ? [...all] : [...all].filter((table) => tables.includes(table));
}

function planOne(input: FamilyInput, table: TableName, reference: NeighbourPart, losses: readonly Loss[]): TableWork {
  const { family } = input.classified.ruleset;
  const live = input.classified.tables.get(table);
  const mine = (rule: Waiting): boolean => rule.family === family && rule.table === table;
  const wish = input.wish.tables.get(table);
  const held = [...input.held.filter(mine), ...lostUnloadable(family, wish, live)];
  // A rule that waits is not live because it could not be loaded; nobody took it out.
  const absent = [
    ...held,
    ...input.waiting
      .filter(mine)
      .filter((rule) => !held.some((other) => other.chain === rule.chain && other.text === rule.text)),
  ];
  const isGuestBridge = guestBridgeTest(input.networks);
  const wanted = wish === undefined ? undefined : withoutHeld(wish, absent);
  const decision =
    input.byHand === true
      ? asWished(table, wanted)
      : decideTable({
          table,
          wish: wanted,
          live,
          summary: summaryOf(input, table),
          evidence: input.evidence(table),
          burstOver: input.burstOver,
          onDelete: input.settings.onDelete,
          onLoad: input.settings.onLoad,
          isGuestBridge,
        });
  // Inside a burst only a load in one transaction is complete: a script that has flushed deletes the chains next.
  const decided = input.burstOver || input.summaries?.get(table)?.replaced === true;
  const restore =
    input.repair && decided && losses.some((loss) => loss.table === table) ? reference.tables.get(table) : undefined;
  const onceEach = input.repair && decided ? (reference.tables.get(table) ?? new Map()) : undefined;
  const dropStale = decision.loaded || input.repair;
  const next = decision.loaded ? decision.next : withHeld(decision.next, wish, absent, isGuestBridge);
  const want = decision.kind === 'wait' ? liveUserTable(next, live) : withoutHeld(next, held);
  const foreign = foreignTable(live, { restore, dropStale, onceEach });
  const target = leaveInPlace(mergeTable({ want, foreign, live, isGuestBridge }), live);
  const plans =
    decision.kind === 'wait'
      ? emptyPlans(family, table)
      : planTable(family, live?.chains === undefined ? undefined : input.classified.ruleset.tables.get(table), target);
  const drift = decision.kind === 'wait' ? [] : displacementOf(family, live, target);
  const putBack =
    restore === undefined
      ? []
      : lossDrift(
          family,
          losses.filter((loss) => loss.table === table),
        );
  const taken = [
    ...(dropStale ? staleOf(input.classified) : []),
    ...(onceEach === undefined ? [] : duplicateDrift(family, duplicatesOf(reference, input.classified))),
  ].filter((copy) => copy.table === table);
  return {
    table,
    decision: { ...decision, next },
    target,
    plan: plans.plan,
    get inverse() {
      return plans.inverse;
    },
    drift,
    mends: [...drift, ...putBack, ...taken],
  };
}

function asWished(table: TableName, wish: UserTable | undefined): Decision {
  return { kind: 'kept', next: wish ?? { name: table, chains: new Map() }, evidence: ['by=hand'], loaded: false };
}

function summaryOf({ summaries }: FamilyInput, table: TableName): ChangeSummary | undefined {
  return summaries === undefined ? undefined : (summaries.get(table) ?? NO_CHANGE);
}

function emptyPlans(family: Family, table: TableName): { plan: TablePlan; inverse: TablePlan } {
  return { plan: { family, table, edits: [] }, inverse: { family, table, edits: [] } };
}

function liveUserTable(next: UserTable, live: ClassifiedTable | undefined): UserTable {
  return live === undefined ? { name: next.name, chains: new Map() } : next;
}

/** Bridges of libvirt's networks; without definitions, those with libvirt's own naming. */
export function guestBridgeTest(networks: readonly Network[] | undefined): (name: string) => boolean {
  const bridges = new Set((networks ?? []).map((network) => network.bridge));
  return (name) => bridges.has(name) || /^virbr\d+$/.test(name);
}

// --- waiting rules: wanted, but not loadable now ---------------------------------------------------------------

function withoutHeld(wish: UserTable, held: readonly Waiting[]): UserTable {
  if (held.length === 0) return wish;
  const chains = new Map<string, UserChain>();
  for (const chain of wish.chains.values()) {
    const texts = held.filter((rule) => rule.chain === chain.name).map((rule) => rule.text);
    chains.set(chain.name, {
      ...chain,
      items: chain.items.filter((item) => item.kind === 'slot' || !takeOne(texts, item.text)),
    });
  }
  return { name: wish.name, chains };
}

function takeOne(texts: string[], text: string): boolean {
  const at = texts.indexOf(text);
  if (at !== -1) texts.splice(at, 1);
  return at !== -1;
}

/** Puts held rules back into the wish, where they stood, so that they are tried again. A new ruleset ends them. */
function withHeld(
  next: UserTable,
  wish: UserTable | undefined,
  held: readonly Waiting[],
  isGuestBridge: (name: string) => boolean,
): UserTable {
  if (held.length === 0 || wish === undefined) return next;
  const chains = new Map(next.chains);
  for (const name of new Set(held.map((rule) => rule.chain))) {
    const [before, now] = [wish.chains.get(name), chains.get(name)];
    if (before === undefined || now === undefined) continue;
    const texts = ruleTexts(now.items);
    const keep = new Set(held.filter((rule) => rule.chain === name).map((rule) => rule.text));
    const only = ruleTexts(before.items).filter((text) => texts.includes(text) || keep.has(text));
    if (missingFrom(only, texts).length === 0) continue;
    const order = weave(texts, only);
    // The same rules in the same order: then the slots are where they were, too, also those with held rules alone around them.
    const items = sameSequence(order, ruleTexts(before.items))
      ? before.items
      : reslot(
          now.items,
          order.map((text) => ({ owner: 'user', text })),
          isGuestBridge,
        );
    chains.set(name, { ...now, items });
  }
  return { name: next.name, chains };
}
