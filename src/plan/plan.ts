// The least edit from a live table to its target, as one transaction, with its inverse.
// Goals: rules that may stay are not touched (counters and state survive); a deletion names the rule it deletes.
// Guarantees: applied to exactly the live table it was made for, the result is the target; the inverse leads back.
// Law 7: the transaction begins with the optimistic lock (sentinel chain); see render.ts.

import type { TargetTable } from '../merge/merge.ts';
import { alignStaying } from '../ruleset/align.ts';
import type { Family, Table } from '../ruleset/types.ts';
import { isSentinel } from '../owners/mendwall.ts';

export type Edit =
  | { readonly kind: 'new-chain'; readonly chain: string }
  | { readonly kind: 'delete-chain'; readonly chain: string }
  | { readonly kind: 'policy'; readonly chain: string; readonly policy: string }
  /** Deletes the first rule from the top with this text. */
  | { readonly kind: 'delete'; readonly chain: string; readonly text: string }
  /** `at`: 1-based place after the edits before it; undefined appends. `counters` are kept for a rule that moves. */
  | {
      readonly kind: 'insert';
      readonly chain: string;
      readonly text: string;
      readonly at: number | undefined;
      readonly counters: string | undefined;
    };

export interface TablePlan {
  readonly family: Family;
  readonly table: string;
  readonly edits: readonly Edit[];
}

/** A rule as the planner sees it; `counters` only where it stands live. */
interface Line {
  readonly text: string;
  readonly counters?: string | undefined;
}

/** A table as the planner sees it: chains with policies and rules. */
type Shape = ReadonlyMap<string, { readonly policy: string; readonly rules: readonly Line[] }>;

/**
 * The edits that turn `live` into `target`, and those that turn it back. Both empty when nothing differs. The way back is
 * worked out when it is asked for: only a failed apply needs it, and it costs as much as the way there.
 */
export function planTable(
  family: Family,
  live: Table | undefined,
  target: TargetTable,
): { readonly plan: TablePlan; readonly inverse: TablePlan } {
  const from = shapeOfLive(live, target);
  const to = shapeOfTarget(target, from);
  const edits = editsBetween(from, to);
  return {
    plan: { family, table: target.name, edits },
    get inverse() {
      return { family, table: target.name, edits: edits.length === 0 ? [] : editsBetween(to, from) };
    },
  };
}

/** A chain the target has is the user's, whatever its name. */
function shapeOfLive(live: Table | undefined, target: TargetTable): Shape {
  const chains = [...(live?.chains ?? [])].filter(([name, chain]) => !isSentinel(chain) || target.chains.has(name));
  return new Map(chains);
}

function shapeOfTarget(target: TargetTable, from: Shape): Shape {
  const chains = new Map<string, { policy: string; rules: readonly Line[] }>();
  for (const { name, policy, rules } of target.chains.values()) {
    chains.set(name, { policy: policy ?? from.get(name)?.policy ?? 'ACCEPT', rules });
  }
  return chains;
}

/**
 * Chains are made first, so that jumps into them load; rules before chains are deleted, so that nothing points to a
 * chain that goes. Policies that close come before the rules, policies that open after them: no moment is more open.
 */
function editsBetween(from: Shape, to: Shape): Edit[] {
  const made: Edit[] = [];
  const closing: Edit[] = [];
  const opening: Edit[] = [];
  const rules: Edit[][] = [];
  const gone: Edit[] = [];
  for (const [chain, wanted] of to) {
    const { policy } = wanted;
    const before = from.get(chain);
    if (before === undefined && policy === '-') made.push({ kind: 'new-chain', chain });
    else if (policy !== '-' && policy !== (before?.policy ?? 'ACCEPT')) {
      (policy === 'ACCEPT' ? opening : closing).push({ kind: 'policy', chain, policy });
    }
    rules.push(chainEdits(chain, before?.rules ?? [], wanted.rules));
  }
  for (const [chain, before] of from) {
    if (to.has(chain)) continue;
    rules.push(chainEdits(chain, before.rules, []));
    if (before.policy === '-') gone.push({ kind: 'delete-chain', chain });
  }
  return [...made, ...closing, ...rules.flat(), ...gone, ...opening];
}

/** Deletions first (by text, from the top), then insertions from the top down, so that every place is that of the moment. */
export function chainEdits(chain: string, from: readonly Line[], to: readonly Line[]): Edit[] {
  if (sameTexts(from, to)) return [];
  const texts = from.map((rule) => rule.text);
  const staying = namedDeletions(
    texts,
    alignStaying(
      texts,
      to.map((rule) => rule.text),
    ),
  );
  const stays = new Uint8Array(from.length);
  let lastStaying = -1;
  staying.forEach((index, at) => {
    if (index === -1) return;
    stays[index] = 1;
    lastStaying = at;
  });
  const edits: Edit[] = [];
  const counters = new Map<string, (string | undefined)[]>();
  from.forEach(({ text, counters: counted }, index) => {
    if (stays[index] === 1) return;
    edits.push({ kind: 'delete', chain, text });
    const copies = counters.get(text) ?? [];
    copies.push(counted === '0:0' ? undefined : counted);
    counters.set(text, copies);
  });
  to.forEach(({ text }, at) => {
    if (staying[at] !== -1) return;
    // Behind the last rule that stays, appending needs no search of the chain (iptables-nft looks a number up by walking).
    const place = at > lastStaying ? undefined : at + 1;
    edits.push({ kind: 'insert', chain, text, at: place, counters: counters.get(text)?.shift() });
  });
  return edits;
}

function sameTexts(a: readonly Line[], b: readonly Line[]): boolean {
  return a.length === b.length && a.every((rule, index) => rule.text === b[index]?.text);
}

/**
 * `-D` takes the first copy from the top. Where a lower copy must go while a higher one stays, the higher one goes too and
 * is inserted again: so a deletion by text always hits the copy that is meant.
 */
function namedDeletions(from: readonly string[], staying: Int32Array): Int32Array {
  const stays = new Uint8Array(from.length);
  staying.forEach((index) => {
    if (index !== -1) stays[index] = 1;
  });
  const mustGo = new Set<string>();
  const kept = new Uint8Array(from.length);
  for (let index = from.length - 1; index >= 0; index--) {
    const text = from[index] as string;
    if (stays[index] === 0) mustGo.add(text);
    else if (!mustGo.has(text)) kept[index] = 1;
  }
  return mustGo.size === 0 ? staying : staying.map((index) => (index !== -1 && kept[index] === 1 ? index : -1));
}
