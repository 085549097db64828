// What the native tables add to a pass's outcome.

import { pendingNative } from '../merge/native-drift.ts';
import type { DecisionKind } from '../merge/decide.ts';
import type { NftFamily } from '../ruleset/nft/types.ts';
import { describeEdit, type NativeEnding } from './native.ts';
import type { Outcome, PassContext, TableReport } from './types.ts';

/** The outcome of both parts. What failed or could not be read decides its kind, then what was done. */
export function withNativeEnding(outcome: Outcome, { memory }: PassContext, native: NativeEnding): Outcome {
  const pending = pendingNative(memory.snapshot.native, memory.wish.native);
  if (native.kind === 'not-looked') return { ...outcome, drift: [...outcome.drift, ...native.drift, ...pending] };
  const changed = outcome.changed || native.done.length > 0;
  return {
    ...outcome,
    kind: kindOf(outcome, native, changed),
    changed,
    tables: [...outcome.tables, ...native.decisions.map((decision) => reportOf(decision, native))],
    drift: [...outcome.drift, ...native.drift, ...pending],
    mended: [...outcome.mended, ...native.mended],
    kept: [...outcome.kept, ...native.kept],
    why: outcome.why ?? native.why,
    ...(native.overtaken === true ? { overtaken: true } : {}),
  };
}

function kindOf({ kind }: Outcome, native: NativeEnding, changed: boolean): Outcome['kind'] {
  if (kind === 'unreadable' || kind === 'failed') return kind;
  if (native.kind === 'failed' || native.kind === 'unreadable') return native.kind;
  if (native.left.length > 0) return 'would-mend';
  if (changed && kind !== 'would-mend') return 'mended';
  const waits = native.decisions.some((decision) => decision.kind === 'wait');
  return kind === 'unchanged' && waits ? 'waiting-for-quiet' : kind;
}

function reportOf(
  { key, kind, evidence }: { readonly key: string; readonly kind: DecisionKind; readonly evidence: readonly string[] },
  { done, left }: NativeEnding,
): TableReport {
  const [family = 'inet', table = ''] = key.split(' ');
  const edits = [...done, ...left].filter((edit) => edit.key === key).map(describeEdit);
  return { family: family as NftFamily, table, decision: kind, evidence, edits };
}
