// The mark by which the daemon knows its own commits of native tables when it hears of them.
// Guarantees: nothing of it stands after the commit (a chain that is made and deleted in one transaction is told of all the
// same, measured); it does not lean on pids, which the kernel gives in another pid namespace's numbers, nor on /proc.
// Does not: commit. A mark whose commit failed stays unheard, and does no harm.

import type { PassContext } from './types.ts';

/**
 * Lines for the `nft -f -` that changes this table (`inet filter`). They go where the table stands: after the lines that make
 * it, before those that delete it. Once for a commit is enough.
 */
export function nativeMark(
  { nonce, ownSentinels }: Pick<PassContext, 'nonce' | 'ownSentinels'>,
  table: string,
): string {
  const name = `mw-${nonce()}`;
  ownSentinels.add(name);
  return `add chain ${table} ${name}\ndelete chain ${table} ${name}\n`;
}
