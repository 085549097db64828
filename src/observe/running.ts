// Whether a program runs, by the name the kernel gives its process. Cost: 5 us a process.
// Does not: see processes of other pid namespaces than ours and those below it.

import type { Host } from '../host/host.ts';

/** Those of `names` that a process has. Names are cut at 15 characters, as the kernel has them. */
export async function runningOf(
  { files, proc }: Pick<Host, 'files' | 'proc'>,
  names: ReadonlySet<string>,
): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  if (names.size === 0) return found;
  for (const pid of await files.list('/proc')) {
    const comm = /^\d+$/.test(pid) ? proc.read(`/proc/${pid}/comm`)?.trimEnd() : undefined;
    if (comm !== undefined && names.has(comm)) found.add(comm);
  }
  return found;
}
