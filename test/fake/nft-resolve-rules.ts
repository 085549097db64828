// Edits of single rules: which handle they mean, as far as the tool knows when it reads.

import type { Edit } from './command-line.ts';
import { chainForWriting, errno, ERRNO, push, type Refusal, type Work } from './nft-work.ts';
import type { FakeChain, FakeRule } from './store.ts';

export type RuleEdit = Extract<Edit, { kind: 'append' | 'insert' | 'replace' | 'delete' | 'check' | 'delete-at' }>;

export function resolveRule(work: Work, edit: RuleEdit): Refusal | undefined {
  const jump = 'spec' in edit ? edit.spec.jump : undefined;
  if (jump !== undefined && !work.table?.chains.has(jump)) {
    return { kind: 'at-commit', message: `Chain '${jump}' does not exist` };
  }
  switch (edit.kind) {
    case 'append':
    case 'insert':
      return resolveAdd(work, edit);
    case 'delete':
    case 'check':
      return resolveDelete(work, edit);
    case 'delete-at':
    case 'replace':
      return resolveNumbered(work, edit);
  }
}

function resolveAdd(work: Work, edit: Extract<Edit, { kind: 'append' | 'insert' }>): Refusal | undefined {
  const chain = chainForWriting(work, edit.chain);
  if (chain === undefined) return errno(work, ERRNO.noChain);
  const rule = newRule(work, edit.spec);
  const at = edit.kind === 'append' ? chain.rules.length + 1 : edit.at;
  if (at > chain.rules.length + 1) return errno(work, ERRNO.insertion);
  // One past the end is an append, the top has no anchor, the rest is anchored to the rule that stands there.
  if (at === chain.rules.length + 1 && at > 1) push(work, { op: 'append', chain: edit.chain, rule });
  else if (edit.kind === 'append') push(work, { op: 'append', chain: edit.chain, rule });
  else push(work, { op: 'insert', chain: edit.chain, rule, before: at === 1 ? undefined : chain.rules[at - 1] });
  chain.rules.splice(at - 1, 0, rule);
  return undefined;
}

function newRule(work: Work, spec: Extract<Edit, { kind: 'append' }>['spec']): FakeRule {
  const { packets, bytes } = (!work.losesCounters && spec.counters) || { packets: 0, bytes: 0 };
  return { handle: undefined, spec: spec.text, packets, bytes };
}

function resolveDelete(work: Work, edit: Extract<Edit, { kind: 'delete' | 'check' }>): Refusal | undefined {
  const chain = work.table?.chains.get(edit.chain);
  const at = chain?.rules.findIndex((rule) => rule.spec === edit.spec.text) ?? -1;
  if (chain === undefined || at === -1) return errno(work, ERRNO.badRule);
  if (edit.kind === 'delete') removeAt(work, chain, at);
  return undefined;
}

function resolveNumbered(work: Work, edit: Extract<Edit, { kind: 'delete-at' | 'replace' }>): Refusal | undefined {
  const chain = work.table?.chains.get(edit.chain);
  if (chain === undefined) return errno(work, ERRNO.noChain);
  const old = chain.rules[edit.at - 1];
  if (old === undefined) return errno(work, edit.kind === 'replace' ? ERRNO.replacement : ERRNO.deletion);
  if (edit.kind === 'delete-at') return removeAt(work, chain, edit.at - 1);
  if (old.handle === undefined) return { kind: 'crash' }; // 1.8.9: segmentation fault, measured
  const rule = { ...newRule(work, edit.spec), handle: old.handle };
  push(work, { op: 'replace', chain: edit.chain, rule, handle: old.handle });
  chain.rules[edit.at - 1] = rule;
  return undefined;
}

function removeAt(work: Work, chain: FakeChain, at: number): undefined {
  const [rule] = chain.rules.splice(at, 1);
  push(work, { op: 'delete', chain: chain.name, rule: rule! });
}
