// The CNI plugins bridge, portmap and firewall (podman's older backend, nerdctl, plain CNI).

import { neighbour } from './neighbour.ts';

export const cni = neighbour({
  id: 'cni',
  title: 'CNI plugins',
  chains: [
    {
      name: 'CNI-*',
      // CNI-FORWARD, CNI-HOSTPORT-DNAT, CNI-DN-1f0a2b3c4d5e6f7a8b9c0, CNI-0f1e2d3c4b5a69788796a5b4
      form: /^CNI-(?:FORWARD|HOSTPORT-(?:DNAT|MASQ|SETMARK)|ISOLATION-STAGE-[12]|DN-[0-9a-f]{21}|SN-[0-9a-f]{21}|[0-9a-f]{24})$/,
    },
    {
      name: 'CNI-ADMIN',
      users: [
        '-A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN',
        '-A CNI-FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-ADMIN',
        '-A CNI-FORWARD -j CNI-ADMIN',
        '-A CNI-ADMIN -j RETURN',
      ],
      slot: 'kept',
    },
  ],
  programs: [{ name: /^(portmap|firewall|bridge|ptp)$/, argument: '/cni/', reach: 1 }], // /opt/cni/bin/portmap
  slot: 'kept',
  habits: {
    start: 'a container’s start looks for each jump and inserts it once; chain names change with every container',
    reload: 'none',
    stop: 'takes the container’s own rules out; the shared chains stay; CNI-ADMIN is never flushed',
  },
  repair: {
    command: undefined,
    onRequest: false,
    note: 'the next container brings the shared chains back; those that run need `podman network reload --all` or a restart',
  },
  verified: 'unverified',
  source: 'CNI plugins of Debian 12, run; no capture kept here',
});
