// The traffic that libvirt lets through for a network, as packets: one example of each kind. Pure.
// Source: what libvirt's own rules accept (owners/libvirt-rules.ts); the nftables backend opens nothing in the host's
// input, but its guests need DHCP and DNS all the same.

import { addressRange, addressText, addressValue } from './values.ts';
import type { Network, NetworkAddress } from '../ruleset/network.ts';
import type { Family } from '../ruleset/types.ts';
import type { PacketSpec } from './packet.ts';
import type { Journey } from './path.ts';

export type TrafficKind = 'dhcp' | 'dhcp-reply' | 'dns' | 'dns-reply' | 'out' | 'back' | 'in' | 'guests';

/** One kind of packet of one network, and what a rule that lets it through has to match. */
export interface GuestTraffic {
  readonly network: string;
  readonly kind: TrafficKind;
  readonly journey: Journey;
  readonly packet: PacketSpec;
  /** In words of no engine: each field as in nft (`iifname`, `saddr`, `udp dport`). */
  readonly needs: Needs;
  /** Frames between two ports of one bridge see these rules only with br_netfilter. */
  readonly onlyIf?: 'br_netfilter';
}

export interface Needs {
  readonly family: Family;
  readonly iif?: string;
  readonly oif?: string;
  readonly saddr?: string;
  readonly daddr?: string;
  readonly protocol?: 'tcp' | 'udp';
  readonly dport?: number;
  readonly established?: true;
}

/** Hosts anywhere: two root name servers, which no rule is about. */
const OUTSIDE: Readonly<Record<Family, string>> = { ip: '198.41.0.4', ip6: '2001:503:ba3e::2:30' };

/** What a network's guests may do. Empty for networks libvirt writes no rules for, and for those that do not run. */
export function guestTraffic(network: Network, uplink: string | undefined): readonly GuestTraffic[] {
  const { bridge } = network;
  if (bridge === undefined || !network.active || !['nat', 'route', 'isolated'].includes(network.forwardMode)) return [];
  const at: Bridge = { network, bridge, uplink: network.forwardDevs[0] ?? uplink };
  const perAddress = network.addresses.flatMap((address) => [
    ...served(at, address),
    ...(network.forwardMode === 'isolated' ? [] : forwarded(at, address)),
    between(at, address),
  ]);
  return perAddress;
}

interface Bridge {
  readonly network: Network;
  readonly bridge: string;
  readonly uplink: string | undefined;
}

/** Some guest's address: the first one in the subnet that is not the host's. */
function guestAddress({ family, cidr, host }: NetworkAddress, nth: number): string {
  const first = addressRange(family, cidr)?.first ?? 0;
  const hostValue = addressValue(family, host);
  const candidates = [1, 2, 3].map((offset) => (typeof first === 'bigint' ? first + BigInt(offset) : first + offset));
  const guests = candidates.filter((value) => value !== hostValue);
  return addressText(family, guests[nth] ?? first);
}

/** DHCP and DNS with the host. */
function served({ network, bridge }: Bridge, address: NetworkAddress): GuestTraffic[] {
  const { family, host, dhcp } = address;
  const guest = guestAddress(address, 0);
  const fields = { family, ctState: 'new' as const, mark: 0 };
  const ask = (
    kind: TrafficKind,
    protocol: 'tcp' | 'udp',
    packet: Partial<PacketSpec>,
    dport: number,
  ): GuestTraffic => ({
    network: network.name,
    kind,
    journey: 'input',
    packet: { ...fields, iif: bridge, protocol, dport, ...packet },
    needs: { family, iif: bridge, protocol, dport },
  });
  const reply = (kind: TrafficKind, packet: Partial<PacketSpec>, needs: Partial<Needs>): GuestTraffic => ({
    network: network.name,
    kind,
    journey: 'output',
    packet: { ...fields, oif: bridge, protocol: 'udp', src: host, ...packet },
    needs: { family, oif: bridge, ...needs },
  });
  const v4 = family === 'ip';
  const [serverPort, clientPort] = v4 ? [67, 68] : [547, 546];
  const lease: GuestTraffic[] = [
    ask(
      'dhcp',
      'udp',
      {
        ...(v4 ? { src: '0.0.0.0', dst: '255.255.255.255' } : { src: 'fe80::1', dst: 'ff02::1:2' }),
        sport: clientPort,
      },
      serverPort,
    ),
    reply(
      'dhcp-reply',
      { dst: v4 ? guest : 'fe80::1', sport: serverPort, dport: clientPort },
      { protocol: 'udp', dport: clientPort },
    ),
  ];
  return [
    ...(dhcp ? lease : []),
    ask('dns', 'udp', { src: guest, dst: host, sport: 40000 }, 53),
    ask('dns', 'tcp', { src: guest, dst: host, sport: 40000, tcpFlags: ['syn'] }, 53),
    reply('dns-reply', { dst: guest, sport: 53, dport: 40000, ctState: 'established' }, { established: true }),
  ];
}

/** Through the uplink and back. */
function forwarded({ network, bridge, uplink }: Bridge, address: NetworkAddress): GuestTraffic[] {
  const { family, cidr } = address;
  const guest = guestAddress(address, 0);
  const isTranslated = network.forwardMode === 'nat' && (family === 'ip' || network.natIpv6);
  const dev = network.forwardDevs[0];
  const outward: PacketSpec = {
    family,
    iif: bridge,
    ...(uplink !== undefined && { oif: uplink }),
    src: guest,
    dst: OUTSIDE[family],
    protocol: 'tcp',
    sport: 40000,
    dport: 443,
    tcpFlags: ['syn'],
    ctState: 'new',
  };
  const inward: PacketSpec = {
    family,
    ...(uplink !== undefined && { iif: uplink }),
    oif: bridge,
    src: OUTSIDE[family],
    protocol: 'tcp',
    sport: 443,
    dport: 40000,
  };
  // To whom a translated answer is addressed at first is the host's business: not known, then the guest.
  const answer: PacketSpec = isTranslated
    ? { ...inward, tcpFlags: ['syn', 'ack'], ctState: 'established', rewrite: { dst: guest } }
    : { ...inward, dst: guest, tcpFlags: ['syn', 'ack'], ctState: 'established' };
  const call: PacketSpec = { ...inward, dst: guest, sport: 40000, dport: 443, tcpFlags: ['syn'], ctState: 'new' };
  const into = { family, oif: bridge, daddr: cidr, ...(dev !== undefined && { iif: dev }) };
  const of = (kind: TrafficKind, packet: PacketSpec, needs: Needs): GuestTraffic => ({
    network: network.name,
    kind,
    journey: 'forward',
    packet,
    needs,
  });
  return [
    of('out', outward, { family, iif: bridge, saddr: cidr, ...(dev !== undefined && { oif: dev }) }),
    of('back', answer, { ...into, established: true }),
    ...(isTranslated ? [] : [of('in', call, into)]),
  ];
}

function between({ network, bridge }: Bridge, address: NetworkAddress): GuestTraffic {
  const packet: PacketSpec = {
    family: address.family,
    iif: bridge,
    oif: bridge,
    bridged: true,
    src: guestAddress(address, 0),
    dst: guestAddress(address, 1),
    protocol: 'tcp',
    sport: 40000,
    dport: 443,
    tcpFlags: ['syn'],
    ctState: 'new',
  };
  const needs = { family: address.family, iif: bridge, oif: bridge };
  return { network: network.name, kind: 'guests', journey: 'forward', packet, needs, onlyIf: 'br_netfilter' };
}
