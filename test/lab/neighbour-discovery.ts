// Whether IPv6 works at all between a guest and its host, whatever else is open. For a network with the prefix fd00:122::.

import type { Hypervisor } from './host.ts';

/** The guest finds the host by neighbour discovery, and gets a default route by router advertisement (dnsmasq's). */
export async function expectNeighbourDiscovery({ guest }: Hypervisor): Promise<void> {
  await guest.sh(`
    sysctl -qw net.ipv6.conf.eth0.accept_ra=2 net.ipv6.conf.eth0.router_solicitation_interval=1
    ip link set eth0 down
    ip link set eth0 up
    ip -6 addr add fd00:122::10/64 dev eth0 nodad
    ip -6 neigh flush dev eth0
    ip route replace default via 192.168.122.1
    busybox ping6 -c 1 -W 2 fd00:122::1 >/dev/null
    for try in 1 2 3 4 5 6 7 8 9 10; do
      [ -z "$(ip -6 route show default proto ra)" ] || exit 0
      sleep 0.5
    done
    echo 'no router advertisement within 5 s' >&2
    exit 1`);
}
