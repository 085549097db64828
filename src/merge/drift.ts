// What differs from how it should be, as values with evidence. Pure.

import type { Classified, ClassifiedTable } from '../classify/classify.ts';
import { missingFrom, sameSequence } from '../ruleset/multiset.ts';
import type { NftFamily } from '../ruleset/nft/types.ts';
import type { Family, TableName } from '../ruleset/types.ts';
import { type OwnerId, ruleTexts, type UserPart, type UserTable } from '../ruleset/user-part.ts';
import { liveOrder, type TargetChain, type TargetTable } from './merge.ts';
import type { LiveOrder } from './place.ts';
import type { Loss } from './repair.ts';

export const DRIFT_KINDS = [
  'displaced',
  'lost',
  'replaced',
  'pending',
  'waiting',
  'shadowed',
  'policy',
  'stale',
  'foreign-lost',
  'foreign-unhooked',
  'blocked',
  'contended',
  'unreadable',
] as const;
export type DriftKind = (typeof DRIFT_KINDS)[number];

export interface Drift {
  readonly kind: DriftKind;
  /** `ip` and `ip6` for iptables' tables; a native table's own family. */
  readonly family: NftFamily;
  readonly table: TableName;
  readonly chain: string;
  /** The rule (or chain, or policy) it is about, in native syntax; may be empty. */
  readonly text: string;
  readonly owner: OwnerId;
  readonly evidence: string;
}

/** What stands differently in `wish` than in the snapshot: the user's own changes that are not adopted yet. */
export function pendingBetween(snapshot: UserPart, wish: UserPart): Drift[] {
  const tables = new Set([...snapshot.tables.keys(), ...wish.tables.keys()]);
  return [...tables].flatMap((table) =>
    pendingInTable(snapshot.family, table, snapshot.tables.get(table), wish.tables.get(table)),
  );
}

function pendingInTable(
  family: Family,
  table: TableName,
  before: UserTable | undefined,
  now: UserTable | undefined,
): Drift[] {
  const drifts: Drift[] = [];
  const add = (kind: DriftKind, chain: string, text: string, evidence: string): void => {
    drifts.push({ kind, family, table, chain, text, owner: 'user', evidence });
  };
  const chains = new Set([...(before?.chains.keys() ?? []), ...(now?.chains.keys() ?? [])]);
  for (const name of chains) {
    const [old, next] = [before?.chains.get(name), now?.chains.get(name)];
    const [was, is] = [ruleTexts(old?.items ?? []), ruleTexts(next?.items ?? [])];
    if (old === undefined && next?.policy === '-') add('pending', name, `-N ${name}`, 'chain added');
    if (next === undefined && old?.policy === '-') add('pending', name, `-X ${name}`, 'chain deleted');
    if (
      old !== undefined &&
      next !== undefined &&
      isPolicy(old.policy) &&
      isPolicy(next.policy) &&
      old.policy !== next.policy
    ) {
      add('policy', name, `-P ${name} ${next.policy}`, `was ${old.policy}`);
    }
    if (sameSequence(was, is)) continue;
    const [added, removed] = [missingFrom(is, was), missingFrom(was, is)];
    for (const text of added) add('pending', name, text, 'added');
    for (const text of removed) add('pending', name, `-D${text.slice(2)}`, 'deleted');
    if (added.length + removed.length === 0) add('pending', name, '', 'order changed');
  }
  return drifts;
}

const isPolicy = (policy: string): boolean => policy !== '-' && policy !== 'foreign';

/** User rules that stand on the wrong side of a neighbour's rule, or are missing, against the target. */
export function displacementOf(family: Family, live: ClassifiedTable | undefined, target: TargetTable): Drift[] {
  const drifts: Drift[] = [];
  for (const chain of target.chains.values()) {
    const now = live?.chains.get(chain.name)?.chain.rules ?? [];
    if (now.length === chain.rules.length && now.every((rule, index) => rule.text === chain.rules[index]?.text))
      continue;
    const texts = now.map((rule) => rule.text);
    const wanted = chain.rules.map((rule) => rule.text);
    const users = chain.rules.filter((rule) => rule.owner === 'user').map((rule) => rule.text);
    for (const text of missingFrom(users, texts)) {
      drifts.push({
        kind: 'lost',
        family,
        table: target.name,
        chain: chain.name,
        text,
        owner: 'user',
        evidence: 'not in the live chain',
      });
    }
    // Of the same number: what holds all of the other's is the other in another order.
    if (wanted.length === texts.length && missingFrom(wanted, texts).length === 0) {
      const rivals = rivalsIn(live, chain);
      const evidence = `against ${rivals.join(', ')}`;
      drifts.push({
        kind: 'displaced',
        family,
        table: target.name,
        chain: chain.name,
        text: '',
        owner: rivals[0] ?? 'user',
        evidence,
      });
    }
  }
  return drifts;
}

/** The neighbours whose order against the user's rules is another one than wanted; all, where that cannot be told. */
function rivalsIn(live: ClassifiedTable | undefined, wanted: TargetChain): OwnerId[] {
  const now = liveOrder(live, wanted.name);
  const owners = [...new Set(wanted.rules.map((rule) => rule.owner))].filter((owner) => owner !== 'user');
  if (owners.length < 2) return owners;
  const beside = (rules: LiveOrder, owner: OwnerId): string[] =>
    rules.filter((rule) => rule.owner === 'user' || rule.owner === owner).map((rule) => rule.text);
  const rivals = owners.filter((owner) => !sameSequence(beside(now, owner), beside(wanted.rules, owner)));
  return rivals.length > 0 ? rivals : owners;
}

export function staleOf(classified: Classified): Drift[] {
  const drifts: Drift[] = [];
  for (const table of classified.tables.values()) {
    for (const entry of table.chains.values()) {
      entry.claims.forEach((claim, index) => {
        if (claim.stale !== true) return;
        const rule = entry.chain.rules[index];
        drifts.push({
          kind: 'stale',
          family: classified.ruleset.family,
          table: table.name,
          chain: entry.chain.name,
          text: rule?.text ?? '',
          owner: claim.owner,
          evidence: claim.evidence,
        });
      });
    }
  }
  return drifts;
}

/** Further copies of libvirt's rules in its own chains. */
export function duplicateDrift(
  family: Family,
  duplicates: readonly { readonly table: string; readonly chain: string; readonly text: string }[],
): Drift[] {
  return duplicates.map((duplicate) => ({
    kind: 'stale',
    family,
    ...duplicate,
    owner: 'libvirt',
    evidence: 'a further copy: libvirt writes it once, and deletes one',
  }));
}

export function lossDrift(family: Family, losses: readonly Loss[]): Drift[] {
  return losses.map((loss) => ({
    kind: loss.kind,
    family,
    table: loss.table,
    chain: loss.chain,
    text: loss.text,
    owner: loss.owner,
    evidence:
      loss.kind === 'foreign-unhooked'
        ? 'the chain is filled, nothing jumps to it'
        : 'libvirt has it, the kernel does not',
  }));
}

/** Rules of the user's that iptables cannot load now; `why` is mostly its own word. */
export function waitingDrift(
  waiting: readonly (Pick<Drift, 'family' | 'table' | 'chain' | 'text'> & { readonly why: string })[],
): Drift[] {
  return waiting.map(({ family, table, chain, text, why }) => ({
    kind: 'waiting',
    family,
    table,
    chain,
    text,
    owner: 'user',
    evidence: why,
  }));
}

/** One line a drift, for people: `displaced ip filter FORWARD: against libvirt`. */
export function describeDrift(drift: Drift): string {
  const place = [drift.kind, drift.family, drift.table, drift.chain].filter((word) => word !== '').join(' ');
  return drift.text === '' ? `${place}: ${drift.evidence}` : `${place}: ${drift.text} (${drift.evidence})`;
}
