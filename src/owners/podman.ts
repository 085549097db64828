// podman's netavark, its iptables driver (the default up to netavark 1.9; later `inet netavark`).

import { neighbour } from './neighbour.ts';

export const podman = neighbour({
  id: 'podman',
  title: 'podman (netavark)',
  chains: [
    {
      name: 'NETAVARK*',
      // NETAVARK_FORWARD, NETAVARK-HOSTPORT-DNAT, NETAVARK-DN-1D8721804F16F, NETAVARK-1D8721804F16F
      form: /^NETAVARK(?:_FORWARD|_INPUT|_ISOLATION_[123]|-HOSTPORT-(?:DNAT|MASQ|SETMARK)|(?:-DN)?-[0-9A-F]{12,16})$/,
    },
  ],
  tables: ['inet netavark'],
  programs: [{ name: /^netavark$/, reach: 1 }], // netavark
  slot: 'kept',
  habits: {
    start: 'looks for its jump and inserts it once',
    reload: 'deletes and appends its own rules, in another order',
    stop: 'takes its own rules out; the shared chains stay',
  },
  repair: { command: 'podman network reload --all', onRequest: false, ask: ['podman', 'network', 'reload', '--all'] },
  verified: 'unverified',
  source: 'podman 4.3.1 with netavark 1.4 and 1.14 on Debian 12 and 13, run; no capture kept here',
});
