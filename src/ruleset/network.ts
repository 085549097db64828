// What libvirt's own definition says of one virtual network, as far as its firewall rules depend on it. Pure.

import type { Family } from './types.ts';

/** `isolated` is a network without `<forward>`; every other mode is libvirt's word (`bridge`, `hostdev`, ...). */
export type ForwardMode = 'nat' | 'route' | 'open' | 'isolated' | 'bridge' | (string & {});

/** One `<ip>` element: an address of the host on the bridge, and the subnet behind it. */
export interface NetworkAddress {
  readonly family: Family;
  /** The subnet as iptables prints it: `192.168.122.0/24`, `fd00:123::/64`. */
  readonly cidr: string;
  /** The host's own address in it: `192.168.122.1`. */
  readonly host: string;
  /** Has a `<dhcp>` with a range or a host (libvirt: `nranges || nhosts`); an empty `<dhcp/>` does not count. */
  readonly dhcp: boolean;
  /** Has a `<tftp root=...>`. */
  readonly tftp: boolean;
}

export interface Network {
  readonly name: string;
  readonly uuid: string;
  /** Name of the bridge; undefined for networks without one (`hostdev`, `passthrough`, a definition not started yet). */
  readonly bridge: string | undefined;
  readonly forwardMode: ForwardMode;
  /** `<forward dev>` and `<interface dev>`, in order, each once. libvirt's rules name the first only. */
  readonly forwardDevs: readonly string[];
  /** `<nat><address start end>`, IPv4 only: SNAT to it instead of MASQUERADE. */
  readonly natAddress?: { readonly start: string; readonly end: string };
  /** `<nat><port start end>`; without it libvirt uses 1024-65535. */
  readonly natPorts?: { readonly start: number; readonly end: number };
  /** `<nat ipv6='yes'>`; otherwise IPv6 in a NAT network is routed. */
  readonly natIpv6: boolean;
  /** `<network ipv6='yes'>`: guests may speak IPv6 to each other although the bridge has no IPv6 address. */
  readonly guestIpv6: boolean;
  readonly addresses: readonly NetworkAddress[];
  /** True when read from libvirt's run folder: libvirt holds it as running. */
  readonly active: boolean;
  /** Which rules libvirt wrote for it, where it says so (libvirt >= 10.4 writes it into the run folder). */
  readonly backend?: 'iptables' | 'nftables';
}

/** One rule of the nftables backend as libvirt remembers it: it deletes by this handle, whatever stands there. */
export interface RecordedRule {
  readonly family: Family;
  /** `libvirt_network` */
  readonly table: string;
  readonly chain: string;
  readonly handle: number;
}

/** What libvirt will take out when it next rewrites or stops this network (`fwRemoval` in its status file). */
export interface RemovalRecord {
  readonly network: string;
  /** Undefined: libvirt holds no record (before 10.4; after a changed dns-host; after a start that failed). */
  readonly backend: 'iptables' | 'nftables' | undefined;
  /** In libvirt's order; empty for the iptables backend, which deletes by text. */
  readonly rules: readonly RecordedRule[];
}
