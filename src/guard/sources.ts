// Which event sources this host needs, and their health. A source that cannot run is `off` or `degraded`, with the reason.

import { createBackstop, type Backstop } from '../events/backstop.ts';
import { firewalldSource } from '../events/firewalld.ts';
import { createLegacyLock } from '../events/legacy-lock.ts';
import { libvirtDbusSource, type LibvirtDbusSource } from '../events/libvirt-dbus.ts';
import { createNftMonitor } from '../events/nft-monitor.ts';
import { spoolSource } from '../events/spool.ts';
import { systemdSource } from '../events/systemd.ts';
import type { Source, SourceHandlers, SourceHealth, SourceName } from '../events/types.ts';
import type { Bus } from '../host/host.ts';
import { readAuthor } from '../observe/author.ts';
import { readFamily } from '../observe/rulesets.ts';
import type { PassContext } from '../pass/types.ts';
import { FAMILIES } from '../ruleset/types.ts';

export interface SourceOptions {
  readonly bus: Bus | undefined;
  /** Where the initial pid namespace's /proc is mounted. */
  readonly procfs: string;
  readonly spool: string;
}

export interface Sources {
  readonly health: ReadonlyMap<SourceName, SourceHealth>;
  readonly backstop: Backstop;
  /** Commits are heard with their authors (nft engine). */
  readonly kernelEvents: boolean;
  /** libvirtd was seen to start: libvirt-dbus is mute until it is called. */
  poke(): void;
  start(handlers: SourceHandlers): Promise<void>;
  close(): Promise<void>;
}

export async function openSources(context: PassContext, options: SourceOptions): Promise<Sources> {
  const { host } = context;
  const health = new Map<SourceName, SourceHealth>();
  const engines = await context.engines.read();
  const legacy = engines.ip.engine === 'legacy' || engines.ip6.engine === 'legacy';
  const backstop = createBackstop(host.clock);
  const libvirtDbus: LibvirtDbusSource | undefined =
    options.bus === undefined ? undefined : libvirtDbusSource(options.bus, host);
  const sources: Source[] = [kernelSource(context, options, legacy), spoolSource(host, options.spool), backstop];
  const onBus: Source[] = options.bus === undefined ? [] : [firewalldSource(options.bus), systemdSource(options.bus)];
  if (libvirtDbus !== undefined) onBus.push(libvirtDbus);
  health.set(legacy ? 'kernel' : 'legacy', {
    source: legacy ? 'kernel' : 'legacy',
    state: 'off',
    detail: legacy ? 'nft monitor does not see the legacy engine' : 'the host drives iptables-nft',
  });
  return {
    health,
    backstop,
    kernelEvents: !legacy,
    poke: () => libvirtDbus?.poke(),
    async start(handlers) {
      const noting: SourceHandlers = {
        event: (event) => handlers.event(event),
        health: (state) => {
          health.set(state.source, state);
          handlers.health(state);
        },
      };
      const start = (source: Source): Promise<void> => source.start(noting);
      // The bus first, so that a healthy one is not called degraded for the time it takes to connect.
      const bus = options.bus?.connect().then(() => Promise.all(onBus.map(start)));
      await Promise.all([bus, ...sources.map(start)]);
    },
    async close() {
      await Promise.all([...sources, ...onBus].map((source) => source.close()));
      await options.bus?.close();
    },
  };
}

function kernelSource(context: PassContext, options: SourceOptions, legacy: boolean): Source {
  const { host } = context;
  if (!legacy)
    return createNftMonitor({ host, readAuthor: (pid, comm) => readAuthor(host.proc, options.procfs, pid, comm) });
  return createLegacyLock({ host, fingerprint: () => fingerprint(context) });
}

/** All legacy rules as one text without counters: two equal texts mean that nothing changed. */
async function fingerprint(context: PassContext): Promise<string> {
  const reads = await Promise.all(FAMILIES.map((family) => readFamily(context.host, family)));
  return reads
    .map((read) => (read.kind === 'ruleset' ? read.text.replace(/^#.*\n|\[\d+:\d+\]/gm, '') : read.why))
    .join('\n');
}
