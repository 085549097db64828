// miniupnpd's iptables backend.

import { neighbour } from './neighbour.ts';

export const miniupnpd = neighbour({
  id: 'miniupnpd',
  title: 'miniupnpd',
  chains: [
    { name: 'MINIUPNPD*', form: /^MINIUPNPD(?:-POSTROUTING|-PCP-PEER)?$/ },
    { name: 'miniupnpd' },
    { name: 'prerouting_miniupnpd' },
    { name: 'postrouting_miniupnpd' },
  ],
  programs: [{ name: /^(miniupnpd|iptables_init\.sh|iptables_removeall\.sh)$/, reach: 2 }], // miniupnpd
  slot: 'none',
  habits: {
    start: 'its script makes the chains and jumps, the daemon fills them',
    reload: 'its own chains',
    stop: 'its script takes them away',
  },
  repair: {
    command: 'systemctl restart miniupnpd',
    onRequest: false,
    note: 'forwarded ports come when they are asked for again',
  },
  verified: 'unverified',
  source: 'miniupnpd 2.3.1’s nft backend run; the chains of its iptables backend from its scripts',
});
