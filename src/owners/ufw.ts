// ufw. What it loads from before.rules, user.rules and after.rules stands in its own chains, whatever it says.

import { neighbour } from './neighbour.ts';

export const ufw = neighbour({
  id: 'ufw',
  title: 'ufw',
  chains: [
    { name: 'ufw-*', form: /^ufw-[a-z0-9-]+$/ },
    { name: 'ufw6-*', form: /^ufw6-[a-z0-9-]+$/ },
  ],
  comments: /^[ds]app_/, // -m comment --comment "dapp_OpenSSH"
  policies: ['INPUT', 'OUTPUT', 'FORWARD'],
  programs: [{ name: /^(ufw|ufw-init)$/, reach: 2 }], // python3 /usr/sbin/ufw reload
  slot: 'kept',
  habits: {
    start: 'appends its jumps at the end of INPUT, FORWARD, OUTPUT; sets INPUT and FORWARD to policy DROP',
    reload: 'rewrites what is inside its chains; other rules keep their order',
    stop: 'takes its jumps and rules out, keeps its empty chains; policies to ACCEPT',
  },
  repair: {
    command: 'ufw reload',
    onRequest: false,
    ask: ['ufw', 'reload'],
    note: 'brings the jumps back only where its chains are gone; after `iptables -F` disable it, delete the empty ufw-* chains (`iptables -X CHAIN`), enable it',
  },
  verified: 'writers/ufw',
  source: 'ufw 0.36.2 on Debian 12',
});
