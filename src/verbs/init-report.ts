// What `init` tells of a ruleset: what was taken as the user's, and what was left out, with its owner. Pure.

import type { Classified } from '../classify/classify.ts';
import type { ClassifiedNative } from '../classify/classify-native.ts';
import type { NativePart } from '../ruleset/nft/native-part.ts';
import { chainsOf, type NftFamily } from '../ruleset/nft/types.ts';
import { ruleTexts, USER, type UserPart } from '../ruleset/user-part.ts';

/** Rules of one owner in one chain that were left out. */
export interface LeftOut {
  readonly family: NftFamily;
  readonly table: string;
  readonly chain: string;
  readonly owner: string;
  readonly evidence: string;
  readonly rules: readonly string[];
}

export interface TakenChain {
  readonly family: NftFamily;
  readonly table: string;
  readonly chain: string;
  readonly policy: string;
  readonly rules: readonly string[];
}

/** Chains that hold something of the user's: a rule, a chain made, a policy that closes. */
export function takenChains(part: UserPart): TakenChain[] {
  return [...part.tables.values()].flatMap((table) =>
    [...table.chains.values()]
      .map((chain) => ({
        family: part.family,
        table: table.name,
        chain: chain.name,
        policy: chain.policy,
        rules: ruleTexts(chain.items),
      }))
      .filter(
        (chain) =>
          chain.rules.length > 0 || chain.policy === '-' || (chain.policy !== 'ACCEPT' && chain.policy !== 'foreign'),
      ),
  );
}

/** The chains of native tables; a regular chain has the policy `-`. */
export function takenNative(part: NativePart): TakenChain[] {
  return [...part.values()].flatMap((table) =>
    chainsOf(table).map(({ name, base, rules }) => ({
      family: table.family,
      table: table.name,
      chain: name,
      policy: base === undefined ? '-' : base.policy.toUpperCase(),
      rules: rules.map(({ text }) => text),
    })),
  );
}

/** Native tables of neighbours, and their chains in the user's. */
export function leftOutNative(classified: ClassifiedNative): LeftOut[] {
  return [...classified.values()].flatMap(({ table, owner, evidence, strangers }) =>
    chainsOf(table)
      .filter(({ name, rules }) => (owner !== USER || strangers.has(name)) && rules.length > 0)
      .map(({ name, rules }) => ({
        family: table.family,
        table: table.name,
        chain: name,
        owner: strangers.get(name) ?? owner,
        evidence: strangers.has(name) ? `chain ${name}` : evidence,
        rules: rules.map(({ text }) => text),
      })),
  );
}

/** By table, chain and owner, in live order. */
export function leftOut(classified: Classified): LeftOut[] {
  const groups = new Map<string, LeftOut & { rules: string[] }>();
  const { family } = classified.ruleset;
  for (const table of classified.tables.values()) {
    for (const entry of table.chains.values()) {
      entry.claims.forEach((claim, index) => {
        if (claim.owner === USER) return;
        const key = `${table.name}\n${entry.chain.name}\n${claim.owner}`;
        const group = groups.get(key) ?? {
          family,
          table: table.name,
          chain: entry.chain.name,
          owner: claim.owner,
          evidence: claim.evidence,
          rules: [],
        };
        group.rules.push(entry.chain.rules[index]?.text ?? '');
        groups.set(key, group);
      });
    }
  }
  return [...groups.values()];
}
