// Whose each native nft table is, and whose chains stand in the user's. Pure.
// A table is an owner's by its name, else the user's. In a user's table a chain of a neighbour's name is that neighbour's
// (miniupnpd keeps its chains in `inet filter`): its rules come and go as the neighbour wants, only the empty chain belongs
// to the user's part, since a jump of the user's leads there. Of a table under a name of iptables' (`ip nat`) only what is native in
// it is meant, whatever iptables keeps beside it.

import { ownerOfChain, ownerOfNativeTable } from '../owners/index.ts';
import { isMarked, isSentinel } from '../owners/mendwall.ts';
import { isIptablesName, type SplitTable, splitTable } from '../ruleset/nft/iptables-part.ts';
import {
  EMPTY_NATIVE,
  mapObjects,
  type NativePart,
  withoutDynamicElements,
  withoutHandles,
} from '../ruleset/nft/native-part.ts';
import { chainsOf, type NftChain, type NftObject, type NftTable, tableKey } from '../ruleset/nft/types.ts';
import { isSavedKey, isTrivial, savedTable } from '../ruleset/nft/saved.ts';
import { type Unloadable, unloadableIn } from '../ruleset/nft/unloadable.ts';
import { type OwnerId, USER } from '../ruleset/user-part.ts';
import { savedStrangers, usersSaved } from './classify-saved.ts';

export interface ClassifiedNativeTable {
  readonly key: string;
  /** As listed; under a name of iptables' without iptables' chains. */
  readonly table: NftTable;
  readonly owner: OwnerId;
  readonly evidence: string;
  /** In a user's table: chains that a neighbour keeps for itself. */
  readonly strangers: ReadonlyMap<string, OwnerId>;
  /** In a user's table: what `nft -f` could not load back, so that the table is never written. */
  readonly unloadable: readonly Unloadable[];
  /** A table of ebtables' or arptables' that its own tool cannot show: why. `table` is empty then. */
  readonly unread?: string;
}

/** By `FAMILY NAME`, in listed order. */
export type ClassifiedNative = ReadonlyMap<string, ClassifiedNativeTable>;

/** A table that is never written, and wanted as it was. */
export const isLeftAlone = (each: ClassifiedNativeTable | undefined): boolean =>
  each !== undefined && (each.unloadable.length > 0 || each.unread !== undefined);

/** Tables that stand and could not be read, beside those that were. */
export function withUnread(
  classified: ClassifiedNative,
  unread: readonly { readonly key: string; readonly why: string }[],
): ClassifiedNative {
  const more = unread.map(({ key, why }): [string, ClassifiedNativeTable] => {
    const [family = '', name = ''] = key.split(' ');
    const table = savedTable(family === 'arp' ? 'arp' : 'bridge', name, []);
    return [key, { key, table, owner: USER, evidence: why, strangers: new Map(), unloadable: [], unread: why }];
  });
  return new Map([...classified, ...more]);
}

/** `known`: the user's part as it was before. */
export function classifyNative(tables: readonly NftTable[], known: NativePart = EMPTY_NATIVE): ClassifiedNative {
  return new Map(tables.map((table) => [tableKey(table), classifyTable(table, known.get(tableKey(table)))]));
}

function classifyTable(listed: NftTable, known: NftTable | undefined): ClassifiedNativeTable {
  const key = tableKey(listed);
  if (isSavedKey(key)) return classifySaved(key, listed);
  const split = isIptablesName(key) ? splitTable(listed, known) : undefined;
  const table = split === undefined ? listed : (split.native ?? mapObjects(listed, () => undefined));
  const owner = ownerOfNativeTable(key) ?? USER;
  const isUsers = owner === USER;
  return {
    key,
    table,
    owner,
    evidence: isUsers ? 'no neighbour claims the table' : `table ${key}`,
    strangers: isUsers ? strangersIn(table) : new Map(),
    unloadable: isUsers ? [...unloadableIn(table), ...sharedIn(split)] : [],
  };
}

function classifySaved(key: string, table: NftTable): ClassifiedNativeTable {
  const evidence = 'no neighbour claims the table';
  return { key, table, owner: USER, evidence, strangers: savedStrangers(table), unloadable: [] };
}

/** A chain that both lead to can be replaced by neither. */
function sharedIn(split: SplitTable | undefined): Unloadable[] {
  return split?.shared === undefined ? [] : [{ reason: 'shared', line: 1, text: split.shared.text }];
}

function strangersIn(table: NftTable): Map<string, OwnerId> {
  return new Map(
    chainsOf(table).flatMap(({ name, base }): [string, OwnerId][] => {
      const owner = base === undefined ? ownerOfChain(name) : undefined;
      return owner === undefined ? [] : [[name, owner]];
    }),
  );
}

/**
 * The user's part of what stands: the user's tables without what packets, neighbours and mendwall put there. ebtables' and arptables'
 * tables stand as soon as somebody uses them: one without a rule of the user's is none of the user's.
 */
export function userNativeOf(classified: ClassifiedNative): NativePart {
  const users = [...classified.values()].filter((each) => each.owner === USER && !isLeftAlone(each));
  const views = users.map((each) => [each.key, userView(each)] as const);
  return new Map(views.filter(([key, table]) => !isSavedKey(key) || !isTrivial(table)));
}

function userView({ key, table, strangers }: ClassifiedNativeTable): NftTable {
  if (isSavedKey(key)) return usersSaved(table);
  const own = withoutDynamicElements(withoutHandles(withoutMarked(table)));
  if (strangers.size === 0) return own;
  return mapObjects(own, (object) =>
    object.kind === 'chain' && strangers.has(object.name) ? withoutRules(object) : object,
  );
}

const withoutRules = (chain: NftChain): NftChain => withRules(chain, () => false);

function withRules(chain: NftChain, keep: (text: string) => boolean): NftChain {
  const parts = chain.parts.filter((part) => part.kind !== 'rule' || keep(part.text));
  return { ...chain, parts, rules: parts.filter((part) => part.kind === 'rule') };
}

/** The same table without the rules that mendwall keeps in it, and without a lock that a crash left. */
export function withoutMarked(table: NftTable): NftTable {
  const isOurs = (object: NftObject): boolean =>
    object.kind === 'chain' && (isSentinel(object) || object.rules.some(({ text }) => isMarked(text)));
  if (!table.objects.some(isOurs)) return table;
  return mapObjects(table, (object) => {
    if (object.kind !== 'chain') return object;
    return isSentinel(object) ? undefined : withRules(object, (text) => !isMarked(text));
  });
}
