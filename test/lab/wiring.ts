// What a fresh hypervisor needs before any daemon: the cable to the outside, and which iptables the names mean.

const OUTSIDE_NET4 = '198.51.100';
const OUTSIDE_NET6 = '2001:db8:51::';
/** Addresses of the hypervisor's and the outside host's eth0. */
export const HYPERVISOR_ADDRESS = `${OUTSIDE_NET4}.1`;
export const OUTSIDE_ADDRESS = `${OUTSIDE_NET4}.2`;

/** Shell lines that make the `outside` namespace and its cable. It gets no route back to any guest network. */
export function wiringScript(): string {
  return `
    ip netns add outside
    ip -n outside link set lo up
    sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
    ip netns exec outside sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
    ip link add eth0 type veth peer name eth0 netns outside
    ip addr add ${HYPERVISOR_ADDRESS}/24 dev eth0
    ip -6 addr add ${OUTSIDE_NET6}1/64 dev eth0 nodad
    ip link set eth0 up
    ip -n outside addr add ${OUTSIDE_ADDRESS}/24 dev eth0
    ip -n outside -6 addr add ${OUTSIDE_NET6}2/64 dev eth0 nodad
    ip -n outside link set eth0 up
    ip route add default via ${OUTSIDE_ADDRESS}
    ip -6 route add default via ${OUTSIDE_NET6}2
  `;
}

/**
 * Shell lines that point the usual names at one engine, as update-alternatives would. ebtables stays with nf_tables:
 * many kernels have no legacy bridge tables, and libvirt's bridge filters are not what the engine is chosen for.
 */
export function engineScript(engine: 'nft' | 'legacy'): string {
  return `
    for tool in iptables ip6tables; do
      ln -sf /usr/sbin/$tool-${engine} /etc/alternatives/$tool
      for part in save restore; do ln -sf /usr/sbin/$tool-${engine}-$part /etc/alternatives/$tool-$part; done
    done
  `;
}
