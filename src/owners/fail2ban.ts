// fail2ban's iptables and ipset actions.

import { neighbour } from './neighbour.ts';

export const fail2ban = neighbour({
  id: 'fail2ban',
  title: 'fail2ban',
  chains: [{ name: 'f2b-*', form: /^f2b-.+$/ }],
  rules: [
    {
      telltale: '--match-set f2b-',
      // -A INPUT -p tcp -m multiport --dports 22 -m set --match-set f2b-sshd src -j REJECT --reject-with icmp-port-unreachable
      form: /^-A \S+ .*-m set --match-set f2b-\S+ src -j \S+/,
      evidence: 'set of fail2ban’s',
    },
  ],
  comments: /^(?!)/, // it writes none
  tables: ['inet f2b-table'],
  programs: [{ name: /^fail2ban-server$/, reach: 2 }], // fail2ban-server runs `sh -c "iptables ..."`
  slot: 'kept',
  habits: {
    start: 'nothing; the first ban of a jail makes its chain and inserts the jump at place 1',
    reload: 'keeps its rules; `restart` takes them out and puts them at place 1 again',
    stop: 'deletes jump and chain',
  },
  repair: {
    command: 'fail2ban-client reload --restart',
    onRequest: false,
    ask: ['fail2ban-client', 'reload', '--restart'],
    note: 'bans come back from its database; a plain reload changes nothing, and a ban after a flush goes into a chain that nothing jumps to',
  },
  verified: 'writers/fail2ban-iptables-multiport',
  source: 'fail2ban 1.0.2 on Debian 12',
});
