// systemd-networkd's IPMasquerade=: native tables since 248. Its older rules in POSTROUTING have no mark, and count as yours.

import { neighbour } from './neighbour.ts';

export const systemdNetworkd = neighbour({
  id: 'systemd-networkd',
  title: 'systemd-networkd',
  tables: ['ip io.systemd.nat', 'ip6 io.systemd.nat'],
  programs: [{ name: /^systemd-networkd?$/, reach: 0 }], // systemd-network (cut by the kernel)
  slot: 'none',
  habits: {
    start: 'its own table',
    reload: 'makes it again when the next address cannot be added',
    stop: 'leaves it',
  },
  repair: { command: 'networkctl reload', onRequest: false, ask: ['networkctl', 'reload'] },
  verified: 'unverified',
  source: 'systemd’s src/shared/firewall-util-nft.c, read; not run',
});
