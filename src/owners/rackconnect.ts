// Rackspace's RackConnect automation. It replaces the whole filter table, or, with /etc/rackconnect-allow-custom-iptables,
// rebuilds its own rules and keeps all others.

import { neighbour } from './neighbour.ts';

export const rackconnect = neighbour({
  id: 'rackconnect',
  title: 'RackConnect',
  chains: [{ name: 'RS-RackConnect-*' }], // RS-RackConnect-INBOUND
  slot: 'none',
  habits: {
    start: 'replaces the filter table; in merge mode puts its own jumps first and keeps the rest',
    reload: 'the same, whenever a network policy changes',
    stop: 'leaves everything',
  },
  repair: {
    command: undefined,
    onRequest: false,
    note: 'its automation, from outside, at the next change of a policy',
  },
  verified: 'unverified',
  source: 'Rackspace’s documentation of RackConnect v2; not run',
});
