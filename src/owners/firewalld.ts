// firewalld's iptables backend. Its plain rules in the built-in chains have no mark; they stand in a block with its jumps.

import { neighbour } from './neighbour.ts';
import type { OwnSet } from './types.ts';

/** The plain rules of one built-in chain, in both families. */
function block(chain: string, lines: readonly string[], table = 'filter', anchor = `${chain}_direct`): OwnSet {
  return { table, chain, lines: lines.map((line) => `-A ${chain} ${line}`), anchor: `-A ${chain} -j ${anchor}` };
}

const PLAIN = [
  '-m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT',
  '-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
  '-m conntrack --ctstate DNAT -j ACCEPT',
  '-i lo -j ACCEPT',
  '-m conntrack --ctstate INVALID -j LOG --log-prefix "STATE_INVALID_DROP: "',
  '-m conntrack --ctstate INVALID -j DROP',
  '-j LOG --log-prefix "FINAL_REJECT: "',
  '-j REJECT --reject-with icmp-host-prohibited',
  '-j REJECT --reject-with icmp6-adm-prohibited',
];
const OUTPUT = ['-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT', '-o lo -j ACCEPT'];
/** IPv6_rpfilter of firewalld.conf; neighbour discovery is let through before it. */
const RPFILTER = [
  '-p ipv6-icmp -m icmp6 --icmpv6-type 134 -j ACCEPT',
  '-p ipv6-icmp -m icmp6 --icmpv6-type 135 -j ACCEPT',
  '-m rpfilter --validmark --invert -j LOG --log-prefix "rpfilter_DROP: "',
  '-m rpfilter --validmark --invert -j DROP',
];

export const firewalld = neighbour({
  id: 'firewalld',
  title: 'firewalld',
  chains: [
    ...['INPUT', 'OUTPUT', 'FORWARD', 'PREROUTING', 'POSTROUTING'].map((chain) => ({
      name: `${chain}_*`,
      form: /_(?:direct|ZONES|ZONES_SOURCE|POLICIES_(?:pre|post))$/, // INPUT_ZONES, FORWARD_POLICIES_pre
    })),
    // An admin may name a chain IN_web, too: a zone's chains count only beside firewalld's own.
    ...['IN_*', 'FWD_*', 'FWDI_*', 'FWDO_*'].map((name) => ({ name, requires: 'INPUT_direct' })),
    { name: 'OUT_*', requires: 'OUTPUT_direct' },
    { name: 'PRE_*', requires: 'PREROUTING_direct' },
    { name: 'POST_*', requires: 'POSTROUTING_direct' },
    { name: 'RFC3964_IPv4', requires: 'OUTPUT_direct' },
  ],
  sets: [
    block('INPUT', PLAIN),
    block('FORWARD', PLAIN),
    block('OUTPUT', OUTPUT),
    block('PREROUTING', RPFILTER, 'mangle'),
    block('PREROUTING', RPFILTER, 'raw'),
  ],
  // The last one stands while it reloads (nftables.py, TABLE_NAME_POLICY), and in panic mode: put back, it stops every guest.
  tables: ['inet firewalld', 'ip firewalld', 'ip6 firewalld', 'inet firewalld_policy_drop'],
  programs: [{ name: /^firewalld$/, reach: 1 }], // python3 /usr/sbin/firewalld
  slot: 'kept',
  habits: {
    start:
      'up to 1.3 flushes every table of everybody, with both backends, then writes its own; since 2.0 only with a direct rule',
    reload: 'the same flush; `Reloaded` on the bus at its end; libvirt and Docker rebuild on that signal',
    stop: 'the same flush, without a signal',
  },
  repair: { command: 'firewall-cmd --reload', onRequest: true, note: 'flushes the rules of everybody else' },
  verified: 'writers/firewalld-iptables',
  source:
    'firewalld 1.3.3 with its iptables backend on Debian 12; a direct rule of the nftables backend has no mark and counts as yours',
});
