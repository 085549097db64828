// What a transaction of iptables-nft is made of: messages to the kernel, and the table as the tool believes it to be.

import type { Edit } from './command-line.ts';
import { emptyChain, emptyTable, isBuiltinName, type FakeChain, type FakeRule, type FakeTable } from './store.ts';

/** One message to the kernel. `line` is the line of restore input it came from. */
export type Op = { readonly line: number } & (
  | { readonly op: 'delete-table' }
  | { readonly op: 'add-table' }
  | {
      readonly op: 'add-base';
      readonly chain: string;
      readonly policy: string;
      readonly counters: readonly [number, number];
    }
  | { readonly op: 'add-chain'; readonly chain: string; readonly flushes: boolean }
  | { readonly op: 'flush'; readonly chain: string }
  | { readonly op: 'delete-chain'; readonly chain: string }
  | { readonly op: 'rename'; readonly chain: string; readonly to: string }
  | { readonly op: 'append'; readonly chain: string; readonly rule: FakeRule }
  | { readonly op: 'insert'; readonly chain: string; readonly rule: FakeRule; readonly before: FakeRule | undefined }
  | { readonly op: 'replace'; readonly chain: string; readonly rule: FakeRule; readonly handle: number }
  /** The rule may be one of this same batch: then it has its handle only when the kernel comes to this. */
  | { readonly op: 'delete'; readonly chain: string; readonly rule: FakeRule }
  | { readonly op: 'zero'; readonly chain: string; readonly handle: number }
);

export interface LineEdit {
  readonly line: number;
  readonly edit: Edit;
}

/** Why the tool gives up before it talks to the kernel. */
export type Refusal =
  /** `line N failed: <errno text>`, exit code 1. */
  | { readonly kind: 'errno'; readonly line: number; readonly errno: string }
  /** A message of xtables_error, exit code 2; names the line of COMMIT. */
  | { readonly kind: 'at-commit'; readonly message: string }
  | { readonly kind: 'crash' };

export const ERRNO = {
  noChain: 'No chain/target/match by that name.',
  badRule: 'Bad rule (does a matching rule exist in that chain?).',
  chainExists: 'Chain already exists.',
  fileExists: 'File exists.',
  notEmpty: 'Directory not empty.',
  insertion: 'Index of insertion too big.',
  deletion: 'Index of deletion too big.',
  replacement: 'Index of replacement too big.',
  builtin: 'Bad built-in chain name.',
  policy: 'Bad policy name.',
} as const;

export interface Work {
  readonly name: string;
  /** What the tool believes the table holds after the edits so far; undefined = no such table. */
  table: FakeTable | undefined;
  readonly ops: Op[];
  readonly losesCounters: boolean;
  line: number;
}

type OpBody = Op extends infer O ? (O extends Op ? Omit<O, 'line'> : never) : never;
export const push = (work: Work, op: OpBody): void => void work.ops.push({ ...op, line: work.line } as Op);

export const errno = (work: Work, text: string): Refusal => ({ kind: 'errno', line: work.line, errno: text });

export function ensureTable(work: Work): FakeTable {
  if (work.table === undefined) {
    push(work, { op: 'add-table' });
    work.table = emptyTable(work.name);
  }
  return work.table;
}

/** A built-in chain comes into the kernel with its first use, always with policy ACCEPT. */
export function ensureBase(work: Work, name: string): FakeChain {
  const table = ensureTable(work);
  const known = table.chains.get(name);
  if (known !== undefined) return known;
  const chain = emptyChain(name, 'ACCEPT');
  table.chains.set(name, chain);
  push(work, { op: 'add-base', chain: name, policy: 'ACCEPT', counters: [0, 0] });
  return chain;
}

export const chainForWriting = (work: Work, name: string): FakeChain | undefined =>
  isBuiltinName(work.name, name) ? ensureBase(work, name) : work.table?.chains.get(name);
