// What libvirt's iptables backend leaves in the kernel for one network, in saved form (9.0 and 11.3, both engines).

export interface BridgeNetwork {
  readonly name: string;
  readonly bridge: string;
  /** `192.168.122.0/24` */
  readonly subnet: string;
}

/** Saved rules of one NAT network by `table/chain`, in their order; a later network's stand above an earlier one's. */
export function natNetworkRules({ bridge, subnet }: BridgeNetwork): ReadonlyMap<string, readonly string[]> {
  const service = (chain: string, side: string, protocol: string, port: number): string =>
    `-A ${chain} ${side} ${bridge} -p ${protocol} -m ${protocol} --dport ${port} -j ACCEPT`;
  const both = (chain: string, side: string, ports: readonly number[]): string[] =>
    ports.flatMap((port) => ['udp', 'tcp'].map((protocol) => service(chain, side, protocol, port)));
  const reject = '-j REJECT --reject-with icmp-port-unreachable';
  const outside = `-A LIBVIRT_PRT -s ${subnet} ! -d ${subnet}`;
  return new Map([
    ['filter/LIBVIRT_INP', both('LIBVIRT_INP', '-i', [53, 67])],
    ['filter/LIBVIRT_OUT', both('LIBVIRT_OUT', '-o', [53, 68])],
    ['filter/LIBVIRT_FWX', [`-A LIBVIRT_FWX -i ${bridge} -o ${bridge} -j ACCEPT`]],
    [
      'filter/LIBVIRT_FWI',
      [
        `-A LIBVIRT_FWI -d ${subnet} -o ${bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
        `-A LIBVIRT_FWI -o ${bridge} ${reject}`,
      ],
    ],
    [
      'filter/LIBVIRT_FWO',
      [`-A LIBVIRT_FWO -s ${subnet} -i ${bridge} -j ACCEPT`, `-A LIBVIRT_FWO -i ${bridge} ${reject}`],
    ],
    [
      'nat/LIBVIRT_PRT',
      [
        `-A LIBVIRT_PRT -s ${subnet} -d 224.0.0.0/24 -j RETURN`,
        `-A LIBVIRT_PRT -s ${subnet} -d 255.255.255.255/32 -j RETURN`,
        `${outside} -p tcp -j MASQUERADE --to-ports 1024-65535`,
        `${outside} -p udp -j MASQUERADE --to-ports 1024-65535`,
        `${outside} -j MASQUERADE`,
      ],
    ],
    ['mangle/LIBVIRT_PRT', [`-A LIBVIRT_PRT -o ${bridge} -p udp -m udp --dport 68 -j CHECKSUM --checksum-fill`]],
  ]);
}

/** The jumps libvirt puts at the top, as they end up: `table/chain` to rules. */
export const LIBVIRT_JUMPS: ReadonlyMap<string, readonly string[]> = new Map([
  ['filter/INPUT', ['-A INPUT -j LIBVIRT_INP']],
  ['filter/FORWARD', ['-A FORWARD -j LIBVIRT_FWX', '-A FORWARD -j LIBVIRT_FWI', '-A FORWARD -j LIBVIRT_FWO']],
  ['filter/OUTPUT', ['-A OUTPUT -j LIBVIRT_OUT']],
  ['nat/POSTROUTING', ['-A POSTROUTING -j LIBVIRT_PRT']],
  ['mangle/POSTROUTING', ['-A POSTROUTING -j LIBVIRT_PRT']],
]);

/** libvirt 5.0 and older on KVM (Fedora 13, iptables 1.4.7): ten bare rules in the built-in chains. */
export function bareNetworkRules({ bridge, subnet }: BridgeNetwork): ReadonlyMap<string, readonly string[]> {
  const service = (protocol: string, port: number): string =>
    `-A INPUT -i ${bridge} -p ${protocol} -m ${protocol} --dport ${port} -j ACCEPT`;
  return new Map([
    ['filter/INPUT', [service('udp', 53), service('tcp', 53), service('udp', 67), service('tcp', 67)]],
    [
      'filter/FORWARD',
      [
        `-A FORWARD -d ${subnet} -o ${bridge} -m state --state RELATED,ESTABLISHED -j ACCEPT`,
        `-A FORWARD -s ${subnet} -i ${bridge} -j ACCEPT`,
        `-A FORWARD -i ${bridge} -o ${bridge} -j ACCEPT`,
        `-A FORWARD -o ${bridge} -j REJECT --reject-with icmp-port-unreachable`,
        `-A FORWARD -i ${bridge} -j REJECT --reject-with icmp-port-unreachable`,
      ],
    ],
    ['nat/POSTROUTING', [`-A POSTROUTING -s ${subnet} ! -d ${subnet} -j MASQUERADE`]],
  ]);
}
