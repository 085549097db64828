// Shorewall compiles a whole ruleset with chains named after the admin's zones. Only its lock chains tell it, so a table
// that holds one is its own, as far as nobody else claims a rule.

import { neighbour } from './neighbour.ts';

export const shorewall = neighbour({
  id: 'shorewall',
  title: 'Shorewall',
  wholeTable: /^sha-[lr]h-[0-9a-f]{20}$/, // sha-lh-3f1b6a0c9d8e7f605142
  programs: [
    { name: /^shorewall6?(-lite)?$/, reach: 4 }, // /sbin/shorewall start
    { name: /^\.?(firewall|start|restart)$/, argument: '/shorewall', reach: 4 }, // sh /var/lib/shorewall/firewall start
  ],
  slot: 'kept',
  habits: {
    start: 'replaces all tables',
    reload: 'the same; `DOCKER=Yes` keeps Docker’s chains, nothing keeps libvirt’s',
    stop: 'flushes; policies DROP, `clear`: ACCEPT',
  },
  repair: { command: 'shorewall reload', onRequest: true, note: 'replaces the rules of everybody else' },
  verified: 'unverified',
  source:
    'shorewall 5.2.8 on Debian 12, run; no capture kept here. Its nat and mangle tables have no mark and count as yours',
});
