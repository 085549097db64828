// Calico's Felix.

import { neighbour } from './neighbour.ts';

export const calico = neighbour({
  id: 'calico',
  title: 'Calico (Felix)',
  chains: [{ name: 'cali-*' }, { name: 'calico-*' }], // cali-FORWARD
  rules: [
    {
      telltale: '"cali:',
      // -A FORWARD -m comment --comment "cali:S93hcgKJrXEqnTfs" ... -m mark --mark 0x10000/0x10000 -j ACCEPT
      form: /^-A \S+ -m comment --comment "cali:[A-Za-z0-9_-]{16}"/,
      evidence: 'comment cali:',
    },
  ],
  tables: ['ip calico', 'ip6 calico'],
  programs: [{ name: /^(calico-node|calico-felix|felix)$/, reach: 1 }], // calico-node -felix
  slot: 'none',
  habits: {
    start: 'its jumps to the top (or, by its configuration, the end) of the built-in chains',
    reload: 'reads again every 180 s and repairs its own; goes back to the top each time',
    stop: 'leaves everything',
  },
  repair: { command: undefined, onRequest: false, note: 'by itself within three minutes' },
  verified: 'unverified',
  source: 'Calico’s felix/iptables, read; not run',
});
