// strongSwan's _updown script with leftfirewall=yes.

import { neighbour } from './neighbour.ts';

export const strongswan = neighbour({
  id: 'strongswan',
  title: 'strongSwan',
  rules: [
    {
      telltale: '--pol ipsec',
      // -A FORWARD -s 10.2.0.0/16 -d 10.1.0.0/16 -i eth0 -m policy --dir in --pol ipsec --reqid 1 --proto esp -j ACCEPT
      form: /^-A (?:INPUT|OUTPUT|FORWARD) .*-m policy --dir (?:in|out) --pol ipsec --reqid \d+ --proto (?:esp|ah|ipcomp) (?:.* )?-j ACCEPT$/,
      evidence: 'IPsec policy with a reqid, as _updown writes it',
    },
  ],
  // Not charon itself: an admin's own updown script runs under it, too.
  programs: [{ name: /^_updown$/, reach: 1 }], // /usr/lib/ipsec/_updown
  slot: 'none',
  habits: {
    start: 'each connection inserts at place 1 without looking',
    reload: 'none',
    stop: 'deletes by text; a connection that came up twice leaves a copy',
  },
  repair: { command: 'swanctl --terminate, then --initiate, of each connection', onRequest: true },
  verified: 'unverified',
  source: 'strongSwan’s _updown of Debian 12, run; no capture kept here',
});
