// The model of an iptables ruleset. Text is the model: a rule is the exact text that iptables-save printed.
// Everything else here is a view on that text. Pure; depends on nothing.

export type Family = 'ip' | 'ip6';
export const FAMILIES: readonly Family[] = ['ip', 'ip6'];

/** The five tables of iptables. Text of other tables is still carried (`Table.name` is a string). */
export type TableName = string;
export const TABLES: readonly TableName[] = ['filter', 'nat', 'mangle', 'raw', 'security'];

export interface Rule {
  /** Chain the rule stands in. */
  readonly chain: string;
  /**
   * `-A CHAIN ...` as printed, without counters and trailing blanks: the rule's identity (its key). One line, but for a quoted
   * string that holds a line break; iptables-restore cannot load such a rule (merge/unloadable.ts).
   */
  readonly text: string;
  /** `packets:bytes` as printed in `[..]` before the rule, when it was. */
  readonly counters: string | undefined;
}

export interface Chain {
  readonly name: string;
  /** `ACCEPT`, `DROP`, ... for a built-in chain; `-` for a chain somebody made. */
  readonly policy: string;
  readonly counters: string | undefined;
  readonly rules: readonly Rule[];
}

export const isBuiltin = (chain: Chain): boolean => chain.policy !== '-';

export interface Table {
  readonly name: TableName;
  /** In printed order. */
  readonly chains: ReadonlyMap<string, Chain>;
}

/** The tables of one family, as one `iptables-save` gave them. A table that was not printed is not in the kernel. */
export interface Ruleset {
  readonly family: Family;
  readonly tables: ReadonlyMap<TableName, Table>;
}

/** A problem in a text a person can mend. Closed set of codes: docs/errors.md has a row for each. */
export interface Problem {
  readonly code: ProblemCode;
  readonly file: string;
  /** 1-based. */
  readonly line: number;
  /** 1-based. */
  readonly column: number;
  readonly message: string;
}

export const PROBLEM_CODES = [
  'no-table',
  'no-commit',
  'bad-table-line',
  'bad-chain-line',
  'bad-counters',
  'bad-line',
  'unknown-chain',
  'table-again',
  'chain-again',
  'unclosed-quote',
  'not-text',
  'unclosed-block',
  'extra-brace',
] as const;
export type ProblemCode = (typeof PROBLEM_CODES)[number];
