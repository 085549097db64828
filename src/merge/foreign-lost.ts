// What a flush or a load took from neighbours that mendwall does not repair by text: who lost rules, and what puts them right. Pure.
// Guarantees: a neighbour that takes its own rules away (`docker stop`, an unban) speaks for itself and is no drift; a loss is
// said until the neighbour has written again.

import type { Classified, ClassifiedTable } from '../classify/classify.ts';
import { isLibvirts, neighbourById } from '../owners/index.ts';
import { missingFrom } from '../ruleset/multiset.ts';
import type { Family, TableName } from '../ruleset/types.ts';
import type { NeighbourChain, NeighbourPart, OwnerId } from '../ruleset/user-part.ts';
import type { Drift } from './drift.ts';

/** What one neighbour lost in one table. */
export interface LostNeighbour {
  readonly family: Family;
  readonly table: TableName;
  readonly owner: OwnerId;
  readonly rules: number;
  /** The first lost rule, in a built-in chain if there is one: by it, and by its chain, the neighbour is seen to be back. */
  readonly chain: string;
  readonly text: string;
  /** The neighbour had no rule left in that chain. */
  readonly emptied: boolean;
  /** Only jumps are gone; its chains are still filled. */
  readonly unhooked: boolean;
  /** Its rules were asked for, or put back, since: what its program writes is no proof that they stand. */
  readonly asked?: true;
  /** All of its lost rules in order, where its owner's file says that they may go back by text. */
  readonly gone?: readonly string[];
}

/** How the tables of this pass came to be as they are. */
export interface Wiping {
  /** Somebody flushed or replaced this table. */
  readonly wiped: (table: TableName) => boolean;
  /** Who wrote in this burst: their part stands as they want it. */
  readonly writers: ReadonlySet<OwnerId>;
}

/** Who lost rules of `known` just now, in a table that was flushed or replaced by somebody else. */
export function newlyLost(known: NeighbourPart | undefined, live: Classified, wiping: Wiping): LostNeighbour[] {
  return [...(known?.tables ?? [])].flatMap(([table, chains]) =>
    wiping.wiped(table)
      ? lostIn(live.ruleset.family, table, chains, live.tables.get(table)).filter(
          ({ owner }) => !wiping.writers.has(owner),
        )
      : [],
  );
}

function lostIn(
  family: Family,
  table: TableName,
  chains: ReadonlyMap<string, NeighbourChain>,
  live: ClassifiedTable | undefined,
): LostNeighbour[] {
  const byOwner = new Map<OwnerId, { readonly chain: NeighbourChain; readonly text: string }[]>();
  for (const chain of chains.values()) {
    const owners = new Map(chain.rules.map((rule) => [rule.text, rule.owner]));
    const standing = live?.chains.get(chain.name)?.chain.rules.map((rule) => rule.text) ?? [];
    for (const text of missingFrom([...chain.rules.map((rule) => rule.text)], standing)) {
      const owner = owners.get(text) as OwnerId;
      if (!isLibvirts(owner)) byOwner.set(owner, [...(byOwner.get(owner) ?? []), { chain, text }]);
    }
  }
  return [...byOwner].map(([owner, lost]) => {
    const first = lost.find(({ chain }) => chain.owner === undefined) ?? lost[0];
    const name = first?.chain.name ?? '';
    const byText = neighbourById(owner)?.repair.reinsert === true;
    return {
      ...(byText ? { gone: lost.map(({ text }) => text) } : {}),
      family,
      table,
      owner,
      rules: lost.length,
      chain: name,
      text: first?.text ?? '',
      emptied: !hasRules(live, name, owner),
      unhooked: lost.every(({ chain, text }) => chain.owner === undefined && isFilled(live, text)),
    };
  });
}

function hasRules(live: ClassifiedTable | undefined, chain: string, owner: OwnerId): boolean {
  return live?.chains.get(chain)?.claims.some((claim) => claim.owner === owner) === true;
}

/** `-A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd`, and f2b-sshd holds rules. */
function isFilled(live: ClassifiedTable | undefined, text: string): boolean {
  const target = / -[jg] (\S+)/.exec(text)?.[1] ?? '';
  return (live?.chains.get(target)?.chain.rules.length ?? 0) > 0;
}

/** Those of `lost` whose neighbour has neither written since nor been put right. Other families are left as they are. */
export function stillLost(
  lost: readonly LostNeighbour[],
  live: Classified,
  writers: ReadonlySet<OwnerId>,
): LostNeighbour[] {
  return lost.filter((loss) => {
    if (loss.family !== live.ruleset.family) return true;
    const table = live.tables.get(loss.table);
    const stands = table?.chains.get(loss.chain)?.chain.rules.some((rule) => rule.text === loss.text) === true;
    const spoke = writers.has(loss.owner) && !(loss.asked === true && hasChains(table, loss.owner));
    return !spoke && !stands && !(loss.emptied && hasRules(table, loss.chain, loss.owner));
  });
}

/** One that has written and keeps no chain wants no rules now (fail2ban without a ban); chains without their jump do nothing. */
const hasChains = (live: ClassifiedTable | undefined, owner: OwnerId): boolean =>
  [...(live?.chains.values() ?? [])].some(({ claim }) => claim.owner === owner);

/** What was lost before, and what is lost now; one entry for each neighbour and table. */
export function joinLost(before: readonly LostNeighbour[], now: readonly LostNeighbour[]): LostNeighbour[] {
  const keyOf = ({ family, table, owner }: LostNeighbour): string => `${family} ${table} ${owner}`;
  return [...new Map([...now, ...before].map((loss) => [keyOf(loss), loss])).values()];
}

/** `foreign-lost ip filter: fail2ban lost 3 rules, first -A INPUT ... -j f2b-sshd; puts it right: fail2ban-client reload` */
export function lostDrift(lost: readonly LostNeighbour[]): Drift[] {
  return lost.map(({ family, table, owner, rules, text, unhooked, asked }) => ({
    kind: unhooked ? 'foreign-unhooked' : 'foreign-lost',
    family,
    table,
    chain: '',
    text: '',
    owner,
    evidence: `${owner} lost ${rules} ${rules === 1 ? 'rule' : 'rules'}, first ${text}; ${remedyOf(owner)}${asked === true ? '; asked for by mendwall, and not back yet' : ''}`,
  }));
}

/** What puts it right. mendwall runs it only where `[repair]` says so. */
export function remedyOf(owner: OwnerId): string {
  const repair = neighbourById(owner)?.repair;
  const note = repair?.note === undefined ? '' : ` (${repair.note})`;
  return repair?.command === undefined ? `no command puts it right${note}` : `puts it right: ${repair.command}${note}`;
}
