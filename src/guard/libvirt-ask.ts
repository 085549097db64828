// Making libvirt rebuild its own rules: firewalld's `Reloaded` signal, sent to the unique bus names of libvirt's daemons
// only, never broadcast (Docker and podman listen, too). Without a bus: SIGHUP, which fills chains that exist but makes
// none (measured), so it is sent only after the empty chains and plain jumps were declared by text.

import { connectionsOf, LIBVIRT_DAEMONS } from '../host/bus-names.ts';
import type { Bus, Host } from '../host/host.ts';
import { FIREWALLD_NAME, FIREWALLD_PATH } from '../events/firewalld.ts';

/** Who was asked, for the log; `nobody` with the reason when no libvirt daemon could be reached. */
export type Asked =
  | { readonly kind: 'signal'; readonly names: readonly string[] }
  | { readonly kind: 'sighup'; readonly pids: readonly string[] }
  | { readonly kind: 'nobody'; readonly why: string };

export async function askLibvirtToRebuild(host: Host, bus: Bus | undefined): Promise<Asked> {
  if (bus !== undefined && bus.state().kind === 'up') {
    const names = await connectionsOf(bus, host.proc);
    for (const name of names) bus.emitTo(name, { path: FIREWALLD_PATH, interface: FIREWALLD_NAME, member: 'Reloaded' });
    if (names.length > 0) return { kind: 'signal', names };
  }
  return hangUp(host);
}

async function hangUp(host: Host): Promise<Asked> {
  const pids = (await host.files.list('/proc')).filter(
    (name) => /^\d+$/.test(name) && LIBVIRT_DAEMONS.includes(host.proc.read(`/proc/${name}/comm`)?.trim() ?? ''),
  );
  if (pids.length === 0) return { kind: 'nobody', why: 'no libvirt daemon runs' };
  const result = await host.exec({ file: 'kill', args: ['-HUP', ...pids] });
  return result.exitCode === 0 ? { kind: 'sighup', pids } : { kind: 'nobody', why: result.stderr.trim() };
}
