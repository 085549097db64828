// Which guests' NICs libvirt has bound to a filter, by its own status files.
// Guarantees: never rejects; reads only. Source: libvirt 9.0 and 11.3, virnwfilterbindingobjlist.c: one file a NIC, `vnet0.xml`, gone when the
// guest stops (measured).

import { type Host, HostError } from '../host/host.ts';

const FOLDER = '/run/libvirt/nwfilter-binding';

/** By name; undefined when they cannot be read. */
export async function readFilteredNics(
  files: Pick<Host['files'], 'list'>,
  folder = FOLDER,
): Promise<ReadonlySet<string> | undefined> {
  try {
    const names = await files.list(folder);
    return new Set(names.flatMap((name) => (name.endsWith('.xml') ? [name.slice(0, -'.xml'.length)] : [])));
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return undefined;
  }
}
