// Pinned drops: which of the user's rules are held a second time, in tables of mendwall's own at an earlier priority, so that
// no ACCEPT that somebody inserts on top opens them even for one packet.
//
// Guarantees: the copy never drops what the user's rules would not: per base chain it is the run of rules above the first
// foreign one, in order, as far as the wish and the live rules agree, up to the first rule that cannot be copied exactly.
// `accept` and `return` end the copy for that packet, and the user's own chain judges it as ever. Policies are not pinned.
// Does not: translate or commit (apply/pins.ts), or look at other tables than `filter`. Pure.

import type { ClassifiedChain, ClassifiedTable } from '../classify/classify.ts';
import { keepsSlot } from '../owners/index.ts';
import { USER, type UserChain, type UserTable } from '../ruleset/user-part.ts';
import type { Family } from '../ruleset/types.ts';
import { pinFormOf, type PinForm, type PinVerdict } from './pin-forms.ts';

export interface PinRule {
  /** The user's rule. */
  readonly text: string;
  readonly matches: string;
  readonly verdict: PinVerdict;
}

export interface PinChain {
  /** As iptables names it. */
  readonly name: string;
  /** Undefined for a chain of the user's own. */
  readonly hook: PinHook | undefined;
  readonly rules: readonly PinRule[];
}

export type PinHook = 'input' | 'forward' | 'output';

/** What is pinned of one base chain, for people. */
export interface PinnedRun {
  readonly family: Family;
  readonly chain: string;
  /** Rules of the base chain that stand in the copy, and how many of the copied ones drop or reject, those it jumps to counted. */
  readonly rules: number;
  readonly drops: number;
  /** The user's rule at which pinning stopped, and why; undefined when it reached a foreign rule or the chain's end. */
  readonly stopped: { readonly text: string; readonly why: string } | undefined;
}

export interface PinPlan {
  readonly family: Family;
  /** Chains that are jumped to first. Empty: there is nothing to pin. */
  readonly chains: readonly PinChain[];
  readonly runs: readonly PinnedRun[];
}

export interface PinInput {
  readonly family: Family;
  /** The wished `filter` table; undefined: no rules. */
  readonly wish: UserTable | undefined;
  readonly live: ClassifiedTable | undefined;
  /** Rules that iptables did not translate as expected, by text: why. */
  readonly unsaid?: ReadonlyMap<string, string>;
}

const BASES: readonly (readonly [string, PinHook])[] = [
  ['INPUT', 'input'],
  ['FORWARD', 'forward'],
  ['OUTPUT', 'output'],
];

export function planPins(input: PinInput): PinPlan {
  const runs: PinnedRun[] = [];
  const bases: PinChain[] = [];
  const own = new Map<string, PinChain>();
  for (const [name, hook] of BASES) {
    const wished = input.wish?.chains.get(name);
    const live = input.live?.chains.get(name);
    if (wished === undefined || live === undefined) continue;
    const copied = copyRun(input, hook, commonRun(wished, live));
    const rules = withoutTail(copied.rules);
    const jumped = reached(rules, copied.own);
    const drops = [...rules, ...[...jumped.values()].flatMap((chain) => chain.rules)].filter(closes).length;
    const pinned = drops > 0 ? rules : [];
    runs.push({ family: input.family, chain: name, rules: pinned.length, drops, stopped: copied.stopped });
    if (pinned.length === 0) continue;
    bases.push({ name, hook, rules: pinned });
    for (const [key, chain] of jumped) own.set(key, chain);
  }
  return { family: input.family, chains: [...own.values(), ...bases], runs };
}

/** The user's rules above the first slot, as far as they stand so, and above what a neighbour that keeps no slot has on top. */
function commonRun(wished: UserChain, live: ClassifiedChain): string[] {
  const standing = standingRun(live);
  const run: string[] = [];
  for (const item of wished.items) {
    if (item.kind === 'slot' || item.text !== standing[run.length]) break;
    run.push(item.text);
  }
  return run;
}

function standingRun({ chain, claims }: ClassifiedChain): string[] {
  const texts: string[] = [];
  for (const [index, rule] of chain.rules.entries()) {
    const owner = claims[index]?.owner ?? USER;
    if (owner === USER) texts.push(rule.text);
    // Who keeps a slot may have put himself on top since; who keeps none is where he wants to be. So are rules of our own: a
    // drop below the one that opens the chain for guests must not meet them earlier.
    else if (!keepsSlot(owner, chain.name)) break;
  }
  return texts;
}

interface Copied {
  readonly rules: readonly PinRule[];
  readonly own: ReadonlyMap<string, PinChain>;
  readonly stopped: PinnedRun['stopped'];
}

function copyRun(input: PinInput, hook: PinHook, texts: readonly string[]): Copied {
  const rules: PinRule[] = [];
  const own = new Map<string, PinChain>();
  for (const text of texts) {
    const form = formOf(input, hook, text);
    if (form.kind === 'nothing') continue;
    const why = form.kind === 'stop' ? form.why : addJumped(input, hook, form.verdict, own, []);
    if (form.kind === 'stop' || why !== undefined) return { rules, own, stopped: { text, why: why ?? '' } };
    rules.push({ text, matches: form.matches, verdict: form.verdict });
  }
  return { rules, own, stopped: undefined };
}

function formOf({ family, unsaid }: PinInput, hook: PinHook, text: string): PinForm {
  const why = unsaid?.get(text);
  if (why !== undefined) return { kind: 'stop', why };
  const form = pinFormOf(text, family);
  // A chain that several hooks jump to may ask for a device that this hook does not have.
  const device = hook === 'input' ? '-o' : hook === 'output' ? '-i' : undefined;
  const asksForIt = form.kind === 'copy' && device !== undefined && ` ${form.matches} `.includes(` ${device} `);
  return asksForIt ? { kind: 'stop', why: `asks for ${device} in ${hook}` } : form;
}

/** Copies the chain that a rule jumps to, whole; why it cannot be, otherwise. */
function addJumped(
  input: PinInput,
  hook: PinHook,
  verdict: PinVerdict,
  own: Map<string, PinChain>,
  path: readonly string[],
): string | undefined {
  if (verdict.kind !== 'jump' && verdict.kind !== 'goto') return undefined;
  const { chain: name } = verdict;
  if (own.has(name)) return undefined;
  const wished = input.wish?.chains.get(name);
  const live = input.live?.chains.get(name);
  if (wished?.policy !== '-' || live === undefined || path.includes(name))
    return `${name} is not a chain of the user's`;
  if (!/^[\w.-]{1,60}$/.test(name)) return `nft has no way to write the name ${name}`;
  if (!standsAlone(wished, live)) return `not only the user's rules of the snapshot stand in ${name}`;
  const rules: PinRule[] = [];
  for (const { text } of live.chain.rules) {
    const form = formOf(input, hook, text);
    if (form.kind === 'nothing') continue;
    const why = form.kind === 'stop' ? form.why : addJumped(input, hook, form.verdict, own, [...path, name]);
    if (form.kind === 'stop' || why !== undefined) return `${text}: ${why ?? ''}`;
    rules.push({ text, matches: form.matches, verdict: form.verdict });
  }
  own.set(name, { name, hook: undefined, rules });
  return undefined;
}

function standsAlone({ items }: UserChain, { chain, claims }: ClassifiedChain): boolean {
  return (
    items.length === chain.rules.length &&
    items.every((item, at) => item.kind === 'rule' && item.text === chain.rules[at]?.text) &&
    claims.every(({ owner }) => owner === USER)
  );
}

const jumps = ({ verdict }: PinRule): boolean => verdict.kind === 'jump' || verdict.kind === 'goto';
const closes = ({ verdict }: PinRule): boolean => verdict.kind === 'drop' || verdict.kind === 'reject';

/** Behind the last rule that may drop, a copy changes nothing. */
function withoutTail(rules: readonly PinRule[]): readonly PinRule[] {
  return rules.slice(0, rules.findLastIndex((rule) => closes(rule) || jumps(rule)) + 1);
}

/** The chains that these rules lead to, those jumped to first. */
function reached(
  rules: readonly PinRule[],
  own: ReadonlyMap<string, PinChain>,
  found = new Map<string, PinChain>(),
): Map<string, PinChain> {
  for (const { verdict } of rules) {
    const chain = 'chain' in verdict ? own.get(verdict.chain) : undefined;
    if (chain === undefined || found.has(chain.name)) continue;
    reached(chain.rules, own, found);
    found.set(chain.name, chain);
  }
  return found;
}
