// Incus. Native table `inet incus`; on hosts with an old nft its rules stand in iptables, with a comment.

import { neighbour } from './neighbour.ts';

export const incus = neighbour({
  id: 'incus',
  title: 'Incus',
  rules: [
    {
      telltale: '"generated for Incus ',
      form: /^-A \S+ .*--comment "generated for Incus [^"]*"/, // -m comment --comment "generated for Incus network incusbr0"
      evidence: 'comment generated for Incus',
    },
  ],
  tables: ['inet incus'],
  programs: [{ name: /^incusd$/, reach: 1 }], // incusd
  slot: 'none',
  habits: {
    start: 'its own table; in iptables mode inserts in front',
    reload: 'its own chains only',
    stop: 'a network’s end takes its own away',
  },
  repair: { command: 'systemctl restart incus', onRequest: true },
  verified: 'unverified',
  source: 'Incus’s xtables driver, read; its nft driver run on Debian',
});
