// Flows that left un-NATed. While libvirt's NAT rules are away (its own rewrite, or a wipe until the repair), a guest's new
// flow leaves with its private source address, and conntrack keeps it so for the life of the entry.
// Goal: find those entries, and delete them when asked, so that the next packet is translated.
// Does not: decide. An admin's own exemption (`-s SUBNET -d VPN -j ACCEPT` in POSTROUTING) looks the same in conntrack.
// Needs the `conntrack` tool and CAP_NET_ADMIN; without either the answer is a value that says so.

import type { ExecResult, Host } from '../host/host.ts';
import type { Network } from '../ruleset/network.ts';
import { subnetContains } from '../ruleset/subnet.ts';
import type { Family } from '../ruleset/types.ts';

/** One conntrack entry; addresses and ports as the tool prints them. */
export interface Flow {
  readonly family: Family;
  /** `tcp`, `udp`, `icmp`, `icmpv6`, ... */
  readonly protocol: string;
  readonly source: string;
  readonly destination: string;
  /** Source the answers come from, and destination they go to: the translated view. */
  readonly replySource: string;
  readonly replyDestination: string;
  /** `sport`, `dport`, or `type`, `code`, `id` of the original direction. */
  readonly keys: Readonly<Record<string, string>>;
  /** The line as printed. */
  readonly text: string;
}

export type FlowsResult =
  | { readonly kind: 'flows'; readonly flows: readonly Flow[] }
  | { readonly kind: 'unavailable'; readonly reason: string };

export interface DeleteResult {
  readonly deleted: number;
  /** Entries that were gone already. */
  readonly gone: number;
  readonly failed: readonly { readonly flow: Flow; readonly reason: string }[];
}

const CONNTRACK_FAMILY: Readonly<Record<Family, string>> = { ip: 'ipv4', ip6: 'ipv6' };

// Original direction, then the reply's `src=`; measured with conntrack-tools 1.4.7:
// `udp      17 29 src=192.168.122.10 dst=198.51.100.2 sport=51154 dport=9 [UNREPLIED] src=198.51.100.2 dst=... `
const FLOW = /^(\S+)\s+\d+ .*?\bsrc=(\S+) dst=(\S+) (.*?)\bsrc=(\S+) dst=(\S+)/;

/** The entries in the output of `conntrack -L`. Lines that are none are left out. */
export function parseConntrack(text: string, family: Family): Flow[] {
  return text.split('\n').flatMap((line) => {
    const [, protocol, source, destination, keys, replySource, replyDestination] = FLOW.exec(line) ?? [];
    if (protocol === undefined || source === undefined || destination === undefined) return [];
    if (replySource === undefined || replyDestination === undefined) return [];
    return [{ family, protocol, source, destination, replySource, replyDestination, keys: toKeys(keys), text: line }];
  });
}

// `sport=51154 dport=9 [UNREPLIED] ` or `type=8 code=0 id=14082 `
function toKeys(text = ''): Record<string, string> {
  return Object.fromEntries(
    [...text.matchAll(/\b(sport|dport|type|code|id)=(\S+)/g)].map(([, key, value]) => [key, value]),
  );
}

/**
 * The flows from a network's NATed subnets to outside whose answers still go to the guest's own address. Not counted:
 * flows inside the subnet, to an address of this host (`localAddresses`), and to multicast or broadcast, none of which
 * libvirt translates.
 */
export function unNatedFlows(
  flows: readonly Flow[],
  networks: readonly Network[],
  localAddresses: ReadonlySet<string>,
): Flow[] {
  const subnets = natSubnets(networks);
  return flows.filter(
    (flow) =>
      flow.replyDestination === flow.source &&
      subnets.some(
        ({ family, cidr }) =>
          family === flow.family &&
          subnetContains(family, cidr, flow.source) &&
          !subnetContains(family, cidr, flow.destination),
      ) &&
      !localAddresses.has(flow.destination) &&
      !isMulticast(flow.destination),
  );
}

function natSubnets(networks: readonly Network[]): { readonly family: Family; readonly cidr: string }[] {
  return networks
    .filter(({ forwardMode }) => forwardMode === 'nat')
    .flatMap(({ addresses, natIpv6 }) => addresses.filter(({ family }) => family === 'ip' || natIpv6));
}

function isMulticast(address: string): boolean {
  // `224.0.0.251` to `239.255.255.250`, `255.255.255.255`, `ff02::fb`
  return /^(22[4-9]|23\d)\.|^255\.255\.255\.255$|^ff/.test(address);
}

/** Reads conntrack's entries of each NATed subnet of the running networks and returns those that left un-NATed. */
export async function findUnNatedFlows(host: Pick<Host, 'exec'>, networks: readonly Network[]): Promise<FlowsResult> {
  const active = networks.filter((network) => network.active);
  const subnets = natSubnets(active);
  if (subnets.length === 0) return { kind: 'flows', flows: [] };
  const local = await host.exec({ file: 'ip', args: ['-o', 'addr', 'show'] });
  if (local.exitCode !== 0) return unavailable(local);
  const flows: Flow[] = [];
  for (const { family, cidr } of subnets) {
    const listed = await host.exec({ file: 'conntrack', args: ['-L', '-f', CONNTRACK_FAMILY[family], '-s', cidr] });
    if (listed.exitCode !== 0) return unavailable(listed);
    flows.push(...parseConntrack(listed.stdout, family));
  }
  return { kind: 'flows', flows: unNatedFlows(flows, active, localAddresses(local.stdout)) };
}

function unavailable({ command, exitCode, stderr }: ExecResult): FlowsResult {
  const said = exitCode === 127 ? 'not installed' : (stderr.trim().split('\n').at(-1) ?? `exit ${exitCode}`);
  return { kind: 'unavailable', reason: `${command.file}: ${said}` };
}

// `2: g0    inet 192.168.122.1/24 scope global g0 ...`
function localAddresses(text: string): Set<string> {
  return new Set([...text.matchAll(/\binet6? ([^ /]+)/g)].flatMap(([, address]) => address ?? []));
}

/**
 * Deletes exactly these entries, one command each. An entry that ended meanwhile is counted as gone, not as failed.
 * Established connections of the guest are cut off by it: their next packet is translated and no peer knows it.
 */
export async function deleteFlows(host: Pick<Host, 'exec'>, flows: readonly Flow[]): Promise<DeleteResult> {
  const failed: { flow: Flow; reason: string }[] = [];
  let deleted = 0;
  for (const flow of flows) {
    const result = await host.exec({ file: 'conntrack', args: deleteArgs(flow) });
    if (result.exitCode === 0) deleted += 1;
    else if (!result.stderr.includes('0 flow entries have been deleted')) {
      failed.push({ flow, reason: result.stderr.trim() || `exit ${result.exitCode}` });
    }
  }
  return { deleted, gone: flows.length - deleted - failed.length, failed };
}

function deleteArgs({ family, protocol, source, destination, replyDestination, keys }: Flow): string[] {
  const option = protocol.startsWith('icmp') ? (key: string) => `--${protocol}-${key}` : (key: string) => `--${key}`;
  return [
    ...['-D', '-f', CONNTRACK_FAMILY[family], '-p', protocol, '-s', source, '-d', destination, '-q', replyDestination],
    ...Object.entries(keys).flatMap(([key, value]) => [option(key), value]),
  ];
}
