// One packet through one base chain: rules, jumps, policy.
//
// Guarantees: where a match depends, both ways are followed; what differs between them afterwards is unknown, so the
// cost stays linear in the rules visited. Jumps nest as deep as the kernel allows; a loop, a missing chain or a budget
// that is used up is a dependency, never an endless walk.
// Does not: remember across rules how an unknown match was answered. Pure.

import { holds, TRACKED } from './expression.ts';
import type { Dependency, Ending, Visit } from './explanation.ts';
import { commonPacket, type Packet } from './packet.ts';
import type { Action, BaseChain, Case, CompiledChain, CompiledRule, Place } from './program.ts';
import { setField, translate, type AddressOf } from './translate.ts';

/** NFT_JUMP_STACK_SIZE (include/net/netfilter/nf_tables.h); the legacy engine allows as many as there are chains. */
const MAX_DEPTH = 128;
const MAX_VISITS = 1_000_000;

/** What one evaluation gathers; the walk functions append to it. */
export interface Gathered {
  readonly trace: Visit[];
  readonly endings: Ending[];
  readonly depends: Dependency[];
  rulesLeft: number;
}

export const gather = (): Gathered => ({ trace: [], endings: [], depends: [], rulesLeft: MAX_VISITS });

/** A packet somewhere; not `certain` when some possible way has left before. */
export interface Flow {
  readonly packet: Packet;
  readonly certain: boolean;
}

interface Scope {
  readonly base: BaseChain;
  readonly gathered: Gathered;
  readonly addressOf: AddressOf;
  /** The chains the packet is in, outermost first. */
  readonly stack: string[];
}

/** Where a rule sends its packet: to the next rule, back to the calling chain; an ending is in `gathered`. */
interface Ways {
  readonly stay?: Flow | undefined;
  readonly leave?: Flow | undefined;
}

/** Walks a base chain. Every way out of it, the policy included, is appended to `gathered.endings`. */
export function walkBaseChain(base: BaseChain, flow: Flow, gathered: Gathered, addressOf: AddressOf): void {
  const scope: Scope = { base, gathered, addressOf, stack: [base.chain.name] };
  const end = walkChain(scope, base.chain, flow, 0);
  if (end === undefined) return;
  const place = placeOf(scope, base.chain);
  gathered.endings.push({ hook: base.hook, kind: base.policy, place, certain: end.certain, packet: end.packet });
}

/** The packet behind the chain's last rule, or returned from it; undefined when no way leads there. */
function walkChain(scope: Scope, chain: CompiledChain, entry: Flow, depth: number): Flow | undefined {
  const { gathered } = scope;
  const endingsBefore = gathered.endings.length;
  let returned: Flow | undefined;
  let flow: Flow | undefined = entry;
  for (let index = 0; index < chain.rules.length && flow !== undefined; index++) {
    if (gathered.rulesLeft-- <= 0) {
      endAnyhow(scope, placeOf(scope, chain), flow, ['the rules jump to and fro without end']);
      break;
    }
    const ways: Ways = runRule(scope, chain, index, flow, depth);
    returned = either(returned, ways.leave);
    flow = ways.stay;
  }
  const end = either(flow, returned);
  // Nothing ended inside: all ways meet here again.
  return end !== undefined && gathered.endings.length === endingsBefore ? { ...end, certain: entry.certain } : end;
}

function either(a: Flow | undefined, b: Flow | undefined): Flow | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return { packet: commonPacket(a.packet, b.packet), certain: false };
}

function runRule(scope: Scope, chain: CompiledChain, index: number, entry: Flow, depth: number): Ways {
  const rule = chain.rules[index] as CompiledRule;
  if (rule.someGuard?.((guard) => holds(guard, entry.packet) === false) === true) return { stay: entry };
  const { gathered } = scope;
  const endingsBefore = gathered.endings.length;
  const whys: string[] = [];
  let flow = entry;
  let ways: Ways = {};
  let place: Place | undefined;
  const visit = (): Place => {
    if (place !== undefined) return place;
    place = placeOf(scope, chain, index);
    gathered.trace.push({ hook: scope.base.hook, place, certain: flow.certain });
    return place;
  };
  for (const step of rule.steps) {
    if (step.kind === 'match') {
      const truth = holds(step.test, flow.packet);
      if (truth === true) continue;
      ways = meet(ways, { stay: flow });
      if (truth === false) return settle(scope, chain, index, entry, ways, whys, endingsBefore);
      whys.push(...truth);
      flow = { packet: flow.packet, certain: false };
    } else if (step.kind === 'choose') {
      ways = meet(ways, runCases(scope, step.cases, flow, visit, whys, depth));
      return settle(scope, chain, index, entry, ways, whys, endingsBefore);
    } else {
      const done = runAction(scope, step, flow, visit, depth);
      if (done.kind === 'left') return settle(scope, chain, index, entry, meet(ways, done.ways), whys, endingsBefore);
      flow = done.flow;
    }
  }
  visit();
  return settle(scope, chain, index, entry, meet(ways, { stay: flow }), whys, endingsBefore);
}

const meet = (a: Ways, b: Ways): Ways => ({ stay: either(a.stay, b.stay), leave: either(a.leave, b.leave) });

/** After a rule: its doubts count only where they made a difference; without one, the packet is as certain as before. */
function settle(
  scope: Scope,
  chain: CompiledChain,
  index: number,
  entry: Flow,
  ways: Ways,
  whys: readonly string[],
  endingsBefore: number,
): Ways {
  const { gathered } = scope;
  const ended = gathered.endings.length > endingsBefore;
  const differs = ended || ways.leave !== undefined || (ways.stay !== undefined && ways.stay.packet !== entry.packet);
  if (whys.length > 0 && differs) {
    const place = placeOf(scope, chain, index);
    for (const why of whys) gathered.depends.push({ why, place });
  }
  if (ended) return whys.length > 0 ? uncertain(ways) : ways;
  if (ways.leave !== undefined && ways.stay !== undefined) return uncertain(ways);
  // Nothing came of the rule's doubts: the packet is here as surely as before.
  const only = ways.stay ?? ways.leave;
  if (only === undefined || only.certain === entry.certain) return ways;
  const flow = { packet: only.packet, certain: entry.certain };
  return ways.stay === undefined ? { leave: flow } : { stay: flow };
}

function uncertain({ stay, leave }: Ways): Ways {
  return { stay: stay && { ...stay, certain: false }, leave: leave && { ...leave, certain: false } };
}

function runCases(
  scope: Scope,
  cases: readonly Case[],
  entry: Flow,
  visit: () => Place,
  whys: string[],
  depth: number,
): Ways {
  let flow = entry;
  let ways: Ways = {};
  for (const { test, action } of cases) {
    const truth = holds(test, flow.packet);
    if (truth === false) continue;
    if (truth !== true) {
      whys.push(...truth);
      flow = { packet: flow.packet, certain: false };
    }
    const done = runAction(scope, action, flow, visit, depth);
    visit();
    ways = meet(ways, done.kind === 'left' ? done.ways : { stay: done.flow });
    if (truth === true) return ways;
  }
  return meet(ways, { stay: flow });
}

type Done = { readonly kind: 'left'; readonly ways: Ways } | { readonly kind: 'next'; readonly flow: Flow };

function runAction(scope: Scope, action: Action, flow: Flow, visit: () => Place, depth: number): Done {
  switch (action.kind) {
    case 'note':
      return { kind: 'next', flow };
    case 'set':
      return { kind: 'next', flow: { ...flow, packet: setField(flow.packet, action) } };
    case 'notrack':
      return { kind: 'next', flow: { ...flow, packet: untracked(flow.packet) } };
    case 'continue':
      visit();
      return { kind: 'left', ways: { stay: flow } };
    case 'return':
      visit();
      return { kind: 'left', ways: { leave: flow } };
    case 'unknown':
      return { kind: 'left', ways: { stay: endAnyhow(scope, visit(), flow, [action.why]) } };
    case 'jump':
    case 'goto':
      return { kind: 'left', ways: runJump(scope, action.kind, action.chain, flow, visit(), depth) };
    default:
      end(scope, action, flow, visit());
      return { kind: 'left', ways: {} };
  }
}

function end(
  { base, gathered, addressOf }: Scope,
  action: Extract<Action, { kind: 'accept' | 'drop' | 'reject' | 'translate' }>,
  { packet, certain }: Flow,
  place: Place,
): void {
  const { hook } = base;
  if (action.kind === 'translate') {
    const changed = translate(packet, action, hook, addressOf);
    gathered.endings.push({ hook, kind: 'accept', place, certain, translated: true, packet: changed });
  } else if (action.kind === 'reject') {
    gathered.endings.push({ hook, kind: 'reject', how: action.how, place, certain, packet });
  } else {
    gathered.endings.push({ hook, kind: action.kind, place, certain, packet });
  }
}

/** It may accept, drop or go on; which, nobody can say from here. */
function endAnyhow({ base, gathered }: Scope, place: Place, { packet }: Flow, whys: readonly string[]): Flow {
  for (const kind of ['accept', 'drop'] as const)
    gathered.endings.push({ hook: base.hook, kind, place, certain: false, packet });
  for (const why of whys) gathered.depends.push({ why, place });
  return { packet, certain: false };
}

function runJump(scope: Scope, kind: 'jump' | 'goto', name: string, flow: Flow, place: Place, depth: number): Ways {
  const callee = scope.base.chains.get(name);
  if (callee === undefined) return { stay: endAnyhow(scope, place, flow, [`chain ${name} is not in the ruleset`]) };
  if (depth >= MAX_DEPTH) return { stay: endAnyhow(scope, place, flow, ['the jumps nest too deep']) };
  // The kernel loads no circle; a text may hold one.
  if (scope.stack.includes(name)) return { stay: endAnyhow(scope, place, flow, ['the jumps go in a circle']) };
  scope.stack.push(name);
  const after = walkChain(scope, callee, flow, depth + 1);
  scope.stack.pop();
  return kind === 'jump' ? { stay: after } : { leave: after };
}

const UNTRACKED = 64;

/** A packet that has its conntrack entry keeps it (xt_CT.c, nft_ct.c: "previously seen, ignore"). */
function untracked(packet: Packet): Packet {
  const tracked = holds(TRACKED, packet);
  if (tracked === true) return packet;
  const free: Packet = { ...packet, ctState: UNTRACKED, flowState: UNTRACKED, ctStatus: 0, ctMark: 0 };
  return tracked === false ? free : commonPacket(packet, free);
}

function placeOf({ base }: Scope, chain: CompiledChain, index?: number): Place {
  const { engine, family, table } = base;
  const place = { engine, family, table, chain: chain.name, base: base.chain.name };
  return index === undefined ? place : { ...place, index, text: (chain.rules[index] as CompiledRule).text };
}
