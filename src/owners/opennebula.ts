// OpenNebula's security groups (vnm drivers).

import { neighbour } from './neighbour.ts';

export const opennebula = neighbour({
  id: 'opennebula',
  title: 'OpenNebula',
  chains: [
    { name: 'opennebula' },
    { name: 'one-*', form: /^one-\d+-\d+(?:-[a-z]+)?$/ }, // one-17-0-i
  ],
  slot: 'none',
  habits: {
    start: 'a guest’s start makes one chain a NIC and direction, and a jump in chain opennebula',
    reload: 'the chains of a guest anew when its groups change',
    stop: 'a guest’s end takes its chains away',
  },
  repair: { command: undefined, onRequest: false, note: 'the next change of a guest’s security group' },
  verified: 'unverified',
  source: 'OpenNebula’s src/vnm_mad, read; not run',
});
