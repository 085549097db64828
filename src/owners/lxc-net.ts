// lxc-net in its iptables mode (LXC_USE_NFT="false"): no chain, no comment. Elsewhere its own native tables.

import { neighbour } from './neighbour.ts';

export const lxcNet = neighbour({
  id: 'lxc-net',
  title: 'lxc-net',
  sets: [
    {
      table: 'filter',
      chain: 'INPUT',
      anchor: undefined,
      lines: ['udp', 'tcp'].flatMap((protocol) =>
        [53, 67].map((port) => `-A INPUT -i lxcbr0 -p ${protocol} -m ${protocol} --dport ${port} -j ACCEPT`),
      ),
    },
    {
      table: 'filter',
      chain: 'FORWARD',
      anchor: undefined,
      lines: ['-A FORWARD -i lxcbr0 -j ACCEPT', '-A FORWARD -o lxcbr0 -j ACCEPT'],
    },
    {
      table: 'nat',
      chain: 'POSTROUTING',
      anchor: undefined,
      lines: ['-A POSTROUTING -s 10.0.3.0/24 ! -d 10.0.3.0/24 -j MASQUERADE'],
    },
    {
      table: 'mangle',
      chain: 'POSTROUTING',
      anchor: undefined,
      lines: ['-A POSTROUTING -o lxcbr0 -p udp -m udp --dport 68 -j CHECKSUM --checksum-fill'],
    },
  ],
  tables: ['inet lxc', 'ip lxc', 'ip6 lxc'],
  programs: [{ name: /^lxc-net$/, reach: 2 }], // sh /usr/libexec/lxc/lxc-net start
  slot: 'none',
  habits: {
    start: 'inserts at the top of INPUT and FORWARD',
    reload: 'the same',
    stop: 'deletes by text',
  },
  repair: { command: 'systemctl restart lxc-net', onRequest: true, note: 'takes the bridge down for a moment' },
  verified: 'unverified',
  source: 'lxc 5.0.2 on Debian 12, run; no capture kept here. Another subnet than 10.0.3.0/24 counts as yours',
});
