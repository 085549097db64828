// A private hypervisor with real programs: libvirtd, libvirt-dbus, dnsmasq, netfilter, guests and an outside host.
//
//   hypervisor  eth0 198.51.100.1/24 and 2001:db8:51::1/64, default route via outside; virbr0 ... made by libvirt
//   outside     198.51.100.2, no route back to the guests' networks: what is not translated gets no answer
//   guest       a network namespace cabled to a bridge, address SUBNET.10 (see networks.ts)
//
// Goals: real packets through real rules, several hosts side by side, up in seconds.
// Guarantees: nothing of the machine is written; everything is gone after down(), and when the test process dies.
// Does not: start the guard.

import { readFileSync, writeFileSync } from 'node:fs';

import type { ExecResult } from '../../src/host/host.ts';
import { startAgent, type Agent } from './agents.ts';
import { debian13Root } from './debian-13.ts';
import { cableBridge, makeGuest, type Guest } from './guests.ts';
import {
  emitReloaded,
  startLibvirt,
  startLibvirtDbus,
  type Backend,
  type Libvirtd,
  type LibvirtOptions,
} from './libvirt.ts';
import { startNamespaces, type Namespaces } from './namespaces.ts';
import { DEFAULT_NETWORK, networkXml, type NetworkSpec } from './networks.ts';
import type { Place } from './place.ts';
import { defineLabFilter, startTcgGuest, stopTcgGuest } from './tcg-guest.ts';
import { engineScript, wiringScript } from './wiring.ts';

export type Engine = 'nft' | 'legacy';

export interface HypervisorOptions {
  /** For messages only; nothing on the machine is named after it. */
  readonly name: string;
  /** Where `iptables`, `ip6tables` and their -save and -restore point. Default `nft`. */
  readonly engine?: Engine;
  /** Defined and started. Default: the default NAT network. */
  readonly networks?: readonly NetworkSpec[];
  /** Defines the filter `lab-l3`, which writes iptables rules when a TCG guest uses it. Default false. */
  readonly nwfilter?: boolean;
  /**
   * `9` (the default, also `true`): the machine's own libvirt 9.0 of Debian 12. `11`: libvirt 11.3 and all tools of Debian 13
   * (see debian-13.ts). False: only the machine's tools in namespaces, neither dbus-daemon nor libvirtd.
   */
  readonly libvirt?: boolean | '9' | '11';
  /** Of libvirt 11; 9 has only `iptables`. Default `iptables`, as in Debian 13. */
  readonly backend?: Backend;
  /** Default true. */
  readonly libvirtDbus?: boolean;
  /** Folders of unpacked packages (see unpack.ts), seen inside as if they were installed. Default: none. */
  readonly layers?: readonly string[];
}

export interface Hypervisor extends Place {
  readonly engine: Engine;
  /** libvirt's; `iptables` without a libvirt. */
  readonly backend: Backend;
  /** Pid 1 of the hypervisor as the machine sees it. */
  readonly pid: number;
  readonly outside: Place;
  readonly libvirtd: Libvirtd;
  /** Guests in the order they were added; `guest` is the first one and throws when there is none. */
  readonly guests: readonly Guest[];
  readonly guest: Guest;
  /** The program in `outside` that answers and sends probes. */
  readonly outsideAgent: Agent;
  /** A file inside. */
  readFile(path: string): string;
  writeFile(path: string, text: string): void;
  /** `virsh -q -c qemu:///system ARGS`; throws with virsh's message when it fails. */
  virsh(...args: readonly string[]): Promise<string>;
  /** Emits the signal firewalld sends after a reload; libvirt rewrites all its rules. Throws when it cannot be sent. */
  reloaded(): Promise<void>;
  startLibvirtDbus(): Promise<void>;
  /** Defines a network and starts it. */
  defineNetwork(network: NetworkSpec): Promise<void>;
  /** net-start, then the guests' cables are plugged in again (their bridge is a new one). */
  startNetwork(name: string): Promise<void>;
  destroyNetwork(name: string): Promise<void>;
  /** A network namespace as a guest on a network that is started. Default: the default network. */
  addGuest(network?: NetworkSpec): Promise<Guest>;
  /** A real QEMU guest (TCG, no disk) on a network; `filter` names an nwfilter for its interface. */
  startTcgGuest(name: string, network?: NetworkSpec, filter?: string): Promise<void>;
  stopTcgGuest(name: string): Promise<void>;
  /** What iptables-save and ip6tables-save print now, with counters zeroed and comment lines cut. */
  save(): Promise<{ readonly ip: string; readonly ip6: string }>;
  /** Ends everything. Safe to call twice. */
  down(): Promise<void>;
}

/** Brings up a private hypervisor; needs root. On any failure everything is taken down again and the cause is thrown. */
export async function upHypervisor(options: HypervisorOptions): Promise<Hypervisor> {
  const { name, libvirt, backend, layers } = options;
  if (backend === 'nftables' && libvirt !== '11') throw new Error(`${name}: only libvirt 11 has an nftables backend`);
  const namespaces = await startNamespaces(libvirt === '11' ? await debian13Root() : '/', layers);
  try {
    return await furnish(namespaces, options);
  } catch (error) {
    await namespaces.close();
    throw new Error(`hypervisor ${name}: ${(error as Error).message}`, { cause: error });
  }
}

async function furnish(namespaces: Namespaces, options: HypervisorOptions): Promise<Hypervisor> {
  const place = namespaces.place(options.name);
  const engine = options.engine ?? 'nft';
  await place.sh(wiringScript() + engineScript(engine));
  const outside = namespaces.place('outside', 'outside');
  const outsideAgent = await startAgent(namespaces, outside, 'outside');
  const libvirtd =
    options.libvirt === false ? noLibvirtd() : await startLibvirt(namespaces, place, libvirtOptions(options));
  const guests: Guest[] = [];
  const hypervisor: Hypervisor = {
    ...place,
    engine,
    backend: options.backend ?? 'iptables',
    pid: namespaces.pid,
    outside,
    outsideAgent,
    libvirtd,
    guests,
    get guest(): Guest {
      const first = guests[0];
      if (first === undefined) throw new Error('no guest was added');
      return first;
    },
    readFile: (path) => readFileSync(namespaces.outerPath(path), 'utf8'),
    writeFile: (path, text) => writeFileSync(namespaces.outerPath(path), text),
    virsh: (...args) => virsh(place, args),
    reloaded: async () => void orThrow(await emitReloaded(place)),
    startLibvirtDbus: () => startLibvirtDbus(place),
    defineNetwork: (network) => defineNetwork(place, network),
    startNetwork: async (name) => {
      await virsh(place, ['net-start', name]);
      await Promise.all(
        guests.filter((guest) => guest.network.name === name).map((guest) => cableBridge(place, guest)),
      );
    },
    destroyNetwork: async (name) => void (await virsh(place, ['net-destroy', name])),
    addGuest: async (network = DEFAULT_NETWORK) => {
      const index = guests.filter((guest) => guest.network.name === network.name).length;
      const guest = await makeGuest(namespaces, place, network, index);
      guests.push(guest);
      return guest;
    },
    startTcgGuest: (name, network = DEFAULT_NETWORK, filter) => startTcgGuest(place, name, network, filter),
    stopTcgGuest: (name) => stopTcgGuest(place, name),
    save: () => save(place),
    down: () => namespaces.close(),
  };
  if (options.libvirt !== false) {
    for (const network of options.networks ?? [DEFAULT_NETWORK]) await hypervisor.defineNetwork(network);
  }
  if (options.nwfilter) await defineLabFilter(place);
  return hypervisor;
}

function libvirtOptions({ libvirt, backend, libvirtDbus }: HypervisorOptions): LibvirtOptions {
  return { dbusApi: libvirtDbus ?? true, backend: libvirt === '11' ? (backend ?? 'iptables') : undefined };
}

async function defineNetwork(place: Place, network: NetworkSpec): Promise<void> {
  const file = `/run/lab/${network.name}.xml`;
  await place.sh(`cat > ${file}; virsh -q -c qemu:///system net-define ${file}`, { input: networkXml(network) });
  await virsh(place, ['net-start', network.name]);
}

async function virsh(place: Place, args: readonly string[]): Promise<string> {
  return orThrow(await place.exec('virsh', ['-q', '-c', 'qemu:///system', ...args], { timeoutMs: 60_000 })).stdout;
}

function orThrow(result: ExecResult): ExecResult {
  if (result.exitCode === 0) return result;
  const { file, args } = result.command;
  throw new Error(`exit ${result.exitCode} of ${file} ${args.join(' ')}: ${result.stderr.trim()}`);
}

async function save(place: Place): Promise<{ ip: string; ip6: string }> {
  const [ip, ip6] = await Promise.all(['iptables-save', 'ip6tables-save'].map((file) => place.exec(file)));
  return { ip: comparable(orThrow(ip!).stdout), ip6: comparable(orThrow(ip6!).stdout) };
}

function comparable(text: string): string {
  return text
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .map((line) => line.replace(/^(:\S+ \S+) \[\d+:\d+\]$/, '$1 [0:0]')) // :INPUT ACCEPT [10:840]
    .join('\n');
}

function noLibvirtd(): Libvirtd {
  const refuse = (): never => {
    throw new Error('this hypervisor was brought up without libvirtd');
  };
  return {
    start: refuse,
    stop: refuse,
    kill: refuse,
    restart: refuse,
    sighup: refuse,
    pid: () => undefined,
    logMark: refuse,
    logSince: refuse,
    quiet: refuse,
  };
}
