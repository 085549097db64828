// libvirt's own chains: all there, reached by packets, and each rule once. Pure.
// `iptables -F` and a SIGHUP leave them filled with nothing that jumps to them: `iptables -S | grep virbr` looks healthy, and
// nothing is enforced (measured, 9.0 and 11.3). So it is reachability that counts.

import type { Classified } from '../classify/classify.ts';
import { type Drift, duplicateDrift, lossDrift, staleOf } from '../merge/drift.ts';
import { libvirtReference } from '../merge/libvirt-reference.ts';
import { duplicatesOf, lossesOf } from '../merge/repair.ts';
import { isLibvirts } from '../owners/index.ts';
import type { Network } from '../ruleset/network.ts';
import type { NeighbourPart } from '../ruleset/user-part.ts';
import { tablesOf, unreachable } from './chains.ts';
import { type Check, counted, fail, type Facts, type Finding, judged, MEND, type Rules, warn } from './types.ts';

const RESTART = 'systemctl restart libvirtd';

export const libvirtChains: Check = {
  id: 'libvirt-chains',
  judge: (facts) => {
    if (facts.libvirtNative.kind === 'unread') return judged(facts.libvirtNative, '', () => []);
    const native = facts.libvirtNative.value.filter(isLoss);
    return judged(facts.rules, fineText(facts), (rules) => [
      ...unhookedFindings(facts, rules),
      ...lossFindings(facts, [...rules.families.flatMap((each) => lossesIn(each, rules.networks)), ...native]),
    ]);
  },
};

const isLoss = ({ kind, owner }: Drift): boolean =>
  isLibvirts(owner) && (kind === 'foreign-lost' || kind === 'foreign-unhooked');

function fineText({ rules }: Facts): string {
  const running = rules.kind === 'read' ? rules.value.networks.filter(({ active }) => active).length : 0;
  return running === 0
    ? 'no network of libvirt’s runs'
    : `${counted(running, 'network')} of libvirt’s, all rules reached`;
}

function lossesIn(live: Classified, networks: readonly Network[]): Drift[] {
  const { family } = live.ruleset;
  return lossDrift(family, lossesOf(libvirtReference(family, networks, live), live));
}

/** Filled, and no packet comes there. */
function unhookedFindings(facts: Facts, { families }: Rules): Finding[] {
  return tablesOf(families).flatMap(({ family, table }) => {
    const lone = [...unreachable(table)].filter((name) => isLibvirts(table.chains.get(name)?.claim.owner));
    if (lone.length === 0) return [];
    return [
      fail(
        `${family} ${table.name}: ${lone.join(', ')} filled but not referenced: nothing in them counts`,
        cure(facts),
      ),
    ];
  });
}

function lossFindings(facts: Facts, losses: readonly Drift[]): Finding[] {
  const lost = losses.filter(({ kind }) => kind === 'foreign-lost');
  return [...groupedBy(lost, ({ family, table }) => `${family} ${table}`)].map(([place, each]) => {
    const first = each[0]?.text || `chain ${each[0]?.chain ?? ''}`;
    const many = each.length === 1 ? '' : ` and ${each.length - 1} more`;
    return fail(`${place}: libvirt’s network runs without ${first}${many}`, cure(facts));
  });
}

/** Without a snapshot mendwall does not know what is the user's, so libvirt has to do it. */
function cure({ own }: Facts): string {
  return own.kind === 'read' && own.value.snapshot !== undefined ? MEND : RESTART;
}

/** Copies that an old dump brought back, and copies too many: they outlive their network. */
export const libvirtStale: Check = {
  id: 'libvirt-stale',
  judge: ({ rules, libvirtNative }) =>
    judged(rules, 'each rule of libvirt’s stands once, and for a network that runs', ({ families }) => {
      const native = libvirtNative.kind === 'read' ? libvirtNative.value : [];
      const found = [...families.flatMap(copiesIn), ...native.filter(({ kind }) => kind === 'stale')];
      return [...groupedBy(found, ({ family, table }) => `${family} ${table}`)].map(([place, each]) => {
        const [first] = each as [Drift];
        const more = each.length === 1 ? '' : ` and ${each.length - 1} more`;
        const deletions = each.map(({ family, table, text }) => deletionOf(family, table, text));
        const once = deletions.filter((line, at) => line !== RESTART || deletions.indexOf(line) === at);
        return warn(`${place}: ${first.text} (${first.evidence})${more}`, once.join('; '));
      });
    }),
};

function copiesIn(live: Classified): Drift[] {
  const { family } = live.ruleset;
  const none: NeighbourPart = { family, tables: new Map() };
  return [...staleOf(live), ...duplicateDrift(family, duplicatesOf(none, live))];
}

/** libvirt's native tables are libvirt's alone to write. */
function deletionOf(family: string, table: string, text: string): string {
  if (table === 'libvirt_network' || !text.startsWith('-A ')) return RESTART;
  return `${family === 'ip' ? 'iptables' : 'ip6tables'} -t ${table} -D${text.slice(2)}`;
}

export function groupedBy<T>(all: readonly T[], keyOf: (each: T) => string): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>();
  for (const each of all) groups.set(keyOf(each), [...(groups.get(keyOf(each)) ?? []), each]);
  return groups;
}
