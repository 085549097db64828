// wg-quick's own rules, for a default route through the tunnel. What stands in PostUp= is the admin's.

import { neighbour } from './neighbour.ts';

export const wgQuick = neighbour({
  id: 'wg-quick',
  title: 'wg-quick',
  rules: [
    {
      telltale: '"wg-quick(8) rule for ',
      // -A PREROUTING ! -i wg0 -d 10.0.0.2/32 -m addrtype ! --src-type LOCAL -m comment --comment "wg-quick(8) rule for wg0" -j DROP
      form: /^-A \S+ .*--comment "wg-quick\(8\) rule for [A-Za-z0-9_=+.-]{1,15}"/,
      evidence: 'comment wg-quick(8)',
    },
  ],
  tables: ['ip wg-quick-*', 'ip6 wg-quick-*'],
  // Its process is not told: PostUp= and PostDown= run under it, and are the admin's word.
  slot: 'none',
  habits: {
    start: 'its own table, or with iptables rules that carry its comment',
    reload: 'none',
    stop: 'looks for its comment in iptables-save and deletes those lines',
  },
  repair: { command: 'wg-quick down IF; wg-quick up IF', onRequest: true, note: 'the tunnel is down for a moment' },
  verified: 'unverified',
  source: 'wg-quick of Debian 12, run; no capture kept here',
});
