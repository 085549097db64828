// The native tables for the verbs: read, with their owners, and compared.

import {
  type ClassifiedNative,
  classifyNative,
  isLeftAlone,
  userNativeOf,
  withUnread,
} from '../classify/classify-native.ts';
import { ownerOfSavedRule } from '../classify/classify-saved.ts';
import { readNative } from '../observe/native-read.ts';
import { readSaved } from '../observe/saved-read.ts';
import { isMarked } from '../owners/mendwall.ts';
import type { PassContext } from '../pass/types.ts';
import { isWhole, withWaiting } from '../plan/native-plan.ts';
import type { Memory } from '../record/memory.ts';
import { missingFrom } from '../ruleset/multiset.ts';
import { type NativePart, rulesOf } from '../ruleset/nft/native-part.ts';
import { canonicalRule } from '../ruleset/nft/same.ts';
import { isSavedKey } from '../ruleset/nft/saved.ts';
import type { NftFamily } from '../ruleset/nft/types.ts';
import { MENDWALL, type OwnerId, USER } from '../ruleset/user-part.ts';
import { type Refusal, refused } from './types.ts';

export interface LiveNative {
  readonly kind: 'native';
  readonly classified: ClassifiedNative;
  /** The user's part. */
  readonly part: NativePart;
}

type ReadsNative = Pick<PassContext, 'host' | 'memory'>;

/** What stands now. A chain that is native in the wish is so, too, when nothing leads to it any more. */
export async function readLiveNative({ host, memory }: ReadsNative): Promise<LiveNative | Refusal> {
  const known = memory.wish.native;
  const read = await readNative(host, undefined, known);
  if (read.kind === 'unreadable') return refused('unreadable-rules', `the native tables cannot be read: ${read.why}`);
  const saved = await readSaved(host, read.names);
  const classified = withUnread(classifyNative([...read.tables, ...saved.tables], known), saved.unread);
  return { kind: 'native', classified, part: userNativeOf(classified) };
}

/** The live part as a snapshot takes it: with what waits, and with the last good form of what nft could not load back. */
export function adoptedNative({ classified, part }: LiveNative, { wish, waitingNative = [] }: Memory): NativePart {
  const tables = [...part].map(([key, table]) => {
    const mine = waitingNative.filter((rule) => rule.key === key);
    return [key, withWaiting(table, wish.native.get(key), mine)] as const;
  });
  const whole = waitingNative.filter(isWhole).map(({ key }) => key);
  const kept = [...wish.native].filter(([key]) => whole.includes(key) || isLeftAlone(classified.get(key)));
  return new Map([...tables, ...kept]);
}

/** One rule of a native table, as the verbs show rules. */
export interface NativeRuleLine {
  readonly family: NftFamily;
  readonly table: string;
  readonly chain: string;
  readonly text: string;
}

/** Rules (with copies) that `before` has and `after` has not; a table or set without a rule is named by itself. */
export function nativeRulesGone(before: NativePart, after: NativePart): NativeRuleLine[] {
  return [...before].flatMap(([key, table]) => {
    const line = (chain: string, text: string): NativeRuleLine => ({
      family: table.family,
      table: table.name,
      chain,
      text,
    });
    const now = after.get(key);
    const names = new Set((now?.objects ?? []).map(({ head }) => head.trim()));
    const objects = table.objects.filter(({ kind, head }) => kind !== 'chain' && !names.has(head.trim()));
    return [
      ...(now === undefined ? [line('', `table ${key}`)] : []),
      ...objects.map(({ head }) => line('', head.trim().replace(/ \{$/, ''))), // set banned {
      ...missingFrom(placed(before, key), placed(after, key)).map((text) => {
        const at = text.indexOf('\n');
        return line(text.slice(0, at), text.slice(at + 1));
      }),
    ];
  });
}

function placed(part: NativePart, key: string): string[] {
  const table = part.get(key);
  return table === undefined ? [] : rulesOf(table).map(({ chain, text }) => `${chain}\n${canonicalRule(text)}`);
}

/** How many native rules each owner has; a table without a rule counts as none. */
export function countNativeOwners(classified: ClassifiedNative): Map<OwnerId, number> {
  const counts = new Map<OwnerId, number>();
  for (const { key, table, owner, strangers } of classified.values())
    for (const { chain, text } of rulesOf(table)) {
      const users = isMarked(text) ? MENDWALL : isSavedKey(key) ? ownerOfSavedRule(chain, text) : USER;
      const whose = owner === USER ? (strangers.get(chain) ?? users) : owner;
      counts.set(whose, (counts.get(whose) ?? 0) + 1);
    }
  return counts;
}
