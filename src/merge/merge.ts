// What a table should be: the user's part as wanted, around the neighbours' rules. Pure.
// Guarantees: every user rule of `want` once, in order; every neighbour's rule of `foreign` once; policies of `want`.

import type { ClassifiedTable } from '../classify/classify.ts';
import { isLibvirts, ownerOfChain } from '../owners/index.ts';
import type { NeighbourChain, UserChain, UserTable } from '../ruleset/user-part.ts';
import { type LiveOrder, mergeChain, type PlacedRule } from './place.ts';

export interface TargetChain {
  readonly name: string;
  /** `-` for a made chain, `ACCEPT`/`DROP` for a built-in one; undefined: leave the policy as it is. */
  readonly policy: string | undefined;
  readonly rules: readonly PlacedRule[];
}

export interface TargetTable {
  readonly name: string;
  readonly chains: ReadonlyMap<string, TargetChain>;
}

export interface MergeInput {
  readonly want: UserTable;
  /** The neighbours' chains and rules to have in this table: the live ones, or with what is being put back. */
  readonly foreign: ReadonlyMap<string, NeighbourChain>;
  /** The live table; undefined when the kernel has none. */
  readonly live: ClassifiedTable | undefined;
  readonly isGuestBridge: (name: string) => boolean;
}

export function mergeTable(input: MergeInput): TargetTable {
  const chains = new Map<string, TargetChain>();
  for (const name of chainOrder(input)) {
    const wanted = input.want.chains.get(name);
    const foreign = input.foreign.get(name);
    const rules = mergeChain(
      wanted?.items ?? [],
      foreign?.rules ?? [],
      () => liveOrder(input.live, name),
      input.isGuestBridge,
    );
    chains.set(name, { name, policy: policyOf(input, wanted, name), rules });
  }
  return { name: input.want.name, chains };
}

/** Live order first (so that nothing moves for nothing), then the user's, then the neighbours' that are missing. */
function chainOrder({ want, foreign, live }: MergeInput): Set<string> {
  const wanted = (name: string): boolean => want.chains.has(name) || foreign.has(name) || isLiveBuiltin(live, name);
  const names = [...(live?.chains.keys() ?? [])].filter(wanted);
  const mine = [...want.chains.values()].filter((chain) => !isTheirsToMake(chain)).map((chain) => chain.name);
  return new Set([...names, ...mine, ...foreign.keys()]);
}

/**
 * A neighbour's chain in which the user has rules: the neighbour's to make. dockerd that finds a DOCKER-USER does not hook it
 * (moby#48560). libvirt takes chains that it finds as its own (measured).
 */
export function isTheirsToMake({ name, policy }: UserChain): boolean {
  return policy === 'foreign' && !isLibvirts(ownerOfChain(name));
}

function isLiveBuiltin(live: ClassifiedTable | undefined, name: string): boolean {
  const chain = live?.chains.get(name)?.chain;
  return chain !== undefined && chain.policy !== '-';
}

function policyOf({ live }: MergeInput, wanted: UserChain | undefined, name: string): string | undefined {
  if (wanted !== undefined && wanted.policy !== 'foreign') return wanted.policy;
  if (wanted === undefined && isLiveBuiltin(live, name)) return undefined;
  const builtin = /^(?:INPUT|OUTPUT|FORWARD|PREROUTING|POSTROUTING)$/.test(name);
  return builtin ? undefined : '-';
}

/** Everybody's rules of a live chain, in order. */
export function liveOrder(live: ClassifiedTable | undefined, name: string): LiveOrder {
  const entry = live?.chains.get(name);
  if (entry === undefined) return [];
  return entry.chain.rules.map((rule, index) => ({ owner: entry.claims[index]?.owner ?? 'user', text: rule.text }));
}
