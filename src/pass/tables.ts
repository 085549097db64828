// All tables that are not iptables' own, in one pass: nft's, then those of ebtables and arptables, as one ending.

import type { NativePart } from '../ruleset/nft/native-part.ts';
import { onlySaved, withoutSaved } from '../ruleset/nft/saved.ts';
import { type NativeEnding, walkNative } from './native.ts';
import { walkSaved } from './saved.ts';
import type { PassContext, PassRequest } from './types.ts';

/** Runs both. Never throws for what the tools say. */
export async function walkTables(context: PassContext, request: PassRequest): Promise<NativeEnding> {
  const before = context.memory.wish.native;
  const native = await walkNative(context, request);
  const saved = await walkSaved(context, request, native.names);
  return saved.kind === 'not-looked' ? withWish(native, before) : joined(native, saved, before);
}

/** What was not looked at is wanted as it was. */
const withWish = (native: NativeEnding, before: NativePart): NativeEnding =>
  native.wish === undefined ? native : { ...native, wish: new Map([...native.wish, ...onlySaved(before)]) };

function joined(native: NativeEnding, saved: NativeEnding, before: NativePart): NativeEnding {
  const isAny = native.wish !== undefined || saved.wish !== undefined;
  const wish = new Map([...(native.wish ?? withoutSaved(before)), ...(saved.wish ?? onlySaved(before))]);
  return {
    ...native,
    kind: native.kind === 'seen' ? saved.kind : native.kind,
    why: native.why ?? saved.why,
    ...(native.overtaken === true || saved.overtaken === true ? { overtaken: true } : {}),
    classified: new Map([...native.classified, ...saved.classified]),
    decisions: [...native.decisions, ...saved.decisions],
    wish: isAny ? wish : undefined,
    done: [...native.done, ...saved.done],
    mended: [...native.mended, ...saved.mended],
    left: [...native.left, ...saved.left],
    waiting: [...native.waiting, ...saved.waiting],
    drift: [...native.drift, ...saved.drift],
    kept: [...native.kept, ...saved.kept],
  };
}
