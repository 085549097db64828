// LXD. Native table `inet lxd`; on hosts with an old nft its rules stand in iptables, with a comment.

import { neighbour } from './neighbour.ts';

export const lxd = neighbour({
  id: 'lxd',
  title: 'LXD',
  rules: [
    {
      telltale: '"generated for LXD ',
      form: /^-A \S+ .*--comment "generated for LXD [^"]*"/, // -m comment --comment "generated for LXD network lxdbr0"
      evidence: 'comment generated for LXD',
    },
  ],
  tables: ['inet lxd'],
  programs: [{ name: /^lxdd$/, reach: 1 }], // lxdd
  slot: 'none',
  habits: {
    start: 'its own table; in iptables mode inserts in front',
    reload: 'its own chains only',
    stop: 'a network’s end takes its own away',
  },
  repair: { command: 'systemctl restart lxd', onRequest: true },
  verified: 'unverified',
  source: 'LXD’s xtables driver, read; its nft driver run on Debian',
});
