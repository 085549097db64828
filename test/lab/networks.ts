// libvirt networks of the lab, as data and as the XML libvirt takes.

/** One network. Guests get fixed addresses: index 0 is SUBNET.10, index 1 is SUBNET.11, ... (8 of them). */
export interface NetworkSpec {
  readonly name: string;
  readonly bridge: string;
  /** First three numbers of the IPv4 /24, e.g. `192.168.122`; the host is `.1`. */
  readonly subnet: string;
  /** Default `nat`. `isolated` has no `<forward>`. */
  readonly forward?: 'nat' | 'route' | 'isolated' | 'open';
  /** First 64 bits, e.g. `fd00:122::` (the host is `::1`); `nat` adds `<nat ipv6='yes'/>`. */
  readonly ipv6?: { readonly prefix: string; readonly nat: boolean };
  /** Default true. */
  readonly dhcp?: boolean;
}

/** The name every DHCP guest can look up at its host; dnsmasq answers it itself. */
export const GATEWAY_NAME = 'gateway.lab';
export const DEFAULT_NETWORK: NetworkSpec = { name: 'default', bridge: 'virbr0', subnet: '192.168.122' };
const FIXED_GUESTS = 8;

/** The nth further network, n >= 1: `net1` on virbr1, 192.168.(122+n).0/24. */
export function furtherNetwork(n: number): NetworkSpec {
  return { name: `net${n}`, bridge: `virbr${n}`, subnet: `192.168.${122 + n}` };
}

export function guestAddress(network: NetworkSpec, index: number): string {
  return `${network.subnet}.${10 + index}`;
}

/** 52:54:00 is QEMU's prefix; the rest says network and index. */
export function guestMac(network: NetworkSpec, index: number): string {
  const third = Number(network.subnet.split('.')[2]);
  return ['52:54:00:aa', hex(third), hex(index + 1)].join(':');
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}

/** STP is off: with it a freshly cabled port stays blocked for about 4 s. */
export function networkXml(network: NetworkSpec): string {
  return [
    `<network><name>${network.name}</name>`,
    forwardXml(network),
    `<bridge name='${network.bridge}' stp='off' delay='0'/>`,
    network.dhcp === false
      ? ''
      : `<dns><host ip='${network.subnet}.1'><hostname>${GATEWAY_NAME}</hostname></host></dns>`,
    `<ip address='${network.subnet}.1' netmask='255.255.255.0'>${dhcpXml(network)}</ip>`,
    network.ipv6 ? `<ip family='ipv6' address='${network.ipv6.prefix}1' prefix='64'/>` : '',
    '</network>',
  ].join('\n');
}

function forwardXml({ forward = 'nat', ipv6 }: NetworkSpec): string {
  if (forward === 'isolated') return '';
  if (forward !== 'nat') return `<forward mode='${forward}'/>`;
  return ipv6?.nat ? "<forward mode='nat'><nat ipv6='yes'/></forward>" : "<forward mode='nat'/>";
}

function dhcpXml(network: NetworkSpec): string {
  if (network.dhcp === false) return '';
  const hosts = Array.from(
    { length: FIXED_GUESTS },
    (_, index) => `<host mac='${guestMac(network, index)}' ip='${guestAddress(network, index)}'/>`,
  );
  return `<dhcp><range start='${network.subnet}.100' end='${network.subnet}.200'/>${hosts.join('')}</dhcp>`;
}
