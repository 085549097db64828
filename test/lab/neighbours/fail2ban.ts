// fail2ban with its usual iptables action. It writes at the first ban of a jail.

import { type LabNeighbour, WAIT } from './types.ts';

const JAIL = `[DEFAULT]
banaction = iptables-multiport
[sshd]
enabled = true
backend = polling
logpath = /run/lab/auth.log
port = ssh
`;

/** A ban is answered before its commands have run. */
const banned = (address: string): string => `
  fail2ban-client set sshd banip ${address}
  wait_for iptables -C f2b-sshd -s ${address} -j REJECT --reject-with icmp-port-unreachable`;

export const fail2ban: LabNeighbour = {
  name: 'fail2ban',
  owner: 'fail2ban',
  packages: ['fail2ban'],
  program: '/usr/bin/fail2ban-server',
  prepare: `
    rm -f /etc/fail2ban/jail.d/*
    mkdir -p /var/run/fail2ban /var/lib/fail2ban
    : > /run/lab/auth.log
    printf '${JAIL}' > /etc/fail2ban/jail.local
    printf '[Definition]\nlogtarget = /run/lab/fail2ban.log\ndbfile = /run/lab/fail2ban.sqlite3\n' > /etc/fail2ban/fail2ban.local`,
  steps: {
    start: `${WAIT}
      fail2ban-client start
      wait_for fail2ban-client status sshd
      ${banned('192.0.2.9')}`,
    rewrite: `${WAIT} ${banned('192.0.2.10')}
      fail2ban-client set sshd unbanip 192.0.2.9
      wait_for sh -c '! iptables -C f2b-sshd -s 192.0.2.9 -j REJECT --reject-with icmp-port-unreachable'`,
    reload: 'fail2ban-client reload; sleep 1',
    recover: `${WAIT}
      fail2ban-client reload --restart
      wait_for iptables -C f2b-sshd -s 192.0.2.10 -j REJECT --reject-with icmp-port-unreachable
      wait_for iptables -C INPUT -p tcp -m multiport --dports 22 -j f2b-sshd`,
    stop: 'fail2ban-client stop; sleep 0.5',
  },
};
