// nova-network and nova-compute of old OpenStack: the iptables manager that neutron's was made from.

import { neighbour } from './neighbour.ts';

export const openstackNova = neighbour({
  id: 'openstack-nova',
  title: 'OpenStack nova',
  chains: [
    { name: 'nova-filter-top', users: ['-A FORWARD -j nova-filter-top', '-A OUTPUT -j nova-filter-top'] },
    { name: 'nova-postrouting-bottom', users: ['-A POSTROUTING -j nova-postrouting-bottom'] },
    { name: 'nova-*', form: /^nova-[a-z0-9]{1,11}-[A-Za-z0-9_-]+$/ }, // nova-compute-FORWARD, nova-network-snat
  ],
  programs: [
    { name: /^nova-/, reach: 4 }, // python3 /usr/bin/nova-network
    { name: /^privsep-helper$/, argument: '/nova', reach: 4 }, // ... --config-file /etc/nova/nova.conf
  ],
  slot: 'none',
  habits: {
    start: 'its jumps to the top of the built-in chains',
    reload: 'as neutron’s: others’ rules go below its own, second copies are deleted',
    stop: 'leaves everything',
  },
  repair: { command: 'systemctl restart nova-compute', onRequest: true, note: 'or nova-network, whichever wrote them' },
  verified: 'unverified',
  source: 'nova’s nova/network/linux_net.py, read; not run',
});
