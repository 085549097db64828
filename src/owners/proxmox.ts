// Proxmox VE's pve-firewall, and the newer proxmox-firewall (native tables).

import { neighbour } from './neighbour.ts';

export const proxmox = neighbour({
  id: 'proxmox',
  title: 'Proxmox VE firewall',
  chains: [
    { name: 'PVEFW-*' }, // PVEFW-FORWARD
    { name: 'GROUP-*', requires: 'PVEFW-FORWARD' },
    ...['tap*', 'veth*', 'fwln*', 'fwbr*'].map((name) => ({
      name,
      form: /^(?:tap|veth|fwln|fwbr)\d+i\d+-(?:IN|OUT)$/, // tap100i0-IN
    })),
  ],
  tables: ['inet proxmox-firewall', 'bridge proxmox-firewall-guests'],
  programs: [{ name: /^(pve-firewall|proxmox-firewall)$/, reach: 1 }], // perl /usr/sbin/pve-firewall
  slot: 'none',
  habits: {
    start: 'appends one jump to each built-in chain if there is none',
    reload:
      'every 10 s compares the checksum of its chains and writes what differs; does not look where its jump stands',
    stop: 'takes all of its own away',
  },
  repair: { command: undefined, onRequest: false, note: 'by itself within ten seconds' },
  verified: 'unverified',
  source: 'Proxmox’ pve-firewall, read; not run',
});
