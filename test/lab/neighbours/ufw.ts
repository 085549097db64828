// ufw. Its files of /etc/ufw are made by the package's own script, which is not run where it is only unpacked.

import type { LabNeighbour } from './types.ts';

export const ufw: LabNeighbour = {
  name: 'ufw',
  owner: 'ufw',
  packages: ['ufw'],
  program: '/usr/sbin/ufw',
  prepare: `
    mkdir -p /etc/ufw
    for name in before before6 after after6 user user6; do
      [ -e /etc/ufw/$name.rules ] || cp /usr/share/ufw/iptables/$name.rules /etc/ufw/
    done
    for name in before.init after.init ufw.conf; do [ -e /etc/ufw/$name ] || cp /usr/share/ufw/$name /etc/ufw/; done
    chmod 640 /etc/ufw/*.rules
    sed -i 's/^IPT_SYSCTL=.*/IPT_SYSCTL=/' /etc/default/ufw`,
  steps: {
    start: 'ufw --force enable',
    rewrite: 'ufw allow 8080/tcp',
    reload: 'ufw reload',
    // Its jumps come back only where its chains are gone.
    recover: `
      ufw --force disable
      iptables -S | sed -n 's/^-N \\(ufw-.*\\)/\\1/p' > /run/lab/ufw-chains
      while read -r chain; do iptables -F $chain; done < /run/lab/ufw-chains
      while read -r chain; do iptables -X $chain; done < /run/lab/ufw-chains
      ufw --force enable`,
    stop: 'ufw --force disable',
  },
  note: 'appends its jumps at the end, behind a catch-all of yours; sets INPUT and FORWARD to DROP',
};
