// A host in memory with libvirt's chains and an admin's rules, and a world for verbs on it. Time runs by itself: what waits is
// called in the next turn, with the clock put forward.

import { OPTIONS } from '../../src/config/options.ts';
import { type Config, readConfig } from '../../src/config.ts';
import { openContext } from '../../src/context.ts';
import type { Clock, Host } from '../../src/host/host.ts';
import type { World } from '../../src/verbs/types.ts';
import { createFakeHost, type FakeHost } from '../fake/host.ts';

export const BASE = `*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:LIBVIRT_FWI - [0:0]
:LIBVIRT_FWX - [0:0]
:web - [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A FORWARD -d 192.168.122.10/32 -p tcp -m tcp --dport 80 -j ACCEPT
-A FORWARD -j LIBVIRT_FWX
-A FORWARD -j LIBVIRT_FWI
-A FORWARD -j REJECT --reject-with icmp-port-unreachable
-A web -s 10.0.0.0/8 -j ACCEPT
COMMIT
`;

export interface LiveWorld extends World {
  readonly fake: FakeHost;
  /** A command as somebody else would run it; throws when it fails. */
  run(line: string, input?: string): Promise<string>;
  /** `iptables -S CHAIN` without its first line. */
  chain(name: string): Promise<string[]>;
  /** The same state folder, seen by a new process. */
  again(): Promise<LiveWorld>;
}

/** The kernel holds BASE; there is no snapshot yet. */
export async function openWorld(change: Partial<Config> = {}): Promise<LiveWorld> {
  const fake = createFakeHost();
  const restored = await fake.exec({ file: 'iptables-restore', args: [], input: BASE });
  if (restored.exitCode !== 0) throw new Error(restored.stderr);
  return worldOn(fake, change);
}

async function worldOn(fake: FakeHost, change: Partial<Config>): Promise<LiveWorld> {
  const host: Host = { ...fake, clock: eagerClock(fake.clock) };
  const read = await readConfig(fake.files, { path: '/etc/mendwall/mendwall.toml', explicit: false, overrides: [] });
  if (read.kind === 'problems') throw new Error(`of ${OPTIONS.length} options: ${read.problems[0]?.message}`);
  const config = { ...read.config, mode: 'merge' as const, ...change };
  const { context } = await openContext(host, config);
  async function run(line: string, input?: string): Promise<string> {
    const [file = '', ...args] = line.split(' ');
    const result = await fake.exec({ file, args, ...(input === undefined ? {} : { input }) });
    if (result.exitCode !== 0) throw new Error(`${line}: ${result.stderr}`);
    return result.stdout;
  }
  const chain = async (name: string): Promise<string[]> =>
    (await run('iptables-save')).split('\n').filter((line) => line.startsWith(`-A ${name} `));
  return { fake, context, config, run, chain, again: () => worldOn(fake, change) };
}

/** Wall and monotonic time jump to a timer's end in the turn after it was set. */
export function eagerClock(clock: Clock): Clock {
  let aheadMs = 0;
  return {
    wallMs: () => clock.wallMs() + aheadMs,
    monoMs: () => clock.monoMs() + aheadMs,
    after(ms, run) {
      const immediate = setImmediate(() => {
        aheadMs += ms;
        run();
      });
      return { cancel: () => clearImmediate(immediate) };
    },
  };
}

/** The result of a verb that was not refused. */
export function unlessRefused<T extends { readonly kind: string }>(
  result: T,
): Exclude<T, { readonly kind: 'refused' }> {
  if (result.kind === 'refused') throw new Error(`refused: ${JSON.stringify(result)}`);
  return result as Exclude<T, { readonly kind: 'refused' }>;
}
