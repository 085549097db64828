// firewalld on the hypervisor's own bus, with each of its backends.

import { type LabNeighbour, WAIT } from './types.ts';

/** An answer of the program, not of the tool that asks. */
const START = `${WAIT}
  setsid firewalld --nofork --nopid --log-target=file --log-file=/run/lab/firewalld.log \\
    </dev/null >/run/lab/firewalld.out 2>&1 &
  echo $! > /run/lab/firewalld.pid
  wait_for firewall-cmd --state`;

function firewalld(backend: 'nftables' | 'iptables', note: string): LabNeighbour {
  return {
    name: `firewalld (${backend})`,
    owner: 'firewalld',
    packages: ['firewalld'],
    program: '/usr/sbin/firewalld',
    prepare: `sed -i 's/^FirewallBackend=.*/FirewallBackend=${backend}/' /etc/firewalld/firewalld.conf`,
    steps: {
      start: START,
      rewrite: 'firewall-cmd --add-service=http',
      reload: 'firewall-cmd --reload',
      recover: 'firewall-cmd --reload',
      stop: `${WAIT}
        pid=$(cat /run/lab/firewalld.pid)
        kill $pid
        wait_for gone $pid`,
    },
    note,
  };
}

export const firewalldNft = firewalld(
  'nftables',
  'start, reload and stop flush iptables for everybody; its own rules stand in a native table',
);
export const firewalldIptables = firewalld(
  'iptables',
  'start, reload and stop flush iptables for everybody; it holds the built-in chains as its own',
);
