// iptables-nft, first half of a transaction: reads the table once and turns edits into operations on handles.
// Nothing here touches the kernel. Between this and nft-commit.ts anybody may commit; the handles are not looked up again.

import type { Edit } from './command-line.ts';
import { resolveRule } from './nft-resolve-rules.ts';
import {
  ensureBase,
  ensureTable,
  errno,
  ERRNO,
  push,
  type LineEdit,
  type Op,
  type Refusal,
  type Work,
} from './nft-work.ts';
import { copyTable, emptyChain, isBuiltinName, type FakeRule, type FakeTable } from './store.ts';

export interface Job {
  readonly table: string;
  readonly edits: readonly LineEdit[];
  /** A restore without --noflush. */
  readonly replaces: boolean;
  /** ip6tables-nft 1.8.9 loses the counters of rules, with -c too (measured; those of policies it keeps). */
  readonly losesCounters: boolean;
}

/** Operations for one table, or the first refusal. */
export function resolve(current: FakeTable | undefined, job: Job): Op[] | Refusal {
  const work: Work = {
    name: job.table,
    table: current && copyTable(current),
    ops: [],
    losesCounters: job.losesCounters,
    line: 0,
  };
  if (job.replaces) {
    push(work, { op: 'delete-table' });
    work.table = undefined;
  }
  for (const { line, edit } of job.edits) {
    work.line = line;
    const refused = resolveEdit(work, edit);
    if (refused !== undefined) return refused;
  }
  return work.ops;
}

function resolveEdit(work: Work, edit: Edit): Refusal | undefined {
  switch (edit.kind) {
    case 'append':
    case 'insert':
    case 'replace':
    case 'delete':
    case 'check':
    case 'delete-at':
      return resolveRule(work, edit);
    case 'flush':
      return resolveFlush(work, edit.chain);
    case 'delete-chain':
      return resolveDeleteChain(work, edit.chain);
    case 'new-chain':
      return resolveNewChain(work, edit.chain);
    case 'rename':
      return resolveRename(work, edit.chain, edit.to);
    case 'policy':
      return resolvePolicy(work, edit.chain, edit.policy, [0, 0]);
    case 'zero':
      return resolveZero(work, edit.chain);
    case 'declare':
      return resolveDeclare(work, edit);
    case 'list':
      return undefined;
  }
}

function resolveFlush(work: Work, name: string | undefined): Refusal | undefined {
  if (name !== undefined && isBuiltinName(work.name, name)) ensureBase(work, name);
  const chains = name === undefined ? [...(work.table?.chains.values() ?? [])] : [work.table?.chains.get(name)];
  for (const chain of chains) {
    if (chain === undefined) return errno(work, ERRNO.noChain);
    for (const rule of chain.rules) if (rule.handle === undefined) forget(work, rule);
    push(work, { op: 'flush', chain: chain.name });
    chain.rules = [];
  }
  return undefined;
}

/** A rule of this same batch that is flushed again never reaches the kernel (no event is seen). */
function forget(work: Work, rule: FakeRule): void {
  const at = work.ops.findIndex((op) => 'rule' in op && op.rule === rule);
  work.ops.splice(at, 1);
}

function resolveDeleteChain(work: Work, name: string | undefined): Refusal | undefined {
  if (name === undefined) return deleteAllChains(work);
  const chain = work.table?.chains.get(name);
  if (chain === undefined) return errno(work, ERRNO.noChain);
  if (chain.policy !== '-' && chain.policy !== 'ACCEPT') return errno(work, ERRNO.notEmpty);
  push(work, { op: 'delete-chain', chain: name });
  work.table?.chains.delete(name);
  return undefined;
}

/** Built-in chains go too, before the others, when they are empty and their policy is ACCEPT. */
function deleteAllChains(work: Work): undefined {
  const chains = [...(work.table?.chains.values() ?? [])];
  const builtin = chains.filter((chain) => chain.policy === 'ACCEPT' && chain.rules.length === 0);
  for (const chain of [...builtin, ...chains.filter(({ policy }) => policy === '-')]) {
    push(work, { op: 'delete-chain', chain: chain.name });
    work.table?.chains.delete(chain.name);
  }
}

function resolveNewChain(work: Work, name: string): Refusal | undefined {
  if (isBuiltinName(work.name, name) || work.table?.chains.has(name)) return errno(work, ERRNO.chainExists);
  addChain(work, name, false);
  return undefined;
}

function addChain(work: Work, name: string, flushes: boolean): void {
  const table = ensureTable(work);
  push(work, { op: 'add-chain', chain: name, flushes });
  table.chains.set(name, emptyChain(name, '-'));
}

/** The tool does not rename in what it has read: later lines of the same input still see the old name (1.8.9). */
function resolveRename(work: Work, from: string, to: string): Refusal | undefined {
  if (isBuiltinName(work.name, to) || work.table?.chains.has(to)) return errno(work, ERRNO.fileExists);
  if (isBuiltinName(work.name, from) || !work.table?.chains.has(from)) return errno(work, ERRNO.noChain);
  push(work, { op: 'rename', chain: from, to });
  return undefined;
}

function resolvePolicy(
  work: Work,
  name: string,
  policy: string,
  counters: readonly [number, number],
): Refusal | undefined {
  if (!isBuiltinName(work.name, name)) return errno(work, ERRNO.builtin);
  if (policy !== 'ACCEPT' && policy !== 'DROP') return errno(work, ERRNO.policy);
  ensureBase(work, name);
  push(work, { op: 'add-base', chain: name, policy, counters });
  return undefined;
}

/** -Z declares each built-in chain again with the policy that was *read*: `-P INPUT ACCEPT` before it is undone (1.8.9). */
function resolveZero(work: Work, name: string | undefined): Refusal | undefined {
  const chains = name === undefined ? [...(work.table?.chains.values() ?? [])] : [work.table?.chains.get(name)];
  for (const chain of chains) {
    if (chain === undefined) return errno(work, ERRNO.noChain);
    if (chain.policy !== '-') push(work, { op: 'add-base', chain: chain.name, policy: chain.policy, counters: [0, 0] });
    for (const { handle, packets, bytes } of chain.rules) {
      if (handle !== undefined && packets + bytes > 0) push(work, { op: 'zero', chain: chain.name, handle });
    }
  }
  return undefined;
}

function resolveDeclare(work: Work, edit: Extract<Edit, { kind: 'declare' }>): Refusal | undefined {
  const { chain, policy, counters } = edit;
  if (isBuiltinName(work.name, chain)) {
    const wanted = policy === '-' ? ensureBase(work, chain).policy : policy;
    return resolvePolicy(work, chain, wanted, counters ? [counters.packets, counters.bytes] : [0, 0]);
  }
  const known = work.table?.chains.get(chain);
  if (known === undefined) addChain(work, chain, true);
  else if (known.rules.length > 0 || known.handle > 0) {
    push(work, { op: 'add-chain', chain, flushes: true });
    known.rules = [];
  }
  return undefined;
}
