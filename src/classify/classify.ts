// Whose is each rule and each chain.
// Goals: every decision shows its evidence; what no owner claims is the user's. Linear in the rules.
// Does not: look at anything but the ruleset's text, libvirt's definitions and the last complete read.

import { claimAll, keepsSlot } from '../owners/index.ts';
import { isSentinel } from '../owners/mendwall.ts';
import type { Claim, ClaimSheet, OwnerView } from '../owners/types.ts';
import type { Network } from '../ruleset/network.ts';
import { type Chain, isBuiltin, type Ruleset, type Table } from '../ruleset/types.ts';
import {
  type Item,
  MENDWALL,
  type NeighbourChain,
  type NeighbourPart,
  type OwnerId,
  USER,
  type UserChain,
  type UserPart,
  type UserTable,
} from '../ruleset/user-part.ts';

export interface ClassifiedChain {
  readonly chain: Chain;
  /** Who made the chain; `user` for the user's own, and for built-in chains (whose policy is the user's to set). */
  readonly claim: Claim;
  /** One claim a rule, in the rules' order. */
  readonly claims: readonly Claim[];
}

export interface ClassifiedTable {
  readonly name: string;
  readonly chains: ReadonlyMap<string, ClassifiedChain>;
}

export interface Classified {
  readonly ruleset: Ruleset;
  readonly tables: ReadonlyMap<string, ClassifiedTable>;
}

const UNCLAIMED: Claim = { owner: USER, evidence: 'no owner claims it' };
const BUILTIN: Claim = { owner: USER, evidence: 'built-in chain' };

/** Gives every rule and chain its owner. `networks` and `known`: see OwnerView. */
export function classify(
  ruleset: Ruleset,
  networks: readonly Network[] | undefined,
  known?: NeighbourPart,
): Classified {
  const tables = new Map<string, ClassifiedTable>();
  for (const table of ruleset.tables.values()) {
    tables.set(table.name, classifyTable({ ruleset, table, networks, known }));
  }
  return { ruleset, tables };
}

function classifyTable(view: OwnerView): ClassifiedTable {
  const sheet = new Sheet(view.table);
  claimAll(view, sheet);
  const chains = new Map<string, ClassifiedChain>();
  for (const chain of view.table.chains.values()) {
    const claim = isBuiltin(chain) ? BUILTIN : (sheet.chains.get(chain.name) ?? UNCLAIMED);
    chains.set(chain.name, { chain, claim, claims: sheet.rules.get(chain.name) ?? [] });
  }
  return { name: view.table.name, chains };
}

class Sheet implements ClaimSheet {
  readonly chains = new Map<string, Claim>();
  readonly rules = new Map<string, Claim[]>();

  constructor(table: Table) {
    for (const chain of table.chains.values())
      this.rules.set(chain.name, new Array<Claim>(chain.rules.length).fill(UNCLAIMED));
  }

  chain(name: string, claim: Claim): void {
    if (!this.chains.has(name)) this.chains.set(name, claim);
  }

  rule(chain: string, index: number, claim: Claim): void {
    const claims = this.rules.get(chain);
    if (claims !== undefined && claims[index] === UNCLAIMED) claims[index] = claim;
  }

  claimed(chain: string, index: number): boolean {
    return this.rules.get(chain)?.[index] !== UNCLAIMED;
  }

  chainOwner(name: string): OwnerId | undefined {
    return this.chains.get(name)?.owner;
  }
}

/** The user's part of a classified ruleset, with a slot for each run of a neighbour that keeps one. */
export function userPartOf(classified: Classified): UserPart {
  const tables = new Map<string, UserTable>();
  for (const table of classified.tables.values()) tables.set(table.name, userTableOf(table));
  return { family: classified.ruleset.family, tables };
}

export function userTableOf(table: ClassifiedTable): UserTable {
  const chains = new Map<string, UserChain>();
  for (const entry of table.chains.values()) {
    const chain = userChainOf(entry);
    if (chain !== undefined) chains.set(chain.name, chain);
  }
  return { name: table.name, chains };
}

function userChainOf(entry: ClassifiedChain): UserChain | undefined {
  const { chain, claim } = entry;
  const items = itemsOf(entry);
  if (claim.owner === USER) return { name: chain.name, policy: chain.policy, items };
  return items.some((item) => item.kind === 'rule') ? { name: chain.name, policy: 'foreign', items } : undefined;
}

/** The user's rules of a live chain and the neighbours' runs among them. */
export function itemsOf(entry: ClassifiedChain): Item[] {
  const items: Item[] = [];
  let run: { owner: OwnerId; texts: string[] } | undefined;
  entry.chain.rules.forEach((rule, index) => {
    const owner = entry.claims[index]?.owner ?? USER;
    if (owner === USER) {
      run = undefined;
      items.push({ kind: 'rule', text: rule.text });
    } else if (!keepsSlot(owner, entry.chain.name)) {
      run = undefined;
    } else if (run?.owner === owner) {
      run.texts.push(rule.text);
    } else {
      run = { owner, texts: [rule.text] };
      items.push({ kind: 'slot', ...run });
    }
  });
  return items;
}

/** Everybody's part but the user's and mendwall's own: chains and rules in live order. */
export function neighbourPartOf(classified: Classified): NeighbourPart {
  const tables = new Map<string, ReadonlyMap<string, NeighbourChain>>();
  for (const table of classified.tables.values()) {
    tables.set(table.name, withoutOurs(neighbourTableOf(table)));
  }
  return { family: classified.ruleset.family, tables };
}

/** The same without the rules that mendwall keeps: they are made anew by what is so now, never put back. */
export function withoutOurs(table: ReadonlyMap<string, NeighbourChain>): Map<string, NeighbourChain> {
  const chains = [...table.values()].map((chain) => ({
    ...chain,
    rules: chain.rules.filter(({ owner }) => owner !== MENDWALL),
  }));
  return new Map(
    chains.flatMap((chain) =>
      chain.owner === undefined && chain.rules.length === 0 ? [] : [[chain.name, chain] as const],
    ),
  );
}

/** What stands besides the user's: the neighbours' and the rules that mendwall keeps, without its sentinel chains. */
export function neighbourTableOf(table: ClassifiedTable): Map<string, NeighbourChain> {
  const chains = new Map<string, NeighbourChain>();
  for (const entry of table.chains.values()) {
    const chain = isSentinel(entry.chain) ? undefined : neighbourChainOf(entry);
    if (chain !== undefined) chains.set(chain.name, chain);
  }
  return chains;
}

function neighbourChainOf(entry: ClassifiedChain): NeighbourChain | undefined {
  const owner = isNeighbour(entry.claim.owner) ? entry.claim.owner : undefined;
  const rules: { owner: OwnerId; text: string }[] = [];
  entry.chain.rules.forEach((rule, index) => {
    const ruleOwner = entry.claims[index]?.owner ?? USER;
    if (ruleOwner !== USER) rules.push({ owner: ruleOwner, text: rule.text });
  });
  return owner === undefined && rules.length === 0 ? undefined : { name: entry.chain.name, owner, rules };
}

/** Anybody but the user and mendwall itself. */
export function isNeighbour(owner: OwnerId): boolean {
  return owner !== USER && owner !== MENDWALL;
}
