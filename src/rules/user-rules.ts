// Composed and judged tables as the user's part: a neighbour's rules are left out and leave their slots. Pure.
// Guarantee: each rule of the result, and each one left out, knows the line it was written in.

import { classify } from '../classify/classify.ts';
import { keepsSlot } from '../owners/index.ts';
import type { Claim } from '../owners/types.ts';
import type { Network } from '../ruleset/network.ts';
import type { Chain, Family, Rule, Table } from '../ruleset/types.ts';
import { type Item, USER, type UserChain, type UserPart, type UserTable } from '../ruleset/user-part.ts';
import { type ComposedChain, type ComposedTables, type Entry, policyText } from './compose.ts';
import type { LeftOutRule, Place, PlacedRule } from './types.ts';

export interface UserRulesOf {
  readonly part: UserPart;
  readonly placed: readonly PlacedRule[];
  readonly leftOut: readonly LeftOutRule[];
}

/** `saved`: of rules/settle.ts. `networks`: libvirt's, as classify wants them. */
export function userRulesOf(
  family: Family,
  tables: ComposedTables,
  saved: ReadonlyMap<Entry, readonly string[]>,
  networks: readonly Network[] | undefined,
): UserRulesOf {
  const rulesOf = (chain: ComposedChain): Rule[] =>
    chain.entries.flatMap((entry) =>
      (saved.get(entry) ?? []).map((text) => ({ chain: chain.name, text, counters: undefined })),
    );
  const ruleset = new Map<string, Table>();
  for (const [name, chains] of tables) {
    const entries = [...chains.values()].map((chain): [string, Chain] => [
      chain.name,
      {
        name: chain.name,
        policy: policyText(name, chain.name, chain.policy),
        counters: undefined,
        rules: rulesOf(chain),
      },
    ]);
    ruleset.set(name, { name, chains: new Map(entries) });
  }
  const classified = classify({ family, tables: ruleset }, networks);
  const placed: PlacedRule[] = [];
  const leftOut: LeftOutRule[] = [];
  const parts = new Map<string, UserTable>();
  for (const [name, chains] of tables) {
    const users = new Map<string, UserChain>();
    for (const chain of chains.values()) {
      const found = classified.tables.get(name)?.chains.get(chain.name);
      if (found === undefined) continue;
      const walked = walk(chain, saved, found.claims, { kind: family, table: name });
      placed.push(...walked.placed);
      leftOut.push(...walked.leftOut);
      const isUsers = found.claim.owner === USER && !chain.foreign;
      if (isUsers) users.set(chain.name, { name: chain.name, policy: found.chain.policy, items: walked.items });
      else if (walked.placed.length > 0)
        users.set(chain.name, { name: chain.name, policy: 'foreign', items: walked.items });
    }
    parts.set(name, { name, chains: users });
  }
  return { part: { family, tables: parts }, placed, leftOut };
}

interface Walked {
  readonly items: Item[];
  readonly placed: PlacedRule[];
  readonly leftOut: LeftOutRule[];
}

/** A chain's entries in order; a neighbour's run becomes a slot, and a slot line stays one. */
function walk(
  chain: ComposedChain,
  saved: ReadonlyMap<Entry, readonly string[]>,
  claims: readonly Claim[],
  where: { readonly kind: Family; readonly table: string },
): Walked {
  const walked: Walked = { items: [], placed: [], leftOut: [] };
  let at = 0;
  for (const entry of chain.entries) {
    if (entry.kind === 'slot') walked.items.push({ kind: 'slot', owner: entry.owner, texts: entry.texts });
    for (const text of entry.kind === 'rule' ? (saved.get(entry) ?? []) : []) {
      const { owner, evidence } = claims[at++] ?? { owner: USER, evidence: '' };
      const rule = { ...where, chain: chain.name, text, ...(entry.place satisfies Place) };
      if (owner === USER) {
        walked.items.push({ kind: 'rule', text });
        walked.placed.push(rule);
      } else {
        walked.leftOut.push({ ...rule, owner, evidence });
        if (keepsSlot(owner, chain.name)) addToSlot(walked.items, owner, text);
      }
    }
  }
  return walked;
}

function addToSlot(items: Item[], owner: string, text: string): void {
  const last = items.at(-1);
  if (last?.kind === 'slot' && last.owner === owner)
    items[items.length - 1] = { ...last, texts: [...last.texts, text] };
  else items.push({ kind: 'slot', owner, texts: [text] });
}
