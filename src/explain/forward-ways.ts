// What lets connections from outside come to a guest of a NAT network on libvirt's nftables backend, as text to type. Pure.
// Measured (libvirt 11.3): a new connection to such a guest stays refused whatever the admin accepts elsewhere, so only what
// changes libvirt's rules, or does not pass `forward`, works.

import type { Network } from '../ruleset/network.ts';
import type { Family } from '../ruleset/types.ts';

/** One port forward: `tcp` to port `dport` of the host goes to `address`, `port`. */
export interface Forwarded {
  readonly network: Network;
  readonly family: Family;
  readonly address: string;
  readonly port: number | undefined;
  readonly protocol?: 'tcp' | 'udp';
  readonly dport?: number;
  readonly iif?: string;
}

/** A forwarder on the host in place of the rule; another forward mode; the other backend. The first is one command. */
export function waysFor(forwarded: Forwarded): string[] {
  const { network } = forwarded;
  return [
    forwarder(forwarded),
    `virsh net-edit ${network.name}: <forward mode='open'/> (or 'route'), then virsh net-destroy ${network.name} && virsh net-start ${network.name}, with rules of your own for forwarding and NAT`,
    'firewall_backend = "iptables" in /etc/libvirt/network.conf, then systemctl restart libvirtd (or virtnetworkd)',
  ];
}

/** `socat TCP-LISTEN:8022,fork TCP:192.168.122.10:22`: the host's own connection to the guest is not forwarded. */
function forwarder({ family, address, port, protocol = 'tcp', dport }: Forwarded): string {
  const suffix = family === 'ip6' ? '6' : '';
  const kind = `${protocol.toUpperCase()}${suffix}`;
  const target = family === 'ip6' ? `[${address}]` : address;
  return `socat ${kind}-LISTEN:${dport ?? port ?? 'PORT'},fork ${kind}:${target}:${port ?? dport ?? 'PORT'}`;
}

/** The target for people: `192.168.122.10:22`, `[fd00::1]:22`. */
export function targetText({ family, address, port }: Forwarded): string {
  const host = family === 'ip6' ? `[${address}]` : address;
  return port === undefined ? address : `${host}:${port}`;
}
