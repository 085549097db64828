// One packet through one hook: every base chain there, of every engine, in the kernel's order.
//
// What the kernel does, and this follows:
// - Chains run by priority. An accept ends its own base chain only; a drop or reject is final.
// - Among equal priorities the chain registered last runs first (net/netfilter/core.c, nf_hook_entries_grow). Texts do
//   not say who that was between engines, so where it decides between drop and reject, the answer depends.
// - Conntrack looks at a packet at priority -200: rules before it see no state ("invalid").
// - nat chains do not run at their own priority: one dispatcher at -100 (prerouting, output) or 100 (input, postrouting)
//   runs them all, sorted by it, until one translates; and only for a flow's first packet (nf_nat_core.c, nf_nat_inet_fn).
// Does not: ask a program in a queue, an IPsec policy, a flow table or a socket. Pure.

import type { Ending } from './explanation.ts';
import { commonPacket, type Packet } from './packet.ts';
import type { BaseChain, Hook, Program } from './program.ts';
import { CT_STATES, ICMP, ICMPV6 } from './protocols.ts';
import { rewriteKnown, type AddressOf } from './translate.ts';
import { walkBaseChain, type Flow, type Gathered } from './walk-chain.ts';

const CONNTRACK = -200;
const NAT_DESTINATION = -100;
const NAT_SOURCE = 100;

/** The packet as it goes on behind the hook; undefined when no way leads there. All else is in `gathered`. */
export function walkHook(
  program: Program,
  hook: Hook,
  flow: Flow,
  gathered: Gathered,
  addressOf: AddressOf,
): Flow | undefined {
  const chains = program.baseChains.filter((base) => sees(base, hook, flow.packet));
  const untouched = startsTracking(hook) && flow.packet.looped !== true;
  let now: Flow | undefined = untouched ? beforeConntrack(flow) : flow;
  for (const stage of stagesOf(hook, chains)) {
    if (now === undefined) return undefined;
    if (stage.kind === 'conntrack')
      now = { ...now, packet: { ...now.packet, ...trackedFields(flow.packet, now.packet) } };
    else if (stage.kind === 'nat') now = walkNat(stage.chains, hook, now, gathered, addressOf);
    else now = walkEqual(stage.chains, now, gathered, addressOf);
  }
  return now;
}

const startsTracking = (hook: Hook): boolean => hook === 'prerouting' || hook === 'output';

function sees(base: BaseChain, hook: Hook, packet: Packet): boolean {
  if (base.hook !== hook) return false;
  if (hook === 'ingress') {
    return packet.iif === undefined || base.devices === undefined || base.devices.includes(packet.iif);
  }
  return base.family === packet.family || base.family === 'inet';
}

type Stage =
  | { readonly kind: 'conntrack'; readonly priority: number }
  | { readonly kind: 'nat' | 'chains'; readonly priority: number; readonly chains: readonly BaseChain[] };

/** Chains of one priority form one stage. */
function stagesOf(hook: Hook, chains: readonly BaseChain[]): readonly Stage[] {
  const byPriority = new Map<number, BaseChain[]>();
  // In a listing the later chain was made later, so it runs first.
  for (const base of chains.filter(({ type }) => type !== 'nat').reverse())
    byPriority.set(base.priority, [...(byPriority.get(base.priority) ?? []), base]);
  const stages: Stage[] = [...byPriority].map(([priority, equal]) => ({ kind: 'chains', priority, chains: equal }));
  if (startsTracking(hook)) stages.push({ kind: 'conntrack', priority: CONNTRACK });
  if (hook !== 'forward' && hook !== 'ingress') {
    const nat = chains.filter(({ type }) => type === 'nat').reverse();
    const priority = startsTracking(hook) ? NAT_DESTINATION : NAT_SOURCE;
    stages.push({ kind: 'nat', priority, chains: nat.sort((a, b) => a.priority - b.priority) });
  }
  return stages.sort((a, b) => a.priority - b.priority);
}

// ---- conntrack

function beforeConntrack({ packet, certain }: Flow): Flow {
  return { certain, packet: { ...packet, ctState: CT_STATES['invalid'], ctStatus: 0, ctMark: 0 } };
}

/** What the conntrack entry says from here on, unless a rule said notrack. */
function trackedFields(entry: Packet, now: Packet): Partial<Packet> {
  const untracked = CT_STATES['untracked'];
  if (now.flowState === untracked) return { ctState: untracked, ctStatus: 0, ctMark: 0 };
  // A notrack that may have been: neither is known.
  if (now.flowState === undefined && entry.flowState !== undefined) return { ctState: undefined, ctStatus: undefined };
  return { ctState: entry.flowState, ctStatus: entry.ctStatus, ctMark: entry.ctMark };
}

// ---- chains at one priority

function walkEqual(
  chains: readonly BaseChain[],
  entry: Flow,
  gathered: Gathered,
  addressOf: AddressOf,
): Flow | undefined {
  let now: Flow | undefined = entry;
  for (const [at, base] of chains.entries()) {
    const start = gathered.endings.length;
    walkBaseChain(base, now, gathered, addressOf);
    const before: Flow = now;
    now = passing(gathered.endings.slice(start), now.certain);
    if (now === undefined) {
      noteRivals(chains.slice(at + 1), before, gathered, addressOf);
      return undefined;
    }
  }
  return now;
}

/** Other chains of the same priority that would stop the packet too: they may come first. */
function noteRivals(rivals: readonly BaseChain[], flow: Flow, gathered: Gathered, addressOf: AddressOf): void {
  for (const rival of rivals) {
    const aside: Gathered = { ...gathered, trace: [], endings: [], depends: [] };
    walkBaseChain(rival, { ...flow, certain: false }, aside, addressOf);
    const stops = aside.endings.filter(({ kind }) => kind !== 'accept');
    if (stops.length === 0) continue;
    gathered.endings.push(...stops);
    const place = stops[0]?.place;
    const why = 'it is not known which chain of this priority runs first';
    gathered.depends.push(place === undefined ? { why } : { why, place });
  }
}

function passing(endings: readonly Ending[], certain: boolean): Flow | undefined {
  const passes = endings.filter(({ kind }) => kind === 'accept');
  const [first, ...more] = passes;
  if (first === undefined) return undefined;
  const packet = more.reduce((common, ending) => commonPacket(common, ending.packet), first.packet);
  return { packet, certain: certain && passes.length === endings.length };
}

// ---- nat

/** Whether nat chains are asked. RELATED: not for ICMP errors, which are translated like the flow they speak of. */
function isAsked({ ctState, protocol, looped }: Packet): boolean | undefined {
  if (looped === true) return false;
  if (ctState === undefined) return undefined;
  if (ctState === CT_STATES['new']) return true;
  if (ctState !== CT_STATES['related'] || protocol === ICMP || protocol === ICMPV6) return false;
  return undefined;
}

function walkNat(
  chains: readonly BaseChain[],
  hook: Hook,
  entry: Flow,
  gathered: Gathered,
  addressOf: AddressOf,
): Flow | undefined {
  const asked = isAsked(entry.packet);
  const aside: Flow = { ...entry, packet: rewriteKnown(entry.packet, hook) };
  if (asked === false || chains.length === 0) return aside;
  const start = gathered.endings.length;
  const after = walkNatChains(chains, asked ? entry : { ...entry, certain: false }, gathered, addressOf);
  if (asked) return after;
  const matters = gathered.endings.slice(start).some(({ kind, translated }) => kind !== 'accept' || translated);
  if (matters) gathered.depends.push({ why: 'it is not known whether this is the first packet of its flow' });
  return after === undefined ? aside : { packet: commonPacket(aside.packet, after.packet), certain: false };
}

function walkNatChains(
  chains: readonly BaseChain[],
  entry: Flow,
  gathered: Gathered,
  addressOf: AddressOf,
): Flow | undefined {
  const translated: Ending[] = [];
  let now: Flow | undefined = entry;
  for (const base of chains) {
    if (now === undefined) break;
    const start = gathered.endings.length;
    walkBaseChain(base, now, gathered, addressOf);
    const endings: readonly Ending[] = gathered.endings.slice(start);
    const others = endings.filter((ending) => ending.translated !== true);
    translated.push(...endings.filter((ending) => ending.translated === true));
    now = passing(others, now.certain && others.length === endings.length);
  }
  const done = passing(translated, entry.certain);
  if (now === undefined || done === undefined) return now ?? done;
  return { packet: commonPacket(now.packet, done.packet), certain: false };
}
