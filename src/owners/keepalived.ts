// keepalived. Debian's build writes native tables only: nothing of it is seen in iptables.

import { neighbour } from './neighbour.ts';

export const keepalived = neighbour({
  id: 'keepalived',
  title: 'keepalived',
  tables: ['ip keepalived', 'ip6 keepalived'],
  programs: [{ name: /^keepalived$/, reach: 1 }], // keepalived
  slot: 'none',
  habits: { start: 'its own table', reload: 'keeps it', stop: 'deletes it' },
  repair: { command: 'systemctl restart keepalived', onRequest: true, note: 'addresses may move to another host' },
  verified: 'unverified',
  source: 'keepalived 2.2.7 of Debian 12, run; no capture kept here',
});
