// Whether the handles libvirt remembers are those of its rules. libvirt's nftables backend deletes by them without looking, so a
// wrong one takes out another network's rule, or the user's (measured, 11.3: after a restored dump, and after a flush). Pure.
// Does not: count a handle that leads nowhere while its network's rules are missing: then that is what is wrong.

import type { ClaimedNftRule } from '../owners/libvirt-nft.ts';
import { LIBVIRT_TABLE } from '../owners/libvirt-nft-rules.ts';
import type { RecordedRule, RemovalRecord } from '../ruleset/network.ts';
import { canonicalRule } from '../ruleset/nft/same.ts';
import type { Family } from '../ruleset/types.ts';
import type { Drift } from './drift.ts';

/** One for each network whose record is wrong in this family. `short`: networks that lack rules. */
export function handleDrift(
  family: Family,
  rules: readonly ClaimedNftRule[],
  records: readonly RemovalRecord[],
  short: ReadonlySet<string>,
): Drift[] {
  return records.flatMap((record) => {
    const recorded = record.rules.filter((rule) => rule.family === family && rule.table === LIBVIRT_TABLE);
    const hit = recorded.flatMap((rule) => standingAt(rules, rule) ?? []).filter((each) => isForeign(each, record));
    if (hit[0] !== undefined) return [hitsOthers(family, record, hit[0], hit.length)];
    const gone = recorded.filter((rule) => standingAt(rules, rule) === undefined);
    const left = rules.filter(({ claim }) => claim.network === record.network);
    return gone.length === 0 || left[0] === undefined || short.has(record.network)
      ? []
      : [leavesBehind(family, record, left[0], gone.length)];
  });
}

/** `nft delete rule` needs chain and handle to fit. */
const standingAt = (rules: readonly ClaimedNftRule[], { chain, handle }: RecordedRule): ClaimedNftRule | undefined =>
  rules.find((each) => each.chain === chain && each.rule.handle === handle);

function isForeign({ claim }: ClaimedNftRule, { network }: RemovalRecord): boolean {
  return claim.owner === 'user' || (claim.network !== undefined && claim.network !== network);
}

function hitsOthers(family: Family, { network }: RemovalRecord, first: ClaimedNftRule, count: number): Drift {
  const whose = first.claim.owner === 'user' ? 'yours' : `network ${first.claim.network}'s`;
  const evidence = `libvirt's record of network ${network} holds handle ${first.rule.handle}, which is ${whose}: its next rewrite or stop of ${network} deletes that${count > 1 ? `, and ${count - 1} more` : ''}; libvirt rebuilding twice (firewalld's Reloaded) makes the record right`;
  return drift(family, first, evidence, count);
}

function leavesBehind(family: Family, { network }: RemovalRecord, first: ClaimedNftRule, count: number): Drift {
  const evidence = `libvirt's record of network ${network} holds ${count} handles that do not exist: its next rewrite writes its rules again beside these`;
  return drift(family, first, evidence, count);
}

const drift = (family: Family, { chain, rule }: ClaimedNftRule, evidence: string, rules: number): Drift => ({
  kind: 'stale',
  family,
  table: LIBVIRT_TABLE,
  chain,
  text: canonicalRule(rule.text),
  owner: 'libvirt',
  evidence,
  rules,
});
