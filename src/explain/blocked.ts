// What libvirt lets through and another base chain stops: for every network and kind of its traffic, each base chain in
// the way, its rule or policy that decides, and the rule that would open it.
//
// Guarantees: all base chains in the way are named, not only the first (a drop in any of them is final: opening one does
// not help while another is closed). `certain` is false where something that is not known decides.
// Does not: judge (isolating guests may be meant), look at bridge tables (nwfilter, ebtables), or at guests one by one:
// each kind of traffic is one example packet, of some guest with some host outside. Pure.

import type { Classified } from '../classify/classify.ts';
import type { Network } from '../ruleset/network.ts';
import type { OwnerId } from '../ruleset/user-part.ts';
import type { Ending, Explanation } from './explanation.ts';
import { guestTraffic, type GuestTraffic, type TrafficKind } from './guest-traffic.ts';
import { ownerAt } from './owner.ts';
import { openingIn, type Opening } from './opening.ts';
import type { PacketSpec } from './packet.ts';
import { explain, type HostView, type Journey } from './path.ts';
import type { BaseChain, Place, Program } from './program.ts';

export interface Blocked {
  readonly network: string;
  readonly kind: TrafficKind;
  readonly journey: Journey;
  readonly packet: PacketSpec;
  readonly stop: 'drop' | 'reject';
  /** False when it depends on something that is not known. */
  readonly certain: boolean;
  readonly baseChain: Pick<BaseChain, 'engine' | 'family' | 'table' | 'type' | 'hook' | 'priority' | 'policy'> & {
    readonly chain: string;
  };
  /** The deciding rule; without `index` and `text`: the base chain's policy. */
  readonly decidedBy: Place;
  /** Whose the deciding rule is, where an owner claims it. A policy has no owner. */
  readonly owner: OwnerId | undefined;
  readonly opening: Opening;
  readonly onlyIf?: 'br_netfilter';
}

export interface BlockedQuestion {
  readonly program: Program;
  readonly networks: readonly Network[];
  /** For the owners of iptables rules. */
  readonly classified?: readonly Classified[];
  /** The interface of the default route, for networks that name none; unknown when left out. */
  readonly uplink?: string;
  readonly host?: HostView;
  /** False: bridged frames see no rules (br_netfilter is not loaded, or its sysctls are 0). Unknown when left out. */
  readonly bridgeNetfilter?: boolean;
}

/** Every base chain that stops what libvirt lets through, network by network. Empty: nothing is in the way. */
export function findBlocked(question: BlockedQuestion): readonly Blocked[] {
  return question.networks.flatMap((network) =>
    guestTraffic(network, question.uplink)
      .filter(({ onlyIf }) => onlyIf === undefined || question.bridgeNetfilter !== false)
      .flatMap((traffic) => blockers(question, traffic)),
  );
}

/** Asks again without the chains found, until nothing stops the packet. */
function blockers(question: BlockedQuestion, traffic: GuestTraffic): Blocked[] {
  const found: Blocked[] = [];
  let { baseChains } = question.program;
  for (;;) {
    const program: Program = { ...question.program, baseChains };
    const explanation = explain(program, { packet: traffic.packet, journey: traffic.journey }, question.host);
    const stoppers = baseChains.filter((base) => explanation.endings.some((ending) => stops(base, ending)));
    if (stoppers.length === 0) return found;
    for (const base of stoppers) found.push(blockedBy(question, traffic, base, explanation));
    baseChains = baseChains.filter((base) => !stoppers.includes(base));
  }
}

/** Tables are told by name; two base chains of one table by their hook and the chain the ending left by. */
function stops(base: BaseChain, { kind, hook, place }: Ending): boolean {
  return kind !== 'accept' && base.hook === hook && isIn(base, place);
}

function isIn(base: BaseChain, { engine, family, table, base: from }: Place): boolean {
  return base.engine === engine && base.family === family && base.table === table && base.chain.name === from;
}

function blockedBy(
  { classified }: BlockedQuestion,
  { network, kind, journey, packet, needs, onlyIf }: GuestTraffic,
  base: BaseChain,
  { endings, verdict }: Explanation,
): Blocked {
  const mine = endings.filter((ending) => isIn(base, ending.place) && ending.hook === base.hook);
  const ending = mine.find((each) => each.kind !== 'accept') as Ending;
  const { engine, family, table, type, hook, priority, policy } = base;
  return {
    network,
    kind,
    journey,
    packet,
    stop: ending.kind === 'reject' ? 'reject' : 'drop',
    certain: verdict !== 'depends' && mine.every((each) => each.kind !== 'accept'),
    baseChain: { engine, family, table, type, hook, priority, policy, chain: base.chain.name },
    decidedBy: ending.place,
    owner: ownerAt(classified ?? [], ending.place),
    opening: openingIn(base, needs),
    ...(onlyIf !== undefined && { onlyIf }),
  };
}
