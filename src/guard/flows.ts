// Flows that left un-NATed while libvirt's NAT rules were gone stay so for the life of their conntrack entry: report
// them, and delete them when `[libvirt] fix_conntrack = true`.

import { deleteFlows, findUnNatedFlows } from '../observe/conntrack.ts';
import type { Outcome, PassContext } from '../pass/types.ts';

/** After a pass that put NAT rules back. */
export async function afterRepair(context: PassContext, outcome: Outcome, fix: boolean): Promise<void> {
  if (
    !outcome.changed ||
    !outcome.tables.some(
      (table) =>
        table.table === 'nat' &&
        table.edits.some((edit) => edit.includes('MASQUERADE') || edit.includes('LIBVIRT_PRT')),
    )
  )
    return;
  const { host } = context;
  const found = await findUnNatedFlows(host, context.cache.networks ?? []);
  if (found.kind === 'unavailable')
    return host.log.write('debug', `un-NATed flows cannot be looked for: ${found.reason}`);
  if (found.flows.length === 0) return;
  const first = found.flows[0];
  const what = `${found.flows.length} flows left without NAT while the rules were gone (first: ${first?.protocol} ${first?.source} -> ${first?.destination})`;
  if (!fix)
    return host.log.write(
      'warning',
      `${what}; they stay so until they end. [libvirt] fix_conntrack = true deletes their conntrack entries`,
    );
  const result = await deleteFlows(host, found.flows);
  host.log.write('notice', `${what}; ${result.deleted} conntrack entries deleted`);
}
