// libvirt's nwfilter in ebtables' table nat, judged in a pass: what libvirt is missing is said, and learnt from it while it is quiet.
// Writes no rule, ever; machine/libvirt.ts asks libvirt for what a wipe took.

import type { Drift } from '../merge/drift.ts';
import { learntFilters, type NicFilters, nicFiltersIn, nwfilterDrift } from '../merge/nwfilter-losses.ts';
import { readFilteredNics } from '../observe/nwfilter-bindings.ts';
import type { NativeEnding } from './native.ts';
import type { PassContext, PassRequest } from './types.ts';

const NAT = 'bridge nat';

/** What is missing now. Called at the end of a pass, with what was read last. */
export async function judgeNwfilter(
  context: PassContext,
  request: PassRequest,
  { classified, names }: NativeEnding,
): Promise<readonly Drift[]> {
  const { host, memory } = context;
  const known: NicFilters = new Map(Object.entries(memory.nicFilters ?? {}));
  const table = classified.get(NAT);
  // A table that stands and was not read tells nothing.
  if (names === undefined || table?.unread !== undefined || (table === undefined && known.size === 0)) return [];
  const bound = await readFilteredNics(host.files);
  if (bound === undefined) return [];
  const live = nicFiltersIn(table?.table);
  const byLibvirt = request.trigger.startsWith('libvirt');
  const next = learntFilters(known, live, bound, { isWord: request.neighboursQuiet, byLibvirt });
  if (!request.dryRun && memory.snapshotId !== undefined) await keep(context, next);
  return nwfilterDrift(next, live, bound);
}

async function keep({ memory, files }: PassContext, filters: NicFilters): Promise<void> {
  const next = Object.fromEntries(filters);
  if (JSON.stringify(next) === JSON.stringify(memory.nicFilters ?? {})) return;
  memory.nicFilters = next;
  await files.saveKnown(memory);
}
