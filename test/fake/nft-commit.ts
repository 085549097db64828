// iptables-nft, second half: the kernel takes a batch, whole or not at all. Works on the table as it is *now*.

import type { Op } from './nft-work.ts';
import {
  copyTable,
  emptyChain,
  emptyTable,
  jumpsTo,
  redirected,
  type FakeChain,
  type FakeRule,
  type FakeTable,
  type FakeTables,
  references,
} from './store.ts';

/** What one kernel transaction did; the monitor prints these in order. */
export type Effect =
  | { readonly kind: 'table'; readonly verb: 'add' | 'delete'; readonly table: string }
  | {
      readonly kind: 'chain';
      readonly verb: 'add' | 'create' | 'delete';
      readonly table: string;
      readonly chain: string;
      readonly policy: string;
    }
  | {
      readonly kind: 'rule';
      readonly verb: 'add' | 'insert' | 'delete';
      readonly table: string;
      readonly chain: string;
      readonly rule: FakeRule;
    };

export interface KernelError {
  readonly line: number;
  /** `CHAIN_DEL failed (Device or resource busy): chain aa` */
  readonly text: string;
}

interface Transaction {
  readonly name: string;
  table: FakeTable | undefined;
  readonly effects: Effect[];
  readonly errors: KernelError[];
}

export interface CommitResult {
  readonly effects: readonly Effect[];
  readonly errors: readonly KernelError[];
}

const ENOENT = 'No such file or directory';
const EBUSY = 'Device or resource busy';

/** Applies a batch to one table of `tables`. With errors nothing is changed. */
export function commit(tables: FakeTables, name: string, ops: readonly Op[]): CommitResult {
  const current = tables.get(name);
  const run: Transaction = { name, table: current && copyTable(current), effects: [], errors: [] };
  for (const op of ops) applyOp(run, op);
  if (run.errors.length > 0) return { effects: [], errors: run.errors };
  if (run.table === undefined) tables.delete(name);
  else if (run.effects.length > 0) tables.set(name, run.table);
  return { effects: run.effects, errors: [] };
}

function applyOp(run: Transaction, op: Op): void {
  switch (op.op) {
    case 'delete-table':
      return deleteTable(run);
    case 'add-table':
      return addTable(run);
    case 'add-base':
      return addBase(run, op);
    case 'add-chain':
      return addChain(run, op.chain, op.flushes);
    case 'delete-chain':
      return deleteChain(run, op.chain, op.line);
    case 'rename':
      return renameChain(run, op.chain, op.to, op.line);
    case 'flush':
      return flushChain(run, op.chain, op.line);
    case 'append':
    case 'insert':
      return addRule(run, op);
    case 'replace':
    case 'zero':
      return replaceRule(run, op);
    case 'delete':
      return deleteRule(run, op);
  }
}

const fail = (run: Transaction, line: number, what: string, reason: string, where: string): void =>
  void run.errors.push({ line, text: `${what} failed (${reason}): ${where}` });

function deleteTable(run: Transaction): void {
  if (run.table === undefined) return; // the tool skips this message when there is no table
  run.effects.push(...tableGone(run.table));
  run.table = undefined;
}

/** Effects of deleting a table: its rules, its chains, itself. */
export function tableGone(table: FakeTable): Effect[] {
  const chains = [...table.chains.values()];
  const rules = chains.flatMap((chain) =>
    chain.rules.map((rule) => ruleEffect(table.name, chain.name, 'delete', rule)),
  );
  return [
    ...rules,
    ...chains.map((chain) => chainEffect(table.name, chain, 'delete')),
    { kind: 'table', verb: 'delete', table: table.name },
  ];
}

const ruleEffect = (table: string, chain: string, verb: 'add' | 'insert' | 'delete', rule: FakeRule): Effect => ({
  kind: 'rule',
  verb,
  table,
  chain,
  rule,
});

const chainEffect = (table: string, chain: FakeChain, verb: 'add' | 'create' | 'delete'): Effect => ({
  kind: 'chain',
  verb,
  table,
  chain: chain.name,
  policy: chain.policy,
});

function addTable(run: Transaction): void {
  if (run.table !== undefined) return;
  run.table = emptyTable(run.name);
  run.effects.push({ kind: 'table', verb: 'add', table: run.name });
}

function addBase(run: Transaction, op: Extract<Op, { op: 'add-base' }>): void {
  if (run.table === undefined) return fail(run, op.line, 'CHAIN_ADD', ENOENT, `chain ${op.chain}`);
  const chain = run.table.chains.get(op.chain) ?? created(run.table, emptyChain(op.chain, op.policy));
  chain.policy = op.policy;
  [chain.packets, chain.bytes] = op.counters;
  run.effects.push(chainEffect(run.name, chain, 'add'));
}

function created(table: FakeTable, chain: FakeChain): FakeChain {
  chain.handle = table.nextHandle++;
  table.chains.set(chain.name, chain);
  return chain;
}

/** Somebody else may have made the chain meanwhile: then it is only flushed, or left (measured: no error). */
function addChain(run: Transaction, name: string, flushes: boolean): void {
  if (run.table === undefined) return fail(run, 0, 'CHAIN_USER_ADD', ENOENT, `chain ${name}`);
  const known = run.table.chains.get(name);
  if (known === undefined) run.effects.push(chainEffect(run.name, created(run.table, emptyChain(name, '-')), 'create'));
  else if (flushes) dropRules(run, known);
}

function deleteChain(run: Transaction, name: string, line: number): void {
  const chain = run.table?.chains.get(name);
  if (run.table === undefined || chain === undefined) return fail(run, line, 'CHAIN_DEL', ENOENT, `chain ${name}`);
  if (chain.rules.length > 0 || references(run.table).has(name))
    return fail(run, line, 'CHAIN_DEL', EBUSY, `chain ${name}`);
  run.table.chains.delete(name);
  run.effects.push(chainEffect(run.name, chain, 'delete'));
}

function renameChain(run: Transaction, from: string, to: string, line: number): void {
  const chain = run.table?.chains.get(from);
  if (run.table === undefined || chain === undefined) return fail(run, line, 'CHAIN_RENAME', ENOENT, `chain ${from}`);
  renameIn(run.table, chain, to);
  run.effects.push({ ...chainEffect(run.name, chain, 'add'), chain: to } as Effect);
}

/** Renames a chain and every jump to it: in the kernel a jump is a pointer. */
export function renameIn(table: FakeTable, chain: FakeChain, to: string): void {
  table.chains = new Map([...table.chains].map(([name, c]) => (c === chain ? [to, { ...c, name: to }] : [name, c])));
  for (const other of table.chains.values()) {
    other.rules = other.rules.map((rule) =>
      jumpsTo(rule.spec) === chain.name ? { ...rule, spec: redirected(rule.spec, to) } : rule,
    );
  }
}

function flushChain(run: Transaction, name: string, line: number): void {
  const chain = run.table?.chains.get(name);
  if (chain === undefined) return fail(run, line, 'RULE_FLUSH', ENOENT, `chain ${name}`);
  dropRules(run, chain);
}

function dropRules(run: Transaction, chain: FakeChain): void {
  for (const rule of chain.rules) run.effects.push(ruleEffect(run.name, chain.name, 'delete', rule));
  chain.rules = [];
}

function addRule(run: Transaction, op: Extract<Op, { op: 'append' | 'insert' }>): void {
  const what = op.op === 'append' ? 'RULE_APPEND' : 'RULE_INSERT';
  const chain = run.table?.chains.get(op.chain);
  const jump = jumpsTo(op.rule.spec);
  const at = chain === undefined ? -1 : placeOf(chain, op);
  if (
    run.table === undefined ||
    chain === undefined ||
    at === -1 ||
    (jump !== undefined && !run.table.chains.has(jump))
  ) {
    return fail(run, op.line, what, ENOENT, `rule in chain ${op.chain}`);
  }
  op.rule.handle = run.table.nextHandle++;
  chain.rules.splice(at, 0, op.rule);
  run.effects.push(ruleEffect(run.name, op.chain, op.op === 'append' ? 'add' : 'insert', op.rule));
}

const placeOf = (chain: FakeChain, op: Extract<Op, { op: 'append' | 'insert' }>): number => {
  if (op.op === 'append') return chain.rules.length;
  return op.before === undefined ? 0 : chain.rules.findIndex((rule) => rule.handle === op.before!.handle);
};

function replaceRule(run: Transaction, op: Extract<Op, { op: 'replace' | 'zero' }>): void {
  const chain = run.table?.chains.get(op.chain);
  const at = chain?.rules.findIndex((rule) => rule.handle === op.handle) ?? -1;
  if (chain === undefined || at === -1) {
    return fail(run, op.line, op.op === 'zero' ? 'RULE_ZERO' : 'RULE_REPLACE', ENOENT, `rule in chain ${op.chain}`);
  }
  const old = chain.rules[at]!;
  const rule = op.op === 'zero' ? { ...old, packets: 0, bytes: 0 } : op.rule;
  chain.rules[at] = rule;
  run.effects.push(ruleEffect(run.name, op.chain, 'delete', old), ruleEffect(run.name, op.chain, 'add', rule));
}

function deleteRule(run: Transaction, op: Extract<Op, { op: 'delete' }>): void {
  const chain = run.table?.chains.get(op.chain);
  const at = chain?.rules.findIndex((rule) => rule.handle === op.rule.handle) ?? -1;
  if (chain === undefined || at === -1) return fail(run, op.line, 'RULE_DELETE', ENOENT, `rule in chain ${op.chain}`);
  const [old] = chain.rules.splice(at, 1);
  run.effects.push(ruleEffect(run.name, op.chain, 'delete', old!));
}
