// What the laws are checked with: a pass's pure middle on given texts, and a small interpreter for plans.

import { classify, neighbourPartOf, userPartOf } from '../../src/classify/classify.ts';
import type { ChangeSummary } from '../../src/merge/decide.ts';
import { type FamilyInput, type FamilyWork, planFamily } from '../../src/plan/family-plan.ts';
import type { Edit, TablePlan } from '../../src/plan/plan.ts';
import type { Network } from '../../src/ruleset/network.ts';
import type { Chain, Ruleset } from '../../src/ruleset/types.ts';
import type { NeighbourPart, UserPart } from '../../src/ruleset/user-part.ts';

export interface Middle {
  readonly wish: UserPart;
  readonly known?: NeighbourPart | undefined;
  readonly networks?: readonly Network[] | undefined;
  /** What events said; undefined: there were none. */
  readonly summaries?: ReadonlyMap<string, ChangeSummary> | undefined;
  readonly input?: Partial<FamilyInput>;
}

/** The pure middle of a pass: classify, decide, merge, plan. Without `summaries` there were no events. */
export function middle(live: Ruleset, { wish, known, networks, summaries, input }: Middle): FamilyWork {
  return planFamily({
    classified: classify(live, networks, known),
    wish,
    known,
    networks,
    exists: () => true,
    tables: undefined,
    summaries,
    evidence: () => ({ wholeTableNew: false, bootFile: undefined }),
    burstOver: true,
    repair: false,
    waiting: [],
    held: [],
    settings: { onDelete: 'pending', onLoad: 'adopt' },
    spellings: new Map(),
    ...input,
  });
}

/** What `init` would take on this host. */
export function snapshotOf(live: Ruleset, networks?: readonly Network[]): { wish: UserPart; known: NeighbourPart } {
  const classified = classify(live, networks);
  return { wish: userPartOf(classified), known: neighbourPartOf(classified) };
}

export interface SimpleChain {
  policy: string;
  /** `[counters] text` where the counters are not 0:0, else the text. */
  rules: { text: string; counters: string }[];
}
export type SimpleTable = Map<string, SimpleChain>;

export function simpleTable(ruleset: Ruleset, table: string): SimpleTable {
  const chains: SimpleTable = new Map();
  for (const chain of ruleset.tables.get(table)?.chains.values() ?? []) {
    const rules = chain.rules.map(({ text, counters }) => ({ text, counters: counters ?? '0:0' }));
    chains.set(chain.name, { policy: chain.policy, rules });
  }
  return chains;
}

/**
 * What iptables-restore --noflush does with a plan, on a copy. Throws where the kernel would refuse: a deletion that finds
 * no rule, a place beyond the end, a chain that is missing, still filled or still jumped to.
 */
export function applied(plan: TablePlan, before: SimpleTable): SimpleTable {
  const table: SimpleTable = new Map(
    [...before].map(([name, { policy, rules }]) => [name, { policy, rules: [...rules] }]),
  );
  for (const edit of plan.edits) applyEdit(table, edit);
  return table;
}

const BUILTIN = /^(?:INPUT|OUTPUT|FORWARD|PREROUTING|POSTROUTING)$/;

function applyEdit(table: SimpleTable, edit: Edit): void {
  const chain = table.get(edit.chain);
  if (edit.kind === 'new-chain') {
    if (chain !== undefined) throw new Error(`-N ${edit.chain}: exists`);
    table.set(edit.chain, { policy: '-', rules: [] });
  } else if (edit.kind === 'delete-chain') {
    if (chain === undefined || chain.rules.length > 0) throw new Error(`-X ${edit.chain}: missing or filled`);
    const jumps = [...table.values()].some(({ rules }) => rules.some(({ text }) => jumpsTo(text, edit.chain)));
    if (jumps) throw new Error(`-X ${edit.chain}: jumped to`);
    table.delete(edit.chain);
  } else {
    applyInChain(table, edit);
  }
}

const jumpsTo = (text: string, chain: string): boolean =>
  new RegExp(` -[jg] ${chain.replace(/[.+]/g, '\\$&')}(?: |$)`).test(text);

function applyInChain(table: SimpleTable, edit: Exclude<Edit, { kind: 'new-chain' | 'delete-chain' }>): void {
  const chain = table.get(edit.chain) ?? { policy: 'ACCEPT', rules: [] };
  if (!table.has(edit.chain) && !BUILTIN.test(edit.chain)) throw new Error(`${edit.kind} ${edit.chain}: no such chain`);
  table.set(edit.chain, chain);
  if (edit.kind === 'policy') chain.policy = edit.policy;
  else if (edit.kind === 'delete') {
    const at = chain.rules.findIndex(({ text }) => text === edit.text);
    if (at === -1) throw new Error(`-D: no rule ${edit.text}`);
    chain.rules.splice(at, 1);
  } else {
    const at = edit.at === undefined ? chain.rules.length : edit.at - 1;
    if (at > chain.rules.length) throw new Error(`-I ${edit.at}: too big`);
    const target = / -[jg] (\S+)/.exec(edit.text)?.[1] ?? '';
    if (/^[a-z]|^LIBVIRT/.test(target) && !table.has(target)) throw new Error(`-I: no chain ${target}`);
    chain.rules.splice(at, 0, { text: edit.text, counters: edit.counters ?? '0:0' });
  }
}

/** Chain -> policy and texts, for comparing. Empty built-in chains that need not exist are left out when `bare`. */
export function texts(table: SimpleTable): Record<string, string[]> {
  return Object.fromEntries(
    [...table].map(([name, { policy, rules }]) => [name, [policy, ...rules.map(({ text }) => text)]]),
  );
}

/** A ruleset of what an interpreted plan left. */
export function asRuleset(tables: ReadonlyMap<string, SimpleTable>): Ruleset {
  const chainsOf = (table: SimpleTable): [string, Chain][] =>
    [...table].map(([name, { policy, rules }]) => [
      name,
      { name, policy, counters: undefined, rules: rules.map((rule) => ({ chain: name, ...rule })) },
    ]);
  return {
    family: 'ip',
    tables: new Map([...tables].map(([name, table]) => [name, { name, chains: new Map(chainsOf(table)) }])),
  };
}
