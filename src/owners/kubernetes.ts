// kube-proxy and kubelet on the iptables engine.

import { neighbour } from './neighbour.ts';

export const kubernetes = neighbour({
  id: 'kubernetes',
  title: 'Kubernetes (kube-proxy, kubelet)',
  chains: [{ name: 'KUBE-*', form: /^KUBE-[A-Z0-9-]+$/ }], // KUBE-SERVICES, KUBE-SVC-ERIFXISQEP7F7OF4
  tables: ['ip kube-proxy', 'ip6 kube-proxy'],
  programs: [{ name: /^(kube-proxy|kubelet|k3s-server|k3s)$/, reach: 1 }], // kube-proxy
  slot: 'none',
  habits: {
    start: 'looks for its jumps and puts them first',
    reload: 'every 30 s looks for a canary chain, and then writes everything anew',
    stop: 'leaves everything',
  },
  repair: {
    command: undefined,
    onRequest: false,
    note: 'by itself within a minute, except after a flush of the nat table alone',
  },
  verified: 'unverified',
  source: 'Kubernetes’ pkg/proxy/iptables and pkg/util/iptables, read; not run',
});
