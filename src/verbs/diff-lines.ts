// The lines of `diff`: two contents in one order, so that they can be compared line by line. Pure.
// Built-in chains that say nothing on either side are left out, so an absent table is no difference.

import type { Classified } from '../classify/classify.ts';
import { mergeTable } from '../merge/merge.ts';
import { type Item, type NeighbourPart, USER, type UserPart } from '../ruleset/user-part.ts';

/** One line of a side, with the chain it is about, for hunk headings and counts. */
export interface DiffLine {
  readonly text: string;
  readonly place: string;
}

/** One family of one side. */
export interface Content {
  readonly user: UserPart;
  readonly neighbours: NeighbourPart;
  /** All rules in live order; undefined for a snapshot, whose two parts are merged. */
  readonly live: Classified | undefined;
}

/** Whose rules are compared. */
export interface WhoseRules {
  /** undefined: the user's. */
  readonly owner: string | undefined;
  readonly all: boolean;
}

/** Chain -> its lines. */
type Chains = Map<
  string,
  { readonly table: string; readonly chain: string; readonly policy: string; readonly texts: readonly string[] }
>;

/** The lines of both sides, in the same order of tables and chains. */
export function linesOfBoth(
  a: Content,
  b: Content,
  whose: WhoseRules,
  isGuestBridge: (name: string) => boolean,
): [DiffLine[], DiffLine[]] {
  const [one, two] = whose.all
    ? [allRules(a, isGuestBridge), allRules(b, isGuestBridge)]
    : whose.owner === undefined || whose.owner === USER
      ? userRules(a, b)
      : [ownersRules(a, whose.owner), ownersRules(b, whose.owner)];
  const isShown = (key: string): boolean =>
    [one, two].some((side) => side.get(key) !== undefined && !saysNothing(side.get(key)));
  return [toLines(one, two, isShown), toLines(two, one, isShown)];
}

function saysNothing(chain: { policy: string; texts: readonly string[] } | undefined): boolean {
  return chain !== undefined && chain.texts.length === 0 && (chain.policy === 'ACCEPT' || chain.policy === '');
}

/** Chains in the order of this side; a built-in chain that only the other side prints is there with policy ACCEPT. */
function toLines(side: Chains, other: Chains, isShown: (key: string) => boolean): DiffLine[] {
  const lines: DiffLine[] = [];
  for (const table of new Set([...side.values(), ...other.values()].map((chain) => chain.table).sort())) {
    const shown = [...new Set([...keysOf(side, table), ...keysOf(other, table)])].filter(isShown);
    const here = shown.filter((key) => side.has(key) || isPolicy(other.get(key)?.policy));
    if (shown.length > 0) lines.push({ text: `*${table}`, place: table });
    for (const key of here.sort(byPacketThenName)) {
      const chain = side.get(key);
      const name = (chain ?? other.get(key))?.chain ?? '';
      const policy = chain?.policy ?? 'ACCEPT';
      const place = `${table} ${name}`;
      if (policy !== '') lines.push({ text: `:${name} ${policy}`, place });
      for (const text of chain?.texts ?? []) lines.push({ text, place });
    }
  }
  return lines;
}

const keysOf = (side: Chains, table: string): string[] =>
  [...side.keys()].filter((key) => side.get(key)?.table === table);
const isPolicy = (policy: string | undefined): boolean => policy !== undefined && policy !== '-' && policy !== '';

/** As a packet meets them. */
const BUILTIN = ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'];

/** The same order on both sides, whatever order the kernel printed the chains in: built-in chains, then by name. */
function byPacketThenName(a: string, b: string): number {
  const rank = (key: string): number =>
    (BUILTIN.indexOf(key.slice(key.indexOf(' ') + 1)) + BUILTIN.length + 1) % (BUILTIN.length + 1);
  return rank(a) - rank(b) || (a < b ? -1 : 1);
}

function userRules(a: Content, b: Content): [Chains, Chains] {
  return [userChains(a.user, b.user), userChains(b.user, a.user)];
}

function userChains(part: UserPart, other: UserPart): Chains {
  const chains: Chains = new Map();
  for (const table of part.tables.values()) {
    for (const chain of table.chains.values()) {
      const owners = slotOwners(other.tables.get(table.name)?.chains.get(chain.name)?.items ?? []);
      const texts = chain.items.flatMap((item) =>
        item.kind === 'rule' ? [item.text] : owners.has(item.owner) ? [`# ${item.owner}'s rules`] : [],
      );
      chains.set(`${table.name} ${chain.name}`, {
        table: table.name,
        chain: chain.name,
        policy: chain.policy === 'foreign' ? '' : chain.policy,
        texts,
      });
    }
  }
  return chains;
}

function slotOwners(items: readonly Item[]): Set<string> {
  return new Set(items.flatMap((item) => (item.kind === 'slot' ? [item.owner] : [])));
}

function ownersRules({ neighbours }: Content, owner: string): Chains {
  const chains: Chains = new Map();
  for (const [table, part] of neighbours.tables) {
    for (const chain of part.values()) {
      const texts = chain.rules.filter((rule) => rule.owner === owner).map((rule) => rule.text);
      if (texts.length === 0 && chain.owner !== owner) continue;
      chains.set(`${table} ${chain.name}`, {
        table,
        chain: chain.name,
        policy: chain.owner === owner ? '-' : '',
        texts,
      });
    }
  }
  return chains;
}

function allRules(content: Content, isGuestBridge: (name: string) => boolean): Chains {
  const chains: Chains = new Map();
  if (content.live !== undefined) {
    for (const table of content.live.tables.values()) {
      for (const { chain, claim } of table.chains.values()) {
        if (claim.owner === 'mendwall') continue;
        chains.set(`${table.name} ${chain.name}`, {
          table: table.name,
          chain: chain.name,
          policy: chain.policy,
          texts: chain.rules.map((rule) => rule.text),
        });
      }
    }
    return chains;
  }
  for (const table of new Set([...content.user.tables.keys(), ...content.neighbours.tables.keys()])) {
    const want = content.user.tables.get(table) ?? { name: table, chains: new Map() };
    const target = mergeTable({
      want,
      foreign: content.neighbours.tables.get(table) ?? new Map(),
      live: undefined,
      isGuestBridge,
    });
    for (const chain of target.chains.values()) {
      chains.set(`${table} ${chain.name}`, {
        table,
        chain: chain.name,
        policy: chain.policy ?? 'ACCEPT',
        texts: chain.rules.map((rule) => rule.text),
      });
    }
  }
  return chains;
}
