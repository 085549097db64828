// Two forms of one native table into one: what only the other has, at the place it has there. Pure.
// Guarantees: every object and every rule of the first stays, in its order.

import { mapObjects, objectKey } from '../ruleset/nft/native-part.ts';
import { canonicalRule } from '../ruleset/nft/same.ts';
import type { NftChain, NftObject, NftTable } from '../ruleset/nft/types.ts';
import { weave } from './weave.ts';

/** `base` with the objects that only `other` has, each behind the one it follows there. */
export function withObjectsOf(base: NftTable, other: NftTable): NftTable {
  const standing = new Set(base.objects.map(objectKey));
  const missing = new Map(
    other.objects.filter((object) => !standing.has(objectKey(object))).map((object) => [objectKey(object), object]),
  );
  if (missing.size === 0) return base;
  const order = weave([...standing], other.objects.map(objectKey));
  const behind = (at: number): NftObject[] => {
    const object = missing.get(order[at] ?? '');
    return object === undefined ? [] : [object, ...behind(at + 1)];
  };
  const first = behind(0);
  const parts: NftTable['parts'][number][] = [];
  let isFirst = true;
  for (const part of base.parts) {
    const isObject = part.kind !== 'line' && part.kind !== 'text';
    if (isObject && isFirst) parts.push(...first);
    if (isObject) isFirst = false;
    parts.push(part, ...(isObject ? behind(order.indexOf(objectKey(part)) + 1) : []));
  }
  if (isFirst) parts.push(...first);
  return { ...base, parts, objects: parts.filter((part) => part.kind !== 'line' && part.kind !== 'text') };
}

/** The chain with other rules; its own lines stay above them. */
export function withRules(chain: NftChain, rules: NftChain['rules']): NftChain {
  return { ...chain, rules, parts: [...chain.parts.filter(({ kind }) => kind !== 'rule'), ...rules] };
}

/** `base` with the rules that `other` has more of, each below the rule that stands above it there. */
export function withRulesOf(base: NftChain, other: NftChain): NftChain {
  const texts = (chain: NftChain): string[] => chain.rules.map(({ text }) => canonicalRule(text));
  const byText = new Map([...other.rules, ...base.rules].map((rule) => [canonicalRule(rule.text), rule]));
  const order = weave(texts(base), texts(other));
  return order.length === base.rules.length
    ? base
    : withRules(
        base,
        order.flatMap((text) => byText.get(text) ?? []),
      );
}

/** `live` with all that `wish` has and it lacks; a chain has its hook and policy from `wish`, and so has a changed set its elements. */
export function withLost(live: NftTable, wish: NftTable): NftTable {
  const wanted = new Map(wish.objects.map((object) => [objectKey(object), object]));
  const merged = mapObjects(live, (object) => {
    const before = wanted.get(objectKey(object));
    if (before === undefined) return object;
    if (object.kind !== 'chain' || before.kind !== 'chain') return before;
    return withRules(before, withRulesOf(object, before).rules);
  });
  return withObjectsOf(merged, wish);
}
