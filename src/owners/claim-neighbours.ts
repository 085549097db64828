// The claims of all neighbours that are described by data, in one walk over a table.
// Goals: linear in the rules, however many neighbours there are: chains by name and beginning of name in a hash, jumps by
// their target in a hash, unmarked rules by one search for the telltale words of all.
// Guarantees: what no signature claims is the user's; a jump into an owner's chain is the owner's; in a chain that its owner
// leaves to the user only the owner's own texts are claimed.

import { targetOf, words } from '../ruleset/iptables/lex.ts';
import { countTexts } from '../ruleset/multiset.ts';
import { type Chain, isBuiltin } from '../ruleset/types.ts';
import type { OwnerId } from '../ruleset/user-part.ts';
import type { ClaimSheet, Neighbour, OwnChain, OwnerView, OwnPair, OwnRule, OwnSet } from './types.ts';

export interface NeighbourClaims {
  claim(view: OwnerView, sheet: ClaimSheet): void;
  /** Whose chain this is by its name alone; undefined for chains left to the user, and names that need more evidence. */
  ownerOfChain(name: string): OwnerId | undefined;
}

const BASE_CHAIN = /^(?:INPUT|OUTPUT|FORWARD|PREROUTING|POSTROUTING)$/;

interface ChainSign {
  readonly owner: Neighbour;
  readonly sign: OwnChain;
}

/** The signatures of these neighbours, ready for use. Of two that claim one chain the first in the list wins. */
export function neighbourClaims(neighbours: readonly Neighbour[]): NeighbourClaims {
  const signs = chainSigns(neighbours);
  const rules = ruleSigns(neighbours);
  const sets = neighbours.flatMap((owner) => (owner.sets ?? []).map((set) => ({ owner, set })));
  const pairs = neighbours.flatMap((owner) => (owner.pairs === undefined ? [] : [{ owner, pair: owner.pairs }]));
  const unmarked = new Set([...sets, ...pairs].map(({ owner }) => owner.id));
  const whole = neighbours.filter((owner) => owner.wholeTable !== undefined);
  return {
    claim(view, sheet) {
      const own = new Map<string, ChainSign>();
      for (const chain of view.table.chains.values()) {
        const found = isBuiltin(chain) ? undefined : signs(chain.name, view.table.chains);
        if (found === undefined) continue;
        own.set(chain.name, found);
        sheet.chain(chain.name, { owner: found.owner.id, evidence: `chain name ${chain.name}` });
      }
      for (const chain of view.table.chains.values()) claimChain(view, sheet, chain, own, rules);
      for (const { owner, set } of sets) if (set.table === view.table.name) claimSet(view, sheet, owner, set);
      for (const { owner, pair } of pairs) if (pair.table === view.table.name) claimPairs(view, sheet, owner, pair);
      claimKnown(view, sheet, unmarked);
      for (const owner of whole) claimTable(view, sheet, owner);
    },
    ownerOfChain: (name) => {
      if (BASE_CHAIN.test(name)) return undefined; // `IN*` of the configuration
      const found = signs(name, undefined);
      return found === undefined || found.sign.users !== undefined ? undefined : found.owner.id;
    },
  };
}

// --- chains ----------------------------------------------------------------------------------------------------

/** Without `chains` nothing is known of the table: names that need another chain beside them are nobody's then. */
type FindSign = (name: string, chains: ReadonlyMap<string, Chain> | undefined) => ChainSign | undefined;

function chainSigns(neighbours: readonly Neighbour[]): FindSign {
  const exact = new Map<string, ChainSign[]>();
  const beginnings = new Map<string, ChainSign[]>();
  for (const owner of neighbours) {
    for (const sign of owner.chains ?? []) {
      const map = sign.name.endsWith('*') ? beginnings : exact;
      const key = sign.name.endsWith('*') ? sign.name.slice(0, -1) : sign.name;
      map.set(key, [...(map.get(key) ?? []), { owner, sign }]);
    }
  }
  // The longest beginning says most: `neutron-filter-top` before `neutron-`.
  const lengths = [...new Set([...beginnings.keys()].map((key) => key.length))].sort((a, b) => b - a);
  return (name, chains) => {
    const fits = ({ sign }: ChainSign): boolean =>
      (sign.form === undefined || sign.form.test(name)) &&
      (sign.requires === undefined || chains?.has(sign.requires) === true);
    const named = exact.get(name)?.find(fits);
    if (named !== undefined) return named;
    for (const length of lengths) {
      const found = length > name.length ? undefined : beginnings.get(name.slice(0, length))?.find(fits);
      if (found !== undefined) return found;
    }
    return undefined;
  };
}

function claimChain(
  view: OwnerView,
  sheet: ClaimSheet,
  chain: Chain,
  own: ReadonlyMap<string, ChainSign>,
  rules: FindRule,
): void {
  const home = own.get(chain.name);
  chain.rules.forEach(({ text }, index) => {
    if (own.size > 0) {
      const target = own.get(targetOf(text)?.name ?? '');
      const evidence = target === undefined ? undefined : jumpEvidence(target, text);
      if (target !== undefined && evidence !== undefined) {
        sheet.rule(chain.name, index, { owner: target.owner.id, evidence });
        return;
      }
    }
    const rule = rules(text, view);
    if (rule !== undefined) sheet.rule(chain.name, index, { owner: rule.owner.id, evidence: rule.sign.evidence });
    else if (home !== undefined && isOwn(home, text))
      sheet.rule(chain.name, index, { owner: home.owner.id, evidence: `in chain ${chain.name}` });
  });
}

/** Why a jump is the chain owner's; undefined when it is the user's to write. */
function jumpEvidence({ sign }: ChainSign, text: string): string | undefined {
  if (sign.hook === 'user' || (sign.users !== undefined && !sign.users.includes(text))) return undefined;
  return `jump to ${targetOf(text)?.name}`;
}

function isOwn({ owner, sign }: ChainSign, text: string): boolean {
  if (sign.users !== undefined) return sign.users.includes(text);
  if (owner.comments === undefined || !text.includes(' --comment ')) return true;
  const list = words(text);
  return owner.comments.test(list[list.indexOf('--comment') + 1] ?? '');
}

// --- rules by their own text -----------------------------------------------------------------------------------

interface RuleSign {
  readonly owner: Neighbour;
  readonly sign: OwnRule;
}
type FindRule = (text: string, view: OwnerView) => RuleSign | undefined;

function ruleSigns(neighbours: readonly Neighbour[]): FindRule {
  const all = neighbours.flatMap((owner) => (owner.rules ?? []).map((sign): RuleSign => ({ owner, sign })));
  if (all.length === 0) return () => undefined;
  const telltale = new RegExp([...new Set(all.map(({ sign }) => escaped(sign.telltale)))].join('|'));
  return (text, { table }) =>
    telltale.test(text)
      ? all.find(
          ({ sign }) =>
            text.includes(sign.telltale) &&
            sign.form.test(text) &&
            (sign.requires === undefined || table.chains.has(sign.requires)),
        )
      : undefined;
}

/** Text as a regular expression that finds it. */
export function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

// --- sets and whole tables -------------------------------------------------------------------------------------

function claimSet({ table }: OwnerView, sheet: ClaimSheet, owner: Neighbour, set: OwnSet): void {
  const rules = table.chains.get(set.chain)?.rules ?? [];
  if (rules.length === 0) return;
  const anchor = set.anchor === undefined ? 0 : rules.findIndex(({ text }) => text === set.anchor);
  if (anchor === -1) return;
  const wanted = new Set(set.lines);
  const nearest = new Map<string, number>();
  rules.forEach(({ text }, index) => {
    if (!wanted.has(text) || sheet.claimed(set.chain, index)) return;
    const before = nearest.get(text);
    if (before === undefined || Math.abs(index - anchor) < Math.abs(before - anchor)) nearest.set(text, index);
  });
  if (set.anchor === undefined && nearest.size < wanted.size) return;
  const evidence =
    set.anchor === undefined ? `whole set of ${owner.title}` : `beside ${set.anchor.slice(set.anchor.indexOf('-j '))}`;
  for (const index of nearest.values()) sheet.rule(set.chain, index, { owner: owner.id, evidence });
}

function claimPairs({ table }: OwnerView, sheet: ClaimSheet, owner: Neighbour, pair: OwnPair): void {
  const found = new Map<string, { readonly index: number; readonly text: string }[]>();
  table.chains.get(pair.chain)?.rules.forEach(({ text }, index) => {
    if (!text.includes(pair.telltale) || sheet.claimed(pair.chain, index)) return;
    const name = pair.form.exec(text)?.groups?.['name'];
    if (name !== undefined) found.set(name, [...(found.get(name) ?? []), { index, text }]);
  });
  for (const [name, rules] of found) {
    if (!pair.both.every((way) => rules.some(({ text }) => way.test(text)))) continue;
    for (const { index } of rules)
      sheet.rule(pair.chain, index, { owner: owner.id, evidence: `${pair.evidence} ${name}` });
  }
}

/**
 * While a program takes its unmarked lines away one by one (`lxc-net stop`, a Xen guest's end), those that it had at the last
 * complete read stay its own: taken for the user's, each would be put back as soon as the program deletes it.
 */
function claimKnown({ table, known }: OwnerView, sheet: ClaimSheet, owners: ReadonlySet<OwnerId>): void {
  if (owners.size === 0) return;
  for (const [name, { rules }] of known?.tables.get(table.name) ?? []) {
    const before = rules.filter((rule) => owners.has(rule.owner));
    const live = table.chains.get(name)?.rules ?? [];
    if (before.length === 0 || live.length === 0) continue;
    const left = countTexts(before.map((rule) => rule.text));
    const unclaimed = live.map((rule, index) => ({ text: rule.text, index, claimed: sheet.claimed(name, index) }));
    for (const { text } of unclaimed.filter(({ claimed }) => claimed)) left.set(text, (left.get(text) ?? 0) - 1);
    for (const { text, index } of unclaimed.filter(({ claimed }) => !claimed)) {
      const copies = left.get(text) ?? 0;
      if (copies <= 0) continue;
      left.set(text, copies - 1);
      const owner = before.find((rule) => rule.text === text)?.owner as OwnerId;
      sheet.rule(name, index, { owner, evidence: 'as at the last complete read' });
    }
  }
}

function claimTable({ table }: OwnerView, sheet: ClaimSheet, owner: Neighbour): void {
  const sign = [...table.chains.keys()].find((name) => owner.wholeTable?.test(name) === true);
  if (sign === undefined) return;
  const claim = { owner: owner.id, evidence: `table with chain ${sign}` };
  for (const chain of table.chains.values()) {
    const other = sheet.chainOwner(chain.name);
    if (other !== undefined && other !== owner.id) continue;
    sheet.chain(chain.name, claim);
    chain.rules.forEach((_, index) => sheet.rule(chain.name, index, claim));
  }
}
