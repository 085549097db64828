// netfilter-persistent with the plugins of iptables-persistent: a loader. What it loads is the user's word.

import { USER_RULES } from '../user-rules.ts';
import type { LabNeighbour } from './types.ts';

const FILES = `mkdir -p /etc/iptables
cat > /etc/iptables/rules.v4 <<'END'
${USER_RULES.ip}END
cat > /etc/iptables/rules.v6 <<'END'
${USER_RULES.ip6}END`;

export const netfilterPersistent: LabNeighbour = {
  name: 'netfilter-persistent',
  owner: undefined,
  packages: ['netfilter-persistent', 'iptables-persistent'],
  program: '/usr/sbin/netfilter-persistent',
  prepare: FILES,
  steps: {
    start: 'netfilter-persistent start',
    // The running rules, libvirt's among them, become the file; then that is loaded.
    rewrite: 'netfilter-persistent save',
    reload: 'netfilter-persistent reload',
    recover: 'netfilter-persistent reload',
    stop: 'netfilter-persistent flush',
  },
  note: '`rewrite` saves the running rules, so that `reload` loads old rules of libvirt’s with yours; `stop` is its `flush`',
};
