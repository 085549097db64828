// libvirt's nftables table against what libvirt's definitions and its own record say must stand. Pure.
// Goals: name what is gone, for each network, so that libvirt can be asked to rebuild; name what stands too often or for
// nobody, which is mostly libvirt's own doing.
// Guarantees: the order of rules and networks does not matter (libvirt writes in hash order); networks of the iptables backend
// are never missed here. Does not: write, or propose to: libvirt deletes by handle, and a rule put back by text is one too many
// (measured, 11.3). Only libvirt can rebuild it; how: machine/libvirt.ts.

import { type ClaimedNftRule, claimLibvirtTable, isLibvirtNftJump } from '../owners/libvirt-nft.ts';
import {
  expectedNftRules,
  LIBVIRT_CHAINS,
  LIBVIRT_JUMPS,
  LIBVIRT_TABLE,
  nftRuleKey,
} from '../owners/libvirt-nft-rules.ts';
import type { Network, RemovalRecord } from '../ruleset/network.ts';
import { canonicalRule } from '../ruleset/nft/same.ts';
import { chainsOf, type NftTable } from '../ruleset/nft/types.ts';
import { FAMILIES, type Family } from '../ruleset/types.ts';
import type { Drift } from './drift.ts';
import { handleDrift } from './libvirt-nft-handles.ts';

export interface NativeView {
  /** libvirt's tables as `nft -a` lists them; a family without one is not in the kernel. */
  readonly tables: readonly NftTable[];
  readonly networks: readonly Network[] | undefined;
  readonly records: readonly RemovalRecord[];
}

/** What differs, in both families. Empty where libvirt uses the iptables backend and no such table stands. */
export function nativeLibvirtDrift(view: NativeView): Drift[] {
  const claimed = new Map(view.tables.map((table) => [table, claimLibvirtTable(table, view.networks)]));
  const networks = nftNetworks(view, [...claimed.values()].flat());
  return FAMILIES.flatMap((family) => {
    const table = view.tables.find((each) => each.family === family && each.name === LIBVIRT_TABLE);
    const written = networks.filter((network) => expectedIn(network, family).length > 0);
    if (table === undefined) return written.length === 0 ? [] : [tableLost(family, written)];
    const rules = claimed.get(table) ?? [];
    const losses = written.flatMap((network) => networkLoss(network, family, rules));
    const short = new Set(losses.map(({ network }) => network));
    return [
      ...(written.length === 0 ? [] : chainLosses(family, table)),
      ...losses.map(({ drift }) => drift),
      ...copies(family, rules),
      ...stale(family, rules),
      ...hidden(family, rules),
      ...handleDrift(family, rules, view.records, short),
    ];
  });
}

const expectedIn = (network: Network, family: Family): ReturnType<typeof expectedNftRules> =>
  expectedNftRules(network).filter((rule) => rule.family === family);

/**
 * Running networks that libvirt's nftables backend serves. Without a record (libvirt loses it when dns-host is changed) rules
 * in the table tell, or what the other networks have: the backend is one setting.
 */
function nftNetworks({ networks = [], records }: NativeView, rules: readonly ClaimedNftRule[]): readonly Network[] {
  const active = networks.filter((network) => network.active);
  const recorded = (network: Network): Network['backend'] =>
    records.find((record) => record.network === network.name)?.backend ?? network.backend;
  const backends = new Set(active.map(recorded).filter((backend) => backend !== undefined));
  const others = backends.size === 1 ? [...backends][0] : undefined;
  return active.filter((network) => {
    const stands = rules.some(({ claim }) => claim.network === network.name);
    return (recorded(network) ?? (stands ? 'nftables' : others)) === 'nftables';
  });
}

/** `Reloaded` is what libvirt answers by making table, chains and rules anew. */
const REMEDY = "only libvirt can put it back (a restart of libvirtd, or firewalld's Reloaded)";

function driftIn(family: Family, chain: string, rest: Pick<Drift, 'kind' | 'text' | 'evidence' | 'rules'>): Drift {
  return { ...rest, family, table: LIBVIRT_TABLE, chain, owner: 'libvirt' };
}

function tableLost(family: Family, networks: readonly Network[]): Drift {
  const rules = networks.reduce((sum, network) => sum + expectedIn(network, family).length, 0);
  const names = networks.map(({ name }) => name).join(', ');
  const evidence = `the table is gone, with the rules of ${names}; ${REMEDY}`;
  return driftIn(family, '', { kind: 'foreign-lost', text: `table ${family} ${LIBVIRT_TABLE}`, evidence, rules });
}

function chainLosses(family: Family, table: NftTable): Drift[] {
  const chains = new Map(chainsOf(table).map((chain) => [chain.name, chain]));
  const heads = Object.entries(LIBVIRT_CHAINS).flatMap(([name, head]) => {
    const text = head === undefined ? `chain ${name}` : `chain ${name} { ${head} }`;
    const chain = chains.get(name);
    if (chain === undefined)
      return [driftIn(family, name, { kind: 'foreign-lost', text, evidence: `the chain is gone; ${REMEDY}` })];
    const isHooked = head === undefined || head.includes(` hook ${chain.base?.hook} `);
    return isHooked
      ? []
      : [driftIn(family, name, { kind: 'foreign-unhooked', text, evidence: `the chain sees no packet; ${REMEDY}` })];
  });
  const forward = chains.get('forward')?.rules ?? [];
  const jumps = LIBVIRT_JUMPS.filter(
    (target) => !forward.some((rule) => isLibvirtNftJump('forward', rule) && rule.text.endsWith(` jump ${target}`)),
  );
  const lost = jumps.map((target) =>
    driftIn(family, 'forward', {
      kind: 'foreign-unhooked',
      text: `counter jump ${target}`,
      evidence: `nothing jumps to ${target}; ${REMEDY}`,
    }),
  );
  return [...heads, ...lost];
}

interface NetworkLoss {
  readonly network: string;
  readonly drift: Drift;
}

function networkLoss(network: Network, family: Family, rules: readonly ClaimedNftRule[]): NetworkLoss[] {
  const standing = new Set(rules.map(({ chain, rule }) => `${chain} ${nftRuleKey(rule.text)}`));
  const expected = expectedIn(network, family);
  const missing = expected.filter(({ chain, text }) => !standing.has(`${chain} ${nftRuleKey(text)}`));
  const [first] = missing;
  if (first === undefined) return [];
  const evidence = `network ${network.name} lacks ${missing.length} of its ${expected.length} rules; ${REMEDY}`;
  const drift = driftIn(family, first.chain, {
    kind: 'foreign-lost',
    text: first.text,
    evidence,
    rules: missing.length,
  });
  return [{ network: network.name, drift }];
}

/** One for each group of rules that share their evidence. */
function grouped(
  family: Family,
  rules: readonly ClaimedNftRule[],
  say: (evidence: string, group: readonly ClaimedNftRule[]) => string,
): Drift[] {
  const groups = new Map<string, ClaimedNftRule[]>();
  for (const each of rules) groups.set(each.claim.evidence, [...(groups.get(each.claim.evidence) ?? []), each]);
  return [...groups].flatMap(([evidence, group]) =>
    group.slice(0, 1).map(({ chain, rule }) =>
      driftIn(family, chain, {
        kind: 'stale',
        text: canonicalRule(rule.text),
        evidence: say(evidence, group),
        rules: group.length,
      }),
    ),
  );
}

const handlesOf = (group: readonly ClaimedNftRule[]): string => group.map(({ rule }) => rule.handle).join(', ');

function copies(family: Family, rules: readonly ClaimedNftRule[]): Drift[] {
  return grouped(
    family,
    rules.filter(({ claim }) => claim.copy === true),
    (evidence, group) =>
      `${evidence} (${group.length} of them, handles ${handlesOf(group)}): libvirt's own, which wrote again what it had forgotten; harmless`,
  );
}

function stale(family: Family, rules: readonly ClaimedNftRule[]): Drift[] {
  return grouped(
    family,
    rules.filter(({ claim }) => claim.stale === true),
    (evidence, group) =>
      `${evidence}; ${group.length} of them, handles ${handlesOf(group)}: libvirt does not know them; \`nft delete rule ${family} ${LIBVIRT_TABLE} ${group[0]?.chain} handle ${group[0]?.rule.handle}\` takes the first out`,
  );
}

function hidden(family: Family, rules: readonly ClaimedNftRule[]): Drift[] {
  return rules.flatMap(({ chain, rule, claim }) =>
    claim.hiddenBy === undefined
      ? []
      : [
          {
            ...driftIn(family, chain, { kind: 'shadowed', text: canonicalRule(rule.text), evidence: claim.evidence }),
            owner: 'user',
          },
        ],
  );
}
