// What differs in the user's native tables from how it should be, as values with evidence. Pure.

import { missingFrom, sameSequence } from '../ruleset/multiset.ts';
import { isSameTable, type NativePart, objectKey } from '../ruleset/nft/native-part.ts';
import { canonicalObjectText, canonicalRule } from '../ruleset/nft/same.ts';
import type { NftChain, NftFamily, NftObject, NftTable } from '../ruleset/nft/types.ts';
import type { Unloadable } from '../ruleset/nft/unloadable.ts';
import { USER } from '../ruleset/user-part.ts';
import type { Drift, DriftKind } from './drift.ts';

/** A drift value about a native table (`inet filter`) or something in it. */
export function nativeDrift(kind: DriftKind, key: string, chain: string, text: string, evidence: string): Drift {
  const [family = 'inet', table = ''] = key.split(' ');
  return { kind, family: family as NftFamily, table, chain, text, owner: USER, evidence };
}

/** The user's own changes that are not adopted yet, against the snapshot. */
export function pendingNative(snapshot: NativePart, wish: NativePart): Drift[] {
  const keys = new Set([...snapshot.keys(), ...wish.keys()]);
  return [...keys].flatMap((key) => pendingTable(key, snapshot.get(key), wish.get(key)));
}

function pendingTable(key: string, before: NftTable | undefined, now: NftTable | undefined): Drift[] {
  if (isSameTable(before, now)) return [];
  if (now === undefined) return [nativeDrift('pending', key, '', `delete table ${key}`, 'deleted')];
  if (before === undefined) return [nativeDrift('pending', key, '', `table ${key}`, 'added')];
  const [was, is] = [objectsOf(before), objectsOf(now)];
  const changes = [...new Set([...was.keys(), ...is.keys()])].flatMap((name) =>
    pendingObject(key, name, was.get(name), is.get(name)),
  );
  return changes.length > 0
    ? changes
    : [nativeDrift('pending', key, '', `table ${key}`, 'its flags, comment or order changed')];
}

const objectsOf = (table: NftTable): Map<string, NftObject> =>
  new Map(table.objects.map((object) => [objectKey(object), object]));

function pendingObject(key: string, name: string, before: NftObject | undefined, now: NftObject | undefined): Drift[] {
  const chain = before?.kind === 'chain' || now?.kind === 'chain' ? name.slice('chain '.length) : '';
  if (now === undefined) return [nativeDrift('pending', key, chain, `delete ${name}`, 'deleted')];
  if (before === undefined) return [nativeDrift('pending', key, chain, name, 'added')];
  if (canonicalObjectText(before) === canonicalObjectText(now)) return [];
  if (before.kind !== 'chain' || now.kind !== 'chain') return [nativeDrift('pending', key, chain, name, 'changed')];
  return pendingChain(key, before, now);
}

function pendingChain(key: string, before: NftChain, now: NftChain): Drift[] {
  const texts = ({ rules }: NftChain): string[] => rules.map(({ text }) => canonicalRule(text));
  const [was, is] = [texts(before), texts(now)];
  const found = [
    ...missingFrom(is, was).map((text) => nativeDrift('pending', key, now.name, text, 'added')),
    ...missingFrom(was, is).map((text) => nativeDrift('pending', key, now.name, text, 'deleted')),
  ];
  if (before.base?.policy !== now.base?.policy)
    found.push(nativeDrift('policy', key, now.name, `policy ${now.base?.policy}`, `was ${before.base?.policy}`));
  if (found.length > 0) return found;
  const how = sameSequence(was, is) ? 'its hook or comment changed' : 'order changed';
  return [nativeDrift('pending', key, now.name, '', how)];
}

const WHY: Readonly<Record<Unloadable['reason'], string>> = {
  xt: 'only iptables can load this',
  'hidden-xt': 'nft prints only a part of this rule',
  'dead-interface':
    'the interface is gone, and nft would load another one under its number; delete the rule, or write it with iifname or oifname',
  owner: 'a running program owns the table',
  quote: 'nft cannot load a quote in a text',
  incomplete: 'the listing ends within the table',
  shared: 'this rule of iptables’ leads to a chain that native rules lead to, too',
};

/** A table that mendwall leaves as it is: what nft prints of it could not be loaded back. */
export const unloadableDrift = (key: string, lines: readonly Unloadable[]): Drift[] =>
  lines
    .slice(0, 1)
    .map(({ reason, text, line }) =>
      nativeDrift('unreadable', key, '', text, `line ${line} of the table: ${WHY[reason]}; the table is left as it is`),
    );
