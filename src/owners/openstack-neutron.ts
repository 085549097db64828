// OpenStack neutron's iptables manager. It edits built-in chains by rule number and deletes what stands twice in them,
// whoever wrote it. neutron-filter-top is shared: neutron keeps others' rules in there, below its own.

import { neighbour } from './neighbour.ts';

export const openstackNeutron = neighbour({
  id: 'openstack-neutron',
  title: 'OpenStack neutron',
  chains: [
    { name: 'neutron-filter-top', users: ['-A FORWARD -j neutron-filter-top', '-A OUTPUT -j neutron-filter-top'] },
    { name: 'neutron-postrouting-bottom', users: ['-A POSTROUTING -j neutron-postrouting-bottom'] },
    { name: 'neutron-*', form: /^neutron-[a-z0-9-]{1,8}-[A-Za-z0-9_-]+$/ }, // neutron-linuxbri-sg-chain
  ],
  programs: [
    { name: /^neutron-/, reach: 4 }, // python3 /usr/bin/neutron-rootwrap ...
    { name: /^privsep-helper$/, argument: '/neutron', reach: 4 }, // ... --config-file /etc/neutron/neutron.conf
  ],
  slot: 'none',
  habits: {
    start: 'places 1 and 2 of FORWARD and OUTPUT, 1 of INPUT',
    reload: 'moves others’ rules below its own, deletes second copies of anybody’s rules in built-in chains, and what is not its own in its chains',
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
