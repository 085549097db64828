// Which rules mendwall itself keeps so that what libvirt lets through gets through (`[libvirt] open_guests`), and where.
//
// Guarantees: only what `findBlocked` names for certain is opened, and only against a catch-all: a policy, or a drop or reject
// that asks for nothing but devices. Whatever the user closes for a guest, a network, a port stays closed: each opening stands
// directly above what it opens, below all of the user's other rules, and none is made where one of these stands below.
// Does not: open a neighbour's chain, or the user's catch-all above libvirt's own rules in one chain: there an accept would
// also go round what libvirt refuses, and the order is the snapshot's to say. Pure.

import { openingMark } from '../owners/mendwall.ts';
import { isLibvirts } from '../owners/index.ts';
import type { Classified } from '../classify/classify.ts';
import type { Network } from '../ruleset/network.ts';
import { USER } from '../ruleset/user-part.ts';
import { type Blocked, type BlockedQuestion, findBlocked } from './blocked.ts';
import type { Predicate } from './expression.ts';
import { compileContext } from './facts.ts';
import { compileIptablesRule } from './iptables-rule.ts';
import { ownerAt } from './owner.ts';
import { compileNftRule } from './nft-rule.ts';
import type { BaseChain, CompiledRule, Place, Program, TableName } from './program.ts';

export interface KeptOpening extends TableName {
  readonly chain: string;
  /** How many rules of the chain stand above it, mendwall's own not counted. */
  readonly at: number;
  /** The rule that it stands directly above; empty: it stands at the end. */
  readonly above: string;
  /** `-A INPUT ... -j ACCEPT`, or `iifname "virbr0" ... accept`, marked. */
  readonly text: string;
}

/** As asked `findBlocked`, of a program without the rules that mendwall keeps. */
export interface OpeningsQuestion extends BlockedQuestion {
  readonly classified: readonly Classified[];
  /** Native tables (`inet filter`) that are the user's, and that nft can write. */
  readonly usersTables: ReadonlySet<string>;
}

/** The openings for what `blocked` names, each once, in the order in which they are to stand. */
export function keptOpenings(question: OpeningsQuestion, blocked: readonly Blocked[]): readonly KeptOpening[] {
  const tried = blocked.flatMap((each) => openingFor(question, each).map((opening) => ({ each, opening })));
  const program = opened(question.program, onlyOnce(tried.map(({ opening }) => opening)));
  // After a goto the chain's end is not asked, and a packet may come with another port than it was sent with.
  const still = new Set(findBlocked({ ...question, program }).map(placeOf));
  return onlyOnce(tried.filter(({ each }) => !still.has(placeOf(each))).map(({ opening }) => opening));
}

function onlyOnce(openings: readonly KeptOpening[]): readonly KeptOpening[] {
  const keyOf = ({ engine, family, table, chain, at, text }: KeptOpening): string =>
    [engine, family, table, chain, at, text].join('\n');
  return [...new Map(openings.map((each) => [keyOf(each), each])).values()];
}

/** What is stopped, and by which base chain. */
const placeOf = ({ network, kind, packet, baseChain: { engine, family, table, chain } }: Blocked): string =>
  [network, kind, packet.family, packet.protocol, packet.src, engine, family, table, chain].join('\n');

function opened({ baseChains, unseen }: Program, openings: readonly KeptOpening[]): Program {
  const within = (base: BaseChain): BaseChain => {
    const mine = openings.filter((each) => isIn(base, each) && each.chain === base.chain.name);
    const ours = (at: number): CompiledRule[] => mine.filter((each) => each.at === at).map(compiled);
    const { rules } = base.chain;
    const all = [...rules.flatMap((rule, at) => [...ours(at), rule]), ...ours(rules.length)];
    return mine.length === 0 ? base : { ...base, chain: { ...base.chain, rules: all } };
  };
  return { baseChains: baseChains.map(within), unseen };
}

const isIn = (base: TableName, { engine, family, table }: TableName): boolean =>
  base.engine === engine && base.family === family && base.table === table;

const compiled = ({ engine, family, text }: KeptOpening): CompiledRule =>
  engine === 'iptables'
    ? compileIptablesRule(text, compileContext(family === 'ip6' ? 'ip6' : 'ip'))
    : compileNftRule(text, { localAddresses: undefined, sets: new Map(), maps: new Map() });

/** In other hooks a rule cannot ask for both devices. */
const HOOKS = new Set(['input', 'forward', 'output']);
/** Before it (NF_IP_PRI_CONNTRACK) no packet is an answer to another. */
const CONNTRACK = -200;

function openingFor(question: OpeningsQuestion, blocked: Blocked): KeptOpening[] {
  const { program, networks } = question;
  const { certain, baseChain, decidedBy } = blocked;
  const base = program.baseChains.find((each) => each.hook === baseChain.hook && isOf(each, decidedBy));
  const network = networks.find(({ name }) => name === blocked.network);
  if (!certain || base === undefined || network === undefined) return [];
  if (!filtersFlows(base) || !isUsers(question, base, decidedBy)) return [];
  if (!isLastWord(question, base, decidedBy)) return [];
  const { engine, family, table } = base;
  const { name: chain, rules } = base.chain;
  const at = aboveLogs(rules, decidedBy.index ?? rules.length);
  const text = ruleOf(blocked, openingMark(network));
  return [{ engine, family, table, chain, at, above: rules[at]?.text ?? '', text }];
}

const filtersFlows = ({ type, hook, priority }: BaseChain): boolean =>
  type === 'filter' && HOOKS.has(hook) && priority > CONNTRACK;

const isOf = (base: BaseChain, place: Place): boolean =>
  isIn(base, place) && base.chain.name === place.base && place.chain === place.base;

/** Built-in chains are the user's, their policies too; a rule in them is its owner's. */
function isUsers({ classified, usersTables }: OpeningsQuestion, base: BaseChain, place: Place): boolean {
  if (base.engine === 'nft') return usersTables.has(`${base.family} ${base.table}`);
  return [undefined, USER].includes(ownerAt(classified, place));
}

/** A policy always is. A catch-all is where nothing below it would have its say, if it were not for the catch-all. */
function isLastWord({ classified, networks }: OpeningsQuestion, base: BaseChain, place: Place): boolean {
  const { index } = place;
  const { rules } = base.chain;
  if (index === undefined) return true;
  if (!isCatchAll(rules[index] as CompiledRule, networks)) return false;
  return rules.slice(index + 1).every((rule, below) => {
    const owner = ownerAt(classified, { ...place, index: index + 1 + below, text: rule.text });
    if (isLibvirts(owner)) return false;
    return owner !== undefined && owner !== USER ? true : isHarmless(rule) || isCatchAll(rule, networks);
  });
}

/** It can stop nothing: it accepts, or only counts and logs. */
const isHarmless = ({ steps }: CompiledRule): boolean =>
  steps.every(({ kind }) => kind === 'match' || kind === 'note' || kind === 'accept');

/** A drop or reject for all packets, or all of some devices that are not the guests'. */
function isCatchAll({ steps }: CompiledRule, networks: readonly Network[]): boolean {
  return (
    ['drop', 'reject'].includes(steps.at(-1)?.kind ?? '') &&
    steps
      .slice(0, -1)
      .every((step) => step.kind === 'note' || (step.kind === 'match' && asksForDevices(step.test, networks)))
  );
}

function asksForDevices(test: Predicate, networks: readonly Network[]): boolean {
  switch (test.kind) {
    case 'always':
      return true;
    case 'not':
      return asksForDevices(test.of, networks);
    case 'all':
    case 'any':
      return test.of.every((each) => asksForDevices(each, networks));
    case 'name':
      return isDevice(test.field) && !networks.some(({ bridge }) => bridge !== undefined && names(test, bridge));
    default:
      return false;
  }
}

const isDevice = (field: string): boolean => field === 'iif' || field === 'oif';

const names = ({ name, prefix }: { readonly name: string; readonly prefix: boolean }, bridge: string): boolean =>
  prefix ? bridge.startsWith(name) : bridge === name;

/** What is opened is not what these log. */
const LOGS = new Set(['LOG', 'NFLOG', 'ULOG', 'log', 'counter']);

/** The LOG rules directly above belong to what stops the rest. */
function aboveLogs(rules: readonly CompiledRule[], stop: number): number {
  let at = stop;
  while (at > 0 && isLog(rules[at - 1] as CompiledRule)) at--;
  return at;
}

const isLog = ({ steps }: CompiledRule): boolean =>
  steps.every((step) => step.kind === 'match' || (step.kind === 'note' && LOGS.has(step.what)));

/** The opening with its mark, in the base chain itself: it stands above what decides, so nothing goes by it. */
function ruleOf({ opening, baseChain }: Blocked, mark: string): string {
  if (opening.engine === 'nft') return `${opening.rule} comment "${mark}"`;
  const matches = opening.rule.slice(`-A ${opening.chain} `.length, -' -j ACCEPT'.length);
  return `-A ${baseChain.chain} ${matches} -m comment --comment "${mark}" -j ACCEPT`;
}
