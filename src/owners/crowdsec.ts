// CrowdSec's firewall bouncer, with iptables and ipset.

import { neighbour } from './neighbour.ts';

export const crowdsec = neighbour({
  id: 'crowdsec',
  title: 'CrowdSec bouncer',
  chains: [{ name: 'CROWDSEC_CHAIN' }, { name: 'CROWDSEC_LOG' }],
  rules: [
    {
      telltale: '--match-set crowdsec',
      form: /^-A \S+ -m set --match-set crowdsec6?-blacklists\S* src -j (?:DROP|REJECT|LOG)/, // -A INPUT -m set --match-set crowdsec-blacklists src -j DROP
      evidence: 'set of CrowdSec’s',
    },
  ],
  tables: ['ip crowdsec', 'ip6 crowdsec6'],
  programs: [{ name: /^(crowdsec-firewall-bouncer|cs-firewall-bouncer)$/, reach: 1 }], // crowdsec-firewall-bouncer
  slot: 'none',
  habits: {
    start: 'inserts at the top of INPUT and FORWARD (and DOCKER-USER)',
    reload: 'at the top again',
    stop: 'leaves everything after SIGTERM',
  },
  repair: {
    command: 'systemctl restart crowdsec-firewall-bouncer',
    onRequest: false,
    ask: ['systemctl', 'restart', 'crowdsec-firewall-bouncer'],
  },
  verified: 'unverified',
  source: 'crowdsec-firewall-bouncer 0.0.25 of Debian 12, run; chain names from its source; no capture kept here',
});
