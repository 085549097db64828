// Whose each rule of libvirt's nftables table is.
// Goals: a rule is libvirt's when libvirt writes it for a network it has, or when its shape and a gone interface say that
// libvirt wrote it; everything else in there is the user's.
// Guarantees: every rule has exactly one claim with evidence in words; nothing here is ever written by mendwall.
// Does not: judge what is missing (merge/libvirt-nft-losses.ts), or go by handles: libvirt's record may be wrong.
// Measured (libvirt 11.3): at each rewrite libvirt puts its own rules at the head of their chains again, so a rule of the
// user's in there survives and ends below libvirt's reject.

import type { Network } from '../ruleset/network.ts';
import { canonicalRule } from '../ruleset/nft/same.ts';
import { chainsOf, type NftRule, type NftTable } from '../ruleset/nft/types.ts';
import type { Family } from '../ruleset/types.ts';
import { hiddenBy } from './libvirt-nft-hidden.ts';
import { expectedNftRules, LIBVIRT_JUMPS, nftRuleKey } from './libvirt-nft-rules.ts';
import { type NftShape, shapeOfNft } from './libvirt-nft-shapes.ts';
import type { Claim } from './types.ts';

export interface NftClaim extends Claim {
  readonly owner: 'libvirt' | 'user';
  /** Of libvirt's: the network it was written for. Absent for the jumps and for gone networks. */
  readonly network?: string;
  /** libvirt writes it once for this network, and it stands above, too. */
  readonly copy?: true;
  /** Of the user's: the reject of libvirt's that takes every packet it asks for. */
  readonly hiddenBy?: Standing;
}

/** One rule at its place. */
export interface Standing {
  readonly chain: string;
  readonly rule: NftRule;
}

export interface ClaimedNftRule extends Standing {
  readonly claim: NftClaim;
}

/** What is known of the whole table when one of its rules is looked at. */
interface View {
  readonly family: Family;
  readonly networks: readonly Network[] | undefined;
  /** `guest_input KEY` -> for whom libvirt writes it. */
  readonly expected: ReadonlyMap<string, Network>;
  readonly shapes: ReadonlyMap<NftRule, NftShape>;
  readonly seen: Set<string>;
}

/** All rules of `ip libvirt_network` or `ip6 libvirt_network`, chain by chain. `networks`: undefined when they could not be had. */
export function claimLibvirtTable(
  table: NftTable,
  networks: readonly Network[] | undefined,
): readonly ClaimedNftRule[] {
  const family: Family = table.family === 'ip6' ? 'ip6' : 'ip';
  const standing = chainsOf(table).flatMap(({ name, rules }) => rules.map((rule): Standing => ({ chain: name, rule })));
  const shapes = new Map<NftRule, NftShape>();
  for (const { chain, rule } of standing) {
    const shape = shapeOfNft(family, chain, canonicalRule(rule.text));
    if (shape !== undefined) shapes.set(rule, shape);
  }
  const view: View = { family, networks, expected: expectedKeys(family, networks ?? []), shapes, seen: new Set() };
  const claims = standing.map((each) => ({ ...each, claim: claimOf(view, each) }));
  return claims.map((each) =>
    each.claim.owner === 'user' ? { ...each, claim: usersClaim(each, claims, networks) } : each,
  );
}

/** Running networks before those that only are defined. */
function expectedKeys(family: Family, networks: readonly Network[]): Map<string, Network> {
  const keys = new Map<string, Network>();
  for (const network of [...networks].sort((a, b) => Number(a.active) - Number(b.active)))
    for (const rule of expectedNftRules(network))
      if (rule.family === family) keys.set(`${rule.chain} ${nftRuleKey(rule.text)}`, network);
  return keys;
}

function claimOf(view: View, { chain, rule }: Standing): NftClaim {
  const key = `${chain} ${nftRuleKey(rule.text)}`;
  if (isLibvirtNftJump(chain, rule)) return { owner: 'libvirt', evidence: 'plain jump into its own chain' };
  const network = view.expected.get(key);
  if (network?.active === true) {
    const copy = view.seen.has(key);
    view.seen.add(key);
    return writtenFor(network, copy);
  }
  const shape = view.shapes.get(rule);
  return (shape === undefined ? undefined : unlistedClaim(view, shape, network)) ?? { owner: 'user', evidence: '' };
}

/** The jumps of `forward`, as libvirt writes them. */
export function isLibvirtNftJump(chain: string, { text }: NftRule): boolean {
  return chain === 'forward' && LIBVIRT_JUMPS.some((target) => canonicalRule(text) === `counter jump ${target}`);
}

function writtenFor({ name }: Network, copy: boolean): NftClaim {
  const claim: NftClaim = { owner: 'libvirt', network: name, evidence: `written for network ${name}` };
  return copy ? { ...claim, copy: true, evidence: `a further copy of what is written for network ${name}` } : claim;
}

/** A libvirt-shaped rule that is written for no running network; `defined`: one that does not run. */
function unlistedClaim(view: View, shape: NftShape, defined: Network | undefined): NftClaim | undefined {
  if (shape.gone !== undefined) return stale(`written for interface ${shape.gone}, which is gone`);
  if (view.networks === undefined) return { owner: 'libvirt', evidence: 'by its shape; no definition could be read' };
  if (shape.line !== 'nat')
    // nft prints a name only while the interface exists
    return defined === undefined ? undefined : beginning(defined);
  return natClaim(view, shape.subnet ?? '', defined);
}

/** Between libvirt's rules and its status file, or the reverse. */
function beginning({ name }: Network): NftClaim {
  return {
    owner: 'libvirt',
    network: name,
    evidence: `written for network ${name}, which is being started or stopped`,
  };
}

/** nat's rules name the subnet only: what else stands for it tells. A lone one is the user's. */
function natClaim(view: View, subnet: string, defined: Network | undefined): NftClaim | undefined {
  const kin = [...view.shapes.values()].filter((shape) => shape.subnet === subnet);
  const lives = kin.some(({ line, gone }) => line !== 'nat' && gone === undefined);
  if (defined !== undefined) return lives ? beginning(defined) : stale(`network ${defined.name} does not run`);
  const isWhole = ['tcp', 'udp', 'any'].every((protocol) => kin.some((shape) => shape.translates === protocol));
  const left = kin.some(({ gone }) => gone !== undefined);
  return !lives && (left || isWhole) ? stale(`no running network of libvirt's has ${subnet}`) : undefined;
}

const stale = (why: string): NftClaim => ({ owner: 'libvirt', evidence: `stale: ${why}`, stale: true });

function usersClaim(
  place: Standing,
  claims: readonly ClaimedNftRule[],
  networks: readonly Network[] | undefined,
): NftClaim {
  const above = hiddenBy(place, claims, networks ?? []);
  if (above === undefined)
    return { owner: 'user', evidence: "not libvirt's; libvirt's next rewrite puts its own rules above it" };
  const { chain, rule } = above;
  const evidence = `dead behind ${chain}: ${canonicalRule(rule.text)} (handle ${rule.handle})`;
  return { owner: 'user', evidence, hiddenBy: { chain, rule } };
}
