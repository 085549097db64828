// The libvirt of 2010, before it had chains of its own (up to 5.0): bare rules, put on top of the built-in chains one
// command at a time. Replayed as its commands, in the spelling iptables 1.8 takes; which rules, and in which order they
// end up, is what an article of 2010 printed from Fedora 13 (KVM, iptables 1.4.7) and EL5 (Xen, iptables 1.3.5).

import type { Hypervisor } from './host.ts';
import { DEFAULT_NETWORK, GATEWAY_NAME, guestAddress, guestMac } from './networks.ts';

export type OldLibvirt = 'kvm-fedora13' | 'xen-el5';

const NETWORK: Readonly<Record<OldLibvirt, string>> = {
  'kvm-fedora13': '192.168.122.0/24',
  // The old dialect printed dotted masks; iptables 1.8 takes them and prints /24.
  'xen-el5': '192.168.122.0/255.255.255.0',
};

/** iptables arguments after `-I CHAIN` or `-D CHAIN`, in the order libvirt inserts them: the last ends on top. */
function insertions(kind: OldLibvirt): readonly (readonly [chain: string, rule: string])[] {
  const net = NETWORK[kind];
  return [
    ['INPUT', '-i virbr0 -p tcp -m tcp --dport 67 -j ACCEPT'],
    ['INPUT', '-i virbr0 -p udp -m udp --dport 67 -j ACCEPT'],
    ['INPUT', '-i virbr0 -p tcp -m tcp --dport 53 -j ACCEPT'],
    ['INPUT', '-i virbr0 -p udp -m udp --dport 53 -j ACCEPT'],
    ['FORWARD', '-i virbr0 -j REJECT --reject-with icmp-port-unreachable'],
    ['FORWARD', '-o virbr0 -j REJECT --reject-with icmp-port-unreachable'],
    ['FORWARD', '-i virbr0 -o virbr0 -j ACCEPT'],
    ['FORWARD', `-s ${net} -i virbr0 -j ACCEPT`],
    ['FORWARD', `-d ${net} -o virbr0 -m state --state RELATED,ESTABLISHED -j ACCEPT`],
    ['POSTROUTING', `-s ${net} ! -d ${net} -j MASQUERADE`],
  ];
}

function command(action: '-I' | '-D', [chain, rule]: readonly [string, string]): string {
  const table = chain === 'POSTROUTING' ? '-t nat ' : '';
  return `iptables ${table}${action} ${chain} ${rule}`;
}

/** `service libvirtd start` or net-start: ten commands. */
export function oldLibvirtStart(kind: OldLibvirt): readonly string[] {
  return insertions(kind).map((insertion) => command('-I', insertion));
}

/** net-destroy: the reverse, by rule text; a rule that is not there is no error to it. */
export function oldLibvirtStop(kind: OldLibvirt): readonly string[] {
  return insertions(kind)
    .toReversed()
    .map((insertion) => `${command('-D', insertion)} || true`);
}

/** Its reload (SIGHUP): all rules taken out and put on top again, above whatever the admin had put there. */
export function oldLibvirtReload(kind: OldLibvirt): readonly string[] {
  return [...oldLibvirtStop(kind), ...oldLibvirtStart(kind)];
}

/** Runs such a sequence, one process a command. */
export async function replay(hypervisor: Hypervisor, commands: readonly string[]): Promise<void> {
  await hypervisor.sh(commands.join('\n'));
}

/**
 * Bridge, addresses and dnsmasq of the default network without any libvirtd (bring the hypervisor up with
 * `libvirt: false`); then `addGuest()` works as ever.
 */
export async function bridgeWithoutLibvirt(hypervisor: Hypervisor): Promise<void> {
  const { bridge, subnet } = DEFAULT_NETWORK;
  await hypervisor.sh(`
    ip link add ${bridge} type bridge stp_state 0
    ip addr add ${subnet}.1/24 dev ${bridge}
    ip link set ${bridge} up
    sysctl -qw net.ipv4.ip_forward=1
    dnsmasq --conf-file=/dev/null --interface=${bridge} --bind-interfaces --except-interface=lo --no-resolv --no-hosts \\
      --leasefile-ro --pid-file=/run/lab/dnsmasq.pid --dhcp-range=${subnet}.100,${subnet}.200 --dhcp-authoritative \\
      --dhcp-host=${guestMac(DEFAULT_NETWORK, 0)},${guestAddress(DEFAULT_NETWORK, 0)} \\
      --address=/${GATEWAY_NAME}/${subnet}.1 </dev/null >/dev/null 2>/run/lab/dnsmasq.log`);
}
