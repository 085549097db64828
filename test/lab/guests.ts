// A guest: a network namespace cabled to a libvirt bridge, with a program that answers and sends probes.

import { startAgent, type Agent } from './agents.ts';
import type { Namespaces } from './namespaces.ts';
import { guestAddress, guestMac, type NetworkSpec } from './networks.ts';
import type { Place } from './place.ts';

export interface Guest extends Place {
  readonly network: NetworkSpec;
  /** Its IPv4 address, set by hand; dnsmasq has the same as its fixed address. */
  readonly address: string;
  readonly mac: string;
  /** Name of the cable's end in the hypervisor. */
  readonly cable: string;
  readonly agent: Agent;
}

/** The nth guest (index from 0) of a started network. */
export async function makeGuest(
  namespaces: Namespaces,
  hypervisor: Place,
  network: NetworkSpec,
  index: number,
): Promise<Guest> {
  const name = `guest-${network.name}-${index}`;
  const cable = `cab-${network.bridge}-${index}`;
  const address = guestAddress(network, index);
  const mac = guestMac(network, index);
  await hypervisor.sh(`
    ip netns add ${name}
    ip -n ${name} link set lo up
    ip netns exec ${name} sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
    ip link add ${cable} type veth peer name eth0 netns ${name} address ${mac}
    ip -n ${name} addr add ${address}/24 dev eth0
    ${ipv6Lines(name, network, index)}
    ip -n ${name} link set eth0 up
    ip link set ${cable} up master ${network.bridge}
    ip -n ${name} route add default via ${network.subnet}.1`);
  const place = namespaces.place(name, name);
  return { ...place, network, address, mac, cable, agent: await startAgent(namespaces, place, name) };
}

/** Plugs a guest's cable into its network's bridge again: a restarted network has a new one. */
export async function cableBridge(hypervisor: Place, guest: Guest): Promise<void> {
  await hypervisor.sh(`ip link set ${guest.cable} up master ${guest.network.bridge}`);
}

function ipv6Lines(name: string, { ipv6 }: NetworkSpec, index: number): string {
  if (ipv6 === undefined) return '';
  return `ip -n ${name} -6 addr add ${ipv6.prefix}${10 + index}/64 dev eth0 nodad
    ip -n ${name} link set eth0 up
    ip -n ${name} -6 route add default via ${ipv6.prefix}1`;
}
