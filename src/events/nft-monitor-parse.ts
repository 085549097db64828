// The text of `nft monitor`, line by line, as commits. Pure.
// Goals: say that a table was touched at the first line of a transaction (the generation line comes last, 190 ms late after a
// flush of 10,000 rules), and what the transaction did to each table once its generation line is there.
// Guarantees: a few string checks a line; no rule text is kept, only names; a transaction that may have lost lines is never
// given as a commit, it is a `look`.
// Does not: tell whose change it was; the caller reads the author from the pid and the command name. Nor resist root: a native
// rule's comment with a line break can forge a generation line, which then is a `look`, whatever its number.
// Formats: nftables src/monitor.c, and what nft 1.0.6 and 1.1.3 printed (test/captures/nft-monitor).

import type { Family, TableName } from '../ruleset/types.ts';
import { createTransaction, ownCopy } from './nft-transaction.ts';
import type { Commit } from './types.ts';

/** A commit with its author as the kernel names it. `pid` is undefined on kernels before 4.14, which do not say. */
export interface ParsedCommit extends Omit<Commit, 'author'> {
  readonly pid: number | undefined;
  readonly comm: string;
}

export interface MonitorSink {
  /** The first line of a transaction for this table of iptables'. The generation line is still to come. */
  touched(family: Family, table: TableName, chain: string | undefined): void;
  commit(commit: ParsedCommit): void;
  /** Events were lost, or may have been: only a full read tells. */
  look(reason: string): void;
}

export interface MonitorParser {
  line(text: string): void;
  /**
   * Call when the stream was quiet for a while after a loss or after its start: what was lost lies behind us, and the next
   * transaction is whole. A new parser starts in doubt, since the monitor may have joined in the middle of a transaction.
   */
  trust(): void;
  /** True between the first line of a transaction and its generation line. */
  readonly isInside: boolean;
}

const OVERFLOW = '# ERROR: We lost some netlink events!';
const GENERATION = '# new generation ';
const BY_PROCESS = ' by process ';
const JUST_STARTED = 'the monitor has just started';
const UNENDED = 'a text with a line break did not end';
const HASH = 0x23;

/** A new parser; one for each run of `nft monitor`. */
export function createMonitorParser(sink: MonitorSink): MonitorParser {
  let transaction = createTransaction(sink.touched);
  let lastGeneration: number | undefined;
  let doubt: string | undefined = JUST_STARTED;

  function generation(text: string): void {
    const mark = readGeneration(text);
    if (mark === undefined) return;
    const gap = lastGeneration === undefined ? 1 : mark.generation - lastGeneration;
    if (gap !== 1) doubt = `generation ${mark.generation} came after ${lastGeneration}`;
    const reason = doubt ?? (transaction.isQuoted ? UNENDED : undefined);
    if (gap !== 1 || doubt === JUST_STARTED) doubt = undefined;
    lastGeneration = mark.generation;
    const done = transaction.finish();
    transaction = createTransaction(sink.touched);
    if (reason === undefined) sink.commit({ ...mark, ...done });
    else sink.look(`${reason}: ${describe(mark)}`);
  }

  function comment(text: string): void {
    if (text.startsWith(GENERATION)) return generation(text);
    if (!text.startsWith(OVERFLOW)) return;
    // The line comes before the events that were queued when the loss happened: the hole is further on.
    doubt = 'the kernel dropped events';
    sink.look(doubt);
  }

  return {
    line: (text) => (text.charCodeAt(0) === HASH ? comment(text) : transaction.line(text)),
    trust: () => void (doubt = undefined),
    get isInside() {
      return transaction.hasLines;
    },
  };
}

interface Mark {
  readonly generation: number;
  readonly pid: number | undefined;
  readonly comm: string;
}

/** `# new generation 25 by process 13482 (iptables)`; the name may hold any character, `)` too: it ends at the last one. */
function readGeneration(text: string): Mark | undefined {
  const generation = Number.parseInt(text.slice(GENERATION.length), 10);
  if (Number.isNaN(generation)) return undefined;
  const by = text.indexOf(BY_PROCESS);
  if (by < 0) return { generation, pid: undefined, comm: '' };
  const open = text.indexOf('(', by);
  const pid = Number.parseInt(text.slice(by + BY_PROCESS.length, open), 10);
  return { generation, pid, comm: ownCopy(text.slice(open + 1, text.lastIndexOf(')'))) };
}

function describe(mark: Mark): string {
  return mark.pid === undefined ? 'by an unknown process' : `by ${mark.comm} pid ${mark.pid}`;
}
