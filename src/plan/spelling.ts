// How iptables prints a rule that was saved by another version of it, or generated: learnt by reading back what was just
// committed, so that the same rule is never taken for a missing one and put in once more. Pure.

import type { Family, Table, TableName } from '../ruleset/types.ts';
import type { NeighbourPart, UserPart } from '../ruleset/user-part.ts';
import type { TableWork } from './family-plan.ts';

/** By `ip filter -A INPUT ...` as it was written: the text that iptables prints for it. */
export type Spellings = ReadonlyMap<string, string>;

const keyOf = (family: Family, table: TableName, text: string): string => `${family} ${table} ${text}`;

/**
 * What a committed plan's insertions read as. Only where the chain stands exactly as planned but for insertions of ours: any
 * other difference may be somebody else's doing.
 */
export function spellingsOf({ plan, target }: TableWork, live: Table | undefined): [string, string][] {
  const inserted = new Set(plan.edits.flatMap((edit) => (edit.kind === 'insert' ? [edit.text] : [])));
  return [...target.chains.values()].flatMap((chain) => {
    const stands = live?.chains.get(chain.name)?.rules ?? [];
    if (stands.length !== chain.rules.length) return [];
    const other = chain.rules.flatMap(({ text }, at): [string, string][] => {
      const printed = stands[at]?.text as string;
      return printed === text ? [] : [[text, printed]];
    });
    if (!other.every(([text]) => inserted.has(text))) return [];
    return other.map(([text, printed]): [string, string] => [keyOf(plan.family, plan.table, text), printed]);
  });
}

/** The user's part with each rule as iptables prints it. */
export function respellUser(part: UserPart, spellings: Spellings): UserPart {
  if (spellings.size === 0) return part;
  const tables = [...part.tables.values()].map((table) => {
    const print = (text: string): string => spellings.get(keyOf(part.family, table.name, text)) ?? text;
    const chains = [...table.chains.values()].map((chain) => ({
      ...chain,
      items: chain.items.map((item) => (item.kind === 'rule' ? { ...item, text: print(item.text) } : item)),
    }));
    return { ...table, chains: new Map(chains.map((chain) => [chain.name, chain])) };
  });
  return { family: part.family, tables: new Map(tables.map((table) => [table.name, table])) };
}

/** The neighbours' part with each rule as iptables prints it. Two spellings of one rule, a saved and a generated, are one. */
export function respellNeighbours(part: NeighbourPart, spellings: Spellings): NeighbourPart {
  if (spellings.size === 0) return part;
  const tables = [...part.tables].map(([name, chains]) => {
    const print = (text: string): string => spellings.get(keyOf(part.family, name, text)) ?? text;
    const respelled = [...chains.values()].map((chain) => {
      const texts = new Set(chain.rules.map((rule) => rule.text));
      const once = chain.rules.filter(({ text }) => print(text) === text || !texts.has(print(text)));
      return { ...chain, rules: once.map((rule) => ({ ...rule, text: print(rule.text) })) };
    });
    return [name, new Map(respelled.map((chain) => [chain.name, chain]))] as const;
  });
  return { family: part.family, tables: new Map(tables) };
}
