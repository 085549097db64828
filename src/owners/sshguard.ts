// sshguard's iptables backend: it fills a chain that the admin makes and hooks.

import { neighbour } from './neighbour.ts';

export const sshguard = neighbour({
  id: 'sshguard',
  title: 'sshguard',
  chains: [{ name: 'sshguard', hook: 'user' }],
  tables: ['ip sshguard', 'ip6 sshguard'],
  programs: [{ name: /^(sshguard|sshg-fw-iptables|sshg-fw-nft-sets)$/, reach: 2 }], // sh /usr/libexec/sshguard/sshg-fw-iptables
  slot: 'none',
  habits: { start: 'nothing; each attacker is one rule in its chain', reload: 'none', stop: 'flushes its chain' },
  repair: { command: undefined, onRequest: false, note: 'bans come with the next attack' },
  verified: 'unverified',
  source: 'sshguard 2.4.2 of Debian 12, run; no capture kept here',
});
