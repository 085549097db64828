// OpenStack neutron's real IptablesFirewallDriver, called by neutron-driver.py instead of an agent.

import { join } from 'node:path';

import { REPOSITORY } from '../namespaces.ts';
import type { LabNeighbour } from './types.ts';

const run = (verb: string): string =>
  `/usr/bin/python3 -W ignore ${join(REPOSITORY, 'test/lab/neighbours/neutron-driver.py')} ${verb}`;

export const neutron: LabNeighbour = {
  name: 'neutron (linuxbridge)',
  owner: 'openstack-neutron',
  packages: ['python3-neutron', 'conntrack', 'ipset'],
  program: '/usr/lib/python3/dist-packages/neutron/agent/linux/iptables_firewall.py',
  steps: {
    start: run('one-port'),
    rewrite: run('two-ports'),
    reload: run('two-ports'),
    recover: run('two-ports'),
    stop: run('no-port'),
  },
  note: '`reload` applies the same again, as a restarted agent does; it moves others’ rules below its own',
};
