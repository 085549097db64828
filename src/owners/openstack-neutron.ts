// OpenStack neutron's iptables manager. It edits built-in chains by rule number and deletes what stands twice in them,
// whoever wrote it. neutron-filter-top is shared: neutron keeps others' rules in there, below its own.

import { escaped } from './claim-neighbours.ts';
import { neighbour } from './neighbour.ts';

/** neutron/agent/linux/iptables_comments.py, and the zones of iptables_firewall.py */
const COMMENTS = [
  'Direct incoming traffic from VM to the security group chain.',
  'Direct traffic from the VM interface to the security group chain.',
  'Direct packets associated with a known session to the RETURN chain.',
  'Jump to the VM specific chain.',
  'Perform source NAT on outgoing traffic.',
  'Default drop rule for unmatched traffic.',
  'Send unmatched traffic to the fallback chain.',
  'Allow DHCP client traffic.',
  'Allow IPv6 ICMP traffic.',
  'Allow traffic from defined IP/MAC pairs.',
  'Accept all packets when port security is disabled.',
  'Drop IPv6 Router Advts from VM Instance.',
  'Drop traffic without an IP/MAC allow rule.',
  'Drop packets that ', // appear related to an existing connection (e.g. TCP ACK/FIN) but do not have an entry in conntrack.
  'Prevent DHCP Spoofing by VM.',
  'Set zone for ', // bcdef01-01
];

/** agent/linuxbridge/arp_protect.py: one chain each for a port's addresses; an interface's name has up to 15 characters. */
const VIF = /^neutron(?:ARP|MAC)-\S{1,15}$/;

export const openstackNeutron = neighbour({
  id: 'openstack-neutron',
  title: 'OpenStack neutron',
  chains: [
    { name: 'neutron-filter-top', users: ['-A FORWARD -j neutron-filter-top', '-A OUTPUT -j neutron-filter-top'] },
    { name: 'neutron-postrouting-bottom', users: ['-A POSTROUTING -j neutron-postrouting-bottom'] },
    { name: 'neutronARP-*', form: VIF }, // neutronARP-tap5c0b1d02-3f, in ebtables' table nat
    { name: 'neutronMAC-*', form: VIF },
    { name: 'neutron-*', form: /^neutron-[a-z0-9-]{1,8}-[A-Za-z0-9_-]+$/ }, // neutron-linuxbri-sg-chain
  ],
  comments: new RegExp(`^(?:${COMMENTS.map(escaped).join('|')})`),
  programs: [
    { name: /^neutron-/, reach: 4 }, // python3 /usr/bin/neutron-rootwrap ...
    { name: /^privsep-helper$/, argument: '/neutron', reach: 4 }, // ... --config-file /etc/neutron/neutron.conf
  ],
  slot: 'none',
  habits: {
    start: 'places 1 and 2 of FORWARD and OUTPUT, 1 of INPUT',
    reload:
      'moves others’ rules below its own, deletes second copies of anybody’s rules in built-in chains, and what is not its own in its chains',
    stop: 'leaves everything',
  },
  repair: {
    command: 'systemctl restart neutron-linuxbridge-agent',
    onRequest: true,
    note: 'or wait: the agent puts all of its own back at its next change',
  },
  verified: 'writers/neutron',
  source: 'python3-neutron 21.0.0, its real IptablesFirewallDriver',
});
