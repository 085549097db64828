// What is done about neighbours that have lost rules to somebody else's flush or load, as `[repair]` says it. Pure.
// Guarantees: nothing for an owner that the configuration does not name; a command is the argument vector of the owner's own
// file; by text only rules that are missing now, in built-in chains, of interfaces that exist.
// Does not: run anything, or choose the moment (guard/owner-repairs.ts).

import { neighbourById } from '../owners/index.ts';
import { missingFrom } from '../ruleset/multiset.ts';
import type { Family, Ruleset, TableName } from '../ruleset/types.ts';
import type { OwnerId } from '../ruleset/user-part.ts';
import type { LostNeighbour } from './foreign-lost.ts';
import type { InterfaceExists } from './repair.ts';

/** By owner. `ask`: run the program's own command. `reinsert`: put its last known rules back by text. */
export type Repairs = Readonly<Record<OwnerId, 'ask' | 'reinsert'>>;

export type OwnerAction =
  | { readonly kind: 'ask'; readonly owner: OwnerId; readonly command: readonly [string, ...string[]] }
  | { readonly kind: 'reinsert'; readonly owner: OwnerId; readonly losses: readonly LostNeighbour[] };

/** Who has lost something: rules of iptables' tables, or whole native tables (owner by `inet firewalld`). */
export interface LostNow {
  readonly rules: readonly LostNeighbour[];
  readonly tables: Readonly<Record<string, OwnerId>>;
}

export const lostOwners = ({ rules, tables }: LostNow): Set<OwnerId> =>
  new Set([...rules.map(({ owner }) => owner), ...Object.values(tables)]);

/** One action for each owner that has lost something and is named in `repairs`. */
export function ownerActions(lost: LostNow, repairs: Repairs): OwnerAction[] {
  return [...lostOwners(lost)].flatMap((owner): OwnerAction[] => {
    const how = neighbourById(owner)?.repair;
    if (repairs[owner] === 'ask' && how?.ask !== undefined) return [{ kind: 'ask', owner, command: how.ask }];
    const losses = lost.rules.filter((loss) => loss.owner === owner && loss.gone !== undefined);
    const byText = repairs[owner] === 'reinsert' && how?.reinsert === true && losses.length > 0;
    return byText ? [{ kind: 'reinsert', owner, losses }] : [];
  });
}

/** `ask fail2ban: fail2ban-client reload --restart`; `put 2 rules of xen's back` */
export function describeAction(action: OwnerAction): string {
  if (action.kind === 'ask') return `ask ${action.owner}: ${action.command.join(' ')}`;
  const rules = action.losses.reduce((sum, { gone }) => sum + (gone?.length ?? 0), 0);
  return `put ${rules} ${rules === 1 ? 'rule' : 'rules'} of ${action.owner}'s back by text`;
}

/** What would be done for the owners that a look (which remembers nothing) has found to have lost rules. */
export function describeRepairs(owners: readonly OwnerId[], repairs: Repairs): string[] {
  return [...new Set(owners)].flatMap((owner) => {
    const how = repairs[owner];
    const ask = neighbourById(owner)?.repair.ask;
    if (how === 'ask' && ask !== undefined) return [describeAction({ kind: 'ask', owner, command: ask })];
    return how === 'reinsert' ? [`put lost rules of ${owner}'s back by text`] : [];
  });
}

/** Input for `iptables-restore --noflush`: what is missing goes to the top of its chain, where the owner itself puts it. */
export function reinsertText(losses: readonly LostNeighbour[], live: Ruleset, exists: InterfaceExists): string {
  return losses
    .filter(({ family }) => family === live.family)
    .map(({ table, gone }) => tableText(table, wantedOf(table, gone ?? [], live, exists)))
    .join('');
}

const tableText = (table: TableName, rules: readonly string[]): string =>
  rules.length === 0 ? '' : `*${table}\n${rules.map(asInsert).reverse().join('')}COMMIT\n`;

/** `-A FORWARD -i vif1.0 -j ACCEPT` -> `-I FORWARD 1 -i vif1.0 -j ACCEPT` */
const asInsert = (text: string): string => `${text.replace(/^-A (\S+)/, '-I $1 1')}\n`;

function wantedOf(table: TableName, gone: readonly string[], live: Ruleset, exists: InterfaceExists): string[] {
  const standing = [...(live.tables.get(table)?.chains.values() ?? [])].flatMap(({ rules }) =>
    rules.map(({ text }) => text),
  );
  const missing = missingFrom(gone, standing);
  return missing.filter((text) => BASE.test(text) && interfacesOf(text).every(exists));
}

const BASE = /^-A (?:INPUT|OUTPUT|FORWARD|PREROUTING|POSTROUTING) /;

/** `-m physdev --physdev-in vif1.0`, `-i br0` */
const interfacesOf = (text: string): string[] =>
  [...text.matchAll(/ (?:-i|-o|--physdev-in|--physdev-out) (\S+)/g)].map(([, name]) => name as string);

export const familiesOf = (losses: readonly LostNeighbour[]): Family[] => [
  ...new Set(losses.map(({ family }) => family)),
];
