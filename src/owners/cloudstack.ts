// Apache CloudStack's agent on KVM (security_group.py).

import { neighbour } from './neighbour.ts';

export const cloudstack = neighbour({
  id: 'cloudstack',
  title: 'CloudStack agent',
  chains: [
    { name: 'BF-*' }, // BF-cloudbr0, BF-cloudbr0-IN
    { name: 'i-*', form: /^i-\d+-\d+-(?:VM|def)(?:-eg)?$/ }, // i-2-17-VM-eg
    ...['r-*', 's-*', 'v-*'].map((name) => ({ name, form: /^[rsv]-\d+-(?:VM|def)(?:-eg)?$/ })), // v-3-VM
  ],
  programs: [{ name: /^security_group\.py$/, reach: 3 }], // python3 /usr/share/cloudstack-common/scripts/vm/network/security_group.py
  slot: 'none',
  habits: {
    start: 'a guest’s start makes its chains and jumps from BF-BRIDGE',
    reload: 'rewrites the chains of a guest when its security group changes',
    stop: 'a guest’s end takes its chains away',
  },
  repair: { command: 'systemctl restart cloudstack-agent', onRequest: true },
  verified: 'unverified',
  source: 'CloudStack’s scripts/vm/network/security_group.py, read; not run',
});
