// tailscaled.

import { neighbour } from './neighbour.ts';

export const tailscale = neighbour({
  id: 'tailscale',
  title: 'Tailscale',
  chains: [{ name: 'ts-*', form: /^ts-(?:input|forward|postrouting)$/ }],
  programs: [{ name: /^tailscaled$/, reach: 1 }], // tailscaled
  slot: 'none',
  habits: {
    start: 'makes its chains and inserts its jumps at the top',
    reload: 'none; does not notice a flush',
    stop: '`tailscale down` takes its own away',
  },
  repair: {
    command: 'systemctl restart tailscaled',
    onRequest: true,
    note: 'connections through it break for a moment',
  },
  verified: 'unverified',
  source: 'Tailscale’s util/linuxfw, read; not run',
});
