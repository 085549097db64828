// One refusal of iptables at a time: which line of the text it means, and what becomes of that line. Pure.

import type { Family, Problem, ProblemCode } from '../ruleset/types.ts';
import { declaredChains, isAddress, VERDICTS, type InputLine, type RuleLine } from './canonical-input.ts';
import type { RestoreEngine, RestoreError } from './restore-error.ts';

/** What is known of the text so far. The maps and sets grow as lines are settled. */
export interface Judgement {
  readonly engine: RestoreEngine;
  readonly family: Family;
  readonly file: string;
  readonly lines: readonly InputLine[];
  /** Chains the text declares, as `table chain`. */
  readonly declared: ReadonlySet<string>;
  readonly bad: Map<number, Problem>;
  /** Lines that cannot be judged whole, with the reason. They are loaded unless they are in `dropped`. */
  readonly unchecked: Map<number, string>;
  readonly dropped: Set<number>;
  /** Chains of others that the text needs, by table; made empty. */
  readonly stubs: Map<string, Set<string>>;
}

export type LineError = Extract<RestoreError, { kind: 'line' | 'lost-race' }>;

export function newJudgement(
  engine: RestoreEngine,
  family: Family,
  file: string,
  lines: readonly InputLine[],
): Judgement {
  const declared = declaredChains(lines);
  return {
    engine,
    family,
    file,
    lines,
    declared,
    bad: new Map(),
    unchecked: new Map(),
    dropped: new Set(),
    stubs: new Map(),
  };
}

/** The line is wrong and stays out. */
export function refuse(judgement: Judgement, line: number, code: ProblemCode, message: string): void {
  judgement.dropped.add(line);
  judgement.bad.set(line, { code, file: judgement.file, line, column: 1, message });
}

/** A chain of somebody else is made, empty, before the table's lines. */
export function stub(judgement: Judgement, table: string, chain: string): void {
  const chains = judgement.stubs.get(table) ?? new Set();
  judgement.stubs.set(table, chains.add(chain));
}

/** Takes a refusal of the line `number` into account; false when that is none of the text's lines with content. */
export function settleLine(judgement: Judgement, error: LineError, number: number): boolean {
  const line = judgement.lines[number - 1];
  if (line?.text.startsWith('*')) settleTable(judgement, line, error);
  else if (line?.kind === 'chain') refuse(judgement, number, 'bad-chain-line', plain(error.message));
  else if (line?.kind === 'rule') settleRule(judgement, line, error);
  else return false;
  return true;
}

/** A table that this kernel does not have: nothing in it can be tried. */
function settleTable(judgement: Judgement, head: InputLine, error: LineError): void {
  refuse(judgement, head.number, 'bad-table-line', plain(error.message));
  for (const { number, text } of judgement.lines.slice(head.number)) {
    judgement.dropped.add(number);
    if (text === 'COMMIT') return;
    if (text !== '') judgement.unchecked.set(number, `table ${head.text.slice(1)} cannot be loaded here`);
  }
}

function settleRule(judgement: Judgement, line: RuleLine, error: LineError): void {
  const missing = missingChain(judgement, line, error);
  if (missing !== undefined) {
    stub(judgement, line.table, missing);
    judgement.unchecked.set(line.number, `there is no chain or target ${missing} now`);
    return;
  }
  const cannot = cannotBeMade(line, error);
  if (cannot === undefined) refuse(judgement, line.number, 'bad-line', plain(error.message));
  else judgement.unchecked.set(line.number, cannot);
  judgement.dropped.add(line.number);
}

/** The chain that a refused rule lacks, when it is not made yet. Legacy says only that the line failed. */
function missingChain(judgement: Judgement, line: RuleLine, error: LineError): string | undefined {
  if (error.kind !== 'line') return undefined;
  const isNew = (chain: string): boolean =>
    !judgement.stubs.get(line.table)?.has(chain) && !VERDICTS.has(chain) && /^[\w.+-]{1,28}$/.test(chain); // LIBVIRT_FWI
  if (error.name !== undefined && ['chain-missing', 'target-missing'].includes(error.code)) {
    return isNew(error.name) ? error.name : undefined;
  }
  const saysNothing = judgement.engine === 'legacy' && /: line \d+ failed$/.test(error.message); // iptables-restore: line 3 failed
  const mayLack = saysNothing || error.code === 'chain-missing';
  return mayLack && !judgement.declared.has(`${line.table} ${line.chain}`) && isNew(line.chain)
    ? line.chain
    : undefined;
}

/** Why a rule cannot be tried in an empty namespace, or undefined when it is simply wrong. */
function cannotBeMade(line: RuleLine, error: LineError): string | undefined {
  if (error.kind === 'line' && error.code === 'match-missing') {
    return `match extension ${error.name ?? ''} cannot be loaded on this machine`;
  }
  const host = /host\/network `(.*)' not found/.exec(error.message)?.[1]; // host/network `mail.example.org' not found
  if (host !== undefined && !isAddress(host)) return `host name ${host} cannot be resolved here`;
  if (line.tokens.includes('nfacct')) return 'its nfacct object cannot be made in an empty namespace';
  return line.tokens.includes('--path') ? 'its cgroup cannot be seen from an empty namespace' : undefined;
}

/** `iptables-restore v1.8.9 (nf_tables): invalid mask ...` -> `invalid mask ...`; `line 2: RULE_APPEND failed ...` too. */
const plain = (message: string): string =>
  message.replace(/^ip6?tables\S* v\S+ \(\w+\): /, '').replace(/^(?:ip6?tables\S*: )?line \d+(?: failed)?: /, '');
