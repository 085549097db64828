// The writing half of the native part of a pass: journal first, then one `nft -f`, less what nft refuses rule by rule.
// Guarantees: a table that stands is replaced under a lock (plan/nft-replace.ts), so nothing is lost that came after the read; our
// commits are known as ours. Does not: decide (merge/decide-native.ts), or read the tables (native.ts).

import { applyNative, nextHandles, type RefusedNative } from '../apply/apply-native.ts';
import type { ClassifiedNative } from '../classify/classify-native.ts';
import { HostError } from '../host/host.ts';
import type { NativeDecision } from '../merge/decide-native.ts';
import { doesStand, type NativePlan, type NativeWaiting, planNative } from '../plan/native-plan.ts';
import type { NftLock } from '../plan/nft-replace.ts';
import { missingFrom } from '../ruleset/multiset.ts';
import { type NativePart, objectKey, rulesOf } from '../ruleset/nft/native-part.ts';
import { printNftTable } from '../ruleset/nft/print.ts';
import { canonicalRule } from '../ruleset/nft/same.ts';
import type { NftTable } from '../ruleset/nft/types.ts';
import { nativeMark } from './native-mark.ts';
import type { PassContext, PassRequest } from './types.ts';

const MOST_HELD = 200;

/** As in pass.ts: a burst that goes on is not judged. */
export function asOfNow(request: PassRequest): PassRequest {
  if (!request.burstOver || request.capped === true || request.overNow?.() !== false) return request;
  return { ...request, burstOver: false };
}

/** How one try to write ended. `again`: something was committed, `raced`: somebody was there in between; both read again. */
export type NativeStep =
  | {
      readonly kind: 'again';
      readonly plan: NativePlan;
      readonly waiting: readonly NativeWaiting[];
      readonly kept: readonly string[];
    }
  | { readonly kind: 'raced'; readonly waiting: readonly NativeWaiting[]; readonly kept: readonly string[] }
  | {
      readonly kind: 'failed';
      readonly why: string;
      readonly waiting: readonly NativeWaiting[];
      readonly kept: readonly string[];
    }
  | {
      readonly kind: 'end';
      readonly plan: NativePlan;
      readonly waiting: readonly NativeWaiting[];
      readonly kept: readonly string[];
    };

/** Commits what is to be done; rule by rule less when nft refuses some. */
export async function carryOut(
  context: PassContext,
  request: PassRequest,
  classified: ClassifiedNative,
  { live, tried }: { readonly live: NativePart; readonly tried: readonly NativeDecision[] },
  { refused, locks }: { readonly refused: readonly NativeWaiting[]; readonly locks: Map<string, NftLock> },
): Promise<NativeStep> {
  const { memory } = context;
  const readsOnly = request.mode === 'observe' || request.dryRun || memory.snapshotId === undefined;
  // What waits is tried again by every pass that may write.
  const untried = readsOnly ? (memory.waitingNative ?? []).filter((rule) => !doesStand(live, rule)) : [];
  const waiting: NativeWaiting[] = [...refused, ...untried];
  const kept: string[] = [];
  for (;;) {
    const plan = planNative(tried, live, classified, waiting, locks);
    if (plan.input === '' || readsOnly) return { kind: 'end', plan, waiting, kept };
    if (await lockAll(context, plan, locks)) return { kind: 'raced', waiting, kept };
    const texts = kept.length > 0 ? kept : await keepTexts(context, plan, classified, live);
    if (typeof texts === 'string') return { kind: 'failed', why: texts, waiting, kept };
    if (kept.length === 0) kept.push(...texts);
    // What was written since the read is not in this plan.
    if (asOfNow(request) !== request) return { kind: 'raced', waiting, kept };
    const result = await applyNative(context.host, withMark(context, plan));
    // Each try counts handles up.
    locks.clear();
    if (result.kind === 'committed') return { kind: 'again', plan, waiting, kept };
    if (result.kind === 'raced') return { kind: 'raced', waiting, kept };
    const fresh = result.kind === 'refused' ? result.refused.filter((each) => !isHeld(waiting, each)) : [];
    if (fresh.length === 0 || waiting.length + fresh.length > MOST_HELD)
      return { kind: 'failed', why: result.kind === 'failed' ? result.said : 'nft refuses too much', waiting, kept };
    for (const each of fresh) if (!isHeld(waiting, each)) waiting.push(waitingOf(each));
  }
}

/** The tables that are replaced or deleted get a lock; true when one was taken: what it guards is to be read after it. */
async function lockAll(context: PassContext, { edits }: NativePlan, locks: Map<string, NftLock>): Promise<boolean> {
  const { host, nonce, ownSentinels } = context;
  const open = edits.filter(({ kind, key }) => kind !== 'create' && !locks.has(key)).map(({ key }) => key);
  if (open.length === 0) return false;
  const name = (): string => {
    const chain = `mw-${nonce()}`;
    ownSentinels.add(chain);
    return chain;
  };
  const next = await nextHandles(host, new Map(open.map((key) => [key, name()])));
  for (const [key, nextHandle] of next) locks.set(key, { chain: name(), nextHandle });
  return true;
}

/** The commit is known as ours when it is heard, by its locks or by a mark. The mark stands in a table that is there when its line comes. */
function withMark(context: PassContext, { input, edits }: NativePlan): string {
  const made = edits.find(({ kind }) => kind !== 'delete');
  return made === undefined ? input : input + nativeMark(context, made.key);
}

const waitingOf = ({ key, chain, text, said }: RefusedNative): NativeWaiting => ({ key, chain, text, why: said });

const isHeld = (waiting: readonly NativeWaiting[], { key, chain, text }: RefusedNative): boolean =>
  waiting.some((rule) => rule.key === key && rule.chain === chain && rule.text === text);

/**
 * The journal holds the live text of each table that is replaced. As in apply.ts: a journal that cannot be written keeps only
 * those plans from being carried out that take rules away; then the reason.
 */
async function keepTexts(
  { host, journal }: PassContext,
  plan: NativePlan,
  classified: ClassifiedNative,
  live: NativePart,
): Promise<string[] | string> {
  const replaced = plan.edits.flatMap(({ kind, key }) => (kind === 'create' ? [] : (classified.get(key)?.table ?? [])));
  if (replaced.length === 0) return [];
  try {
    return [await journal.keepText(replaced.map(printNftTable).join(''))];
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    if (plan.edits.some(({ key, table }) => losesRules(live.get(key), table))) return error.message;
    host.log.write('error', `the native tables that are replaced now are not kept: ${error.message}`);
    return [];
  }
}

/** Something of what stands is not in the table that comes in its place. */
function losesRules(before: NftTable | undefined, after: NftTable | undefined): boolean {
  if (before === undefined) return false;
  if (
    after === undefined ||
    before.objects.some((one) => !after.objects.some((other) => objectKey(one) === objectKey(other)))
  )
    return true;
  const texts = (table: NftTable): string[] =>
    rulesOf(table).map(({ chain, text }) => `${chain} ${canonicalRule(text)}`);
  return missingFrom(texts(before), texts(after)).length > 0;
}
