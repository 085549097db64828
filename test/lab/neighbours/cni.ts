// The CNI plugins bridge, portmap and firewall, called by hand with the environment that a runtime gives them.

import type { LabNeighbour } from './types.ts';

const configuration = (type: string, number: number, previous: string): string => `{
  "cniVersion": "0.4.0", "name": "lab", "type": "${type}", "bridge": "cni-lab0", "isGateway": true, "ipMasq": true,
  "ipam": { "type": "host-local", "subnet": "10.90.0.0/24", "dataDir": "/run/lab/cni" },
  "capabilities": { "portMappings": true },
  "runtimeConfig": { "portMappings": [{ "hostPort": ${9080 + number}, "containerPort": 80, "protocol": "tcp" }] }${previous}
}`;

/** Each plugin gets the answer of the one before as prevResult. */
const call = (command: 'ADD' | 'DEL', number: number): string => `
  export CNI_COMMAND=${command} CNI_CONTAINERID=lab${number} CNI_NETNS=/run/netns/c${number} CNI_IFNAME=eth0 CNI_PATH=/usr/lib/cni
  ${
    command === 'ADD'
      ? `/usr/lib/cni/bridge > /run/lab/cni-${number} <<'END'
${configuration('bridge', number, '')}
END`
      : ''
  }
  for type in portmap firewall ${command === 'DEL' ? 'bridge' : ''}; do
    /usr/lib/cni/$type > /run/lab/cni-answer <<END
${configuration('$type', number, `, "prevResult": $(cat /run/lab/cni-${number})`)}
END
  done`;

export const cni: LabNeighbour = {
  name: 'CNI plugins',
  owner: 'cni',
  packages: ['containernetworking-plugins'],
  program: '/usr/lib/cni/firewall',
  prepare: 'ip netns add c1; ip netns add c2',
  steps: {
    start: call('ADD', 1),
    rewrite: call('ADD', 2),
    reload: call('DEL', 2) + call('ADD', 2),
    recover: [1, 2].map((number) => call('DEL', number) + call('ADD', number)).join('\n'),
    stop: call('DEL', 1) + call('DEL', 2),
  },
  note: '`reload` takes a container’s network away and makes it again; the shared chains stay after the last one',
};
