// `blocked` for `status`: what libvirt lets through and another base chain stops, native tables included; and port forwards that
// libvirt itself refuses. No pass looks for it: it is no deviation from the snapshot, only something the admin may not know.
// Guarantee: nothing is reported that depends on something unknown. Writes nothing.

import { findBlocked, type Blocked } from '../explain/blocked.ts';
import { targetText } from '../explain/forward-ways.ts';
import { type RefusedForward, refusedForwards } from '../explain/forwards.ts';
import { seatOf } from '../explain/steps.ts';
import type { Classified } from '../classify/classify.ts';
import type { Host } from '../host/host.ts';
import { type Drift, isNative } from '../merge/drift.ts';
import { readLibvirtTables } from '../observe/libvirt-tables.ts';
import { guestQuestion } from '../pass/guest-question.ts';
import type { SeenRulesets } from './hand.ts';

/** `text`: the rule or policy that stops it. */
export interface BlockedDrift extends Drift {
  readonly kind: 'blocked';
  /**
   * One command that opens this chain for this traffic: `nft insert rule inet filter input ... accept`. Of a port forward that
   * libvirt refuses: the forwarder that takes its place.
   */
  readonly opening: string;
  /** Of a port forward: all that works, as text to type. */
  readonly ways?: readonly string[];
}

/** Empty where no network of libvirt's runs, or where not all rules can be read. */
export async function blockedNow(
  host: Host,
  live: SeenRulesets,
  drift: Promise<readonly Drift[]>,
): Promise<readonly BlockedDrift[]> {
  const question = await guestQuestion(host, live);
  const said = await drift;
  if (question === undefined) return [];
  const { program, networks, classified, uplink, native } = question;
  const found = findBlocked(question);
  const tables = await readLibvirtTables(host, native);
  const refused = refusedForwards({
    program,
    networks,
    classified,
    tables: tables.kind === 'tables' ? tables.tables : [],
    ...(uplink !== undefined && { uplink }),
  });
  return onlyOnce([
    ...found.filter((each) => each.certain && !isOwnLoss(each, said)).map((each) => driftOf(each, classified)),
    ...refused.map(forwardDrift),
  ]);
}

/** About libvirt's reject; the DNAT rule itself does what it says. */
function forwardDrift(forward: RefusedForward): BlockedDrift {
  const { rule, reject, ways, network, family } = forward;
  const place = `${rule.family} ${rule.table} ${rule.chain}`;
  const handle = reject.handle === undefined ? '' : ` (handle ${reject.handle})`;
  const choices = ways.map((way, index) => `(${index + 1}) ${way}`).join('; ');
  return {
    kind: 'blocked',
    family,
    table: `${family} libvirt_network`,
    chain: reject.chain,
    text: reject.text,
    owner: 'libvirt',
    evidence: `network ${network.name}: this reject${handle} refuses the port forward to ${targetText(forward)} of ${place}: ${rule.text}; an accept elsewhere does not help; what works: ${choices}`,
    opening: ways[0] ?? '',
    ways,
  };
}

/** Where libvirt's own rules are gone or displaced, that is what is wrong, and is said already. */
function isOwnLoss({ baseChain, packet }: Blocked, drift: readonly Drift[]): boolean {
  const isSaid = ({ kind, family, owner, table }: Drift): boolean =>
    family === packet.family &&
    !isNative({ family, table }) &&
    (kind === 'displaced' || ((kind === 'foreign-lost' || kind === 'foreign-unhooked') && owner === 'libvirt'));
  return baseChain.engine === 'iptables' && drift.some(isSaid);
}

const TRAFFIC: Readonly<Record<Blocked['kind'], string>> = {
  dhcp: "guests' DHCP to the host",
  'dhcp-reply': "the host's DHCP answers to guests",
  dns: "guests' DNS to the host",
  'dns-reply': "the host's DNS answers to guests",
  out: 'guests to the outside',
  back: 'answers from outside to guests',
  in: 'the outside to guests',
  guests: 'guest to guest',
};

function driftOf(blocked: Blocked, classified: readonly Classified[]): BlockedDrift {
  const { network, kind, packet, stop, baseChain, decidedBy, opening } = blocked;
  const { text, owner } = seatOf(decidedBy, baseChain.policy, classified);
  const { engine, family, table } = baseChain;
  const traffic = packet.protocol === 'tcp' && kind === 'dns' ? `${TRAFFIC.dns} over TCP` : TRAFFIC[kind];
  return {
    kind: 'blocked',
    family: packet.family,
    table: engine === 'nft' ? `${family} ${table}` : table,
    chain: decidedBy.chain,
    text,
    owner: owner ?? 'unknown',
    evidence: `network ${network}: ${stop === 'drop' ? 'drops' : 'rejects'} ${traffic}; opened by: ${opening.command}`,
    opening: opening.command,
  };
}

function onlyOnce(drift: readonly BlockedDrift[]): BlockedDrift[] {
  return [...new Map(drift.map((each) => [`${each.family} ${each.chain} ${each.evidence}`, each])).values()];
}
