// netavark, podman's network program, called as podman calls it: a container's network, without a container.

import type { LabNeighbour } from './types.ts';

const ID = '2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9';

const options = (number: number): string =>
  JSON.stringify({
    container_id: `${number}`.repeat(64),
    container_name: `lab${number}`,
    networks: { lab: { interface_name: 'eth0', static_ips: [`10.89.0.1${number}`] } },
    network_info: {
      lab: {
        name: 'lab',
        id: ID,
        driver: 'bridge',
        network_interface: 'podman1',
        subnets: [{ subnet: '10.89.0.0/24', gateway: '10.89.0.1' }],
        ipv6_enabled: false,
        internal: false,
        dns_enabled: false,
        ipam_options: { driver: 'host-local' },
      },
    },
    port_mappings: [{ container_port: 80, host_ip: '', host_port: 8080 + number, protocol: 'tcp', range: 1 }],
  });

const call = (verb: string, number: number): string => `
  echo '${options(number)}' | /usr/lib/podman/netavark --config /run/lab/netavark ${verb} /run/netns/c${number} >/dev/null`;

export const netavark: LabNeighbour = {
  name: 'podman (netavark)',
  owner: 'podman',
  packages: ['netavark'],
  program: '/usr/lib/podman/netavark',
  prepare: 'mkdir -p /run/lab/netavark; ip netns add c1; ip netns add c2',
  steps: {
    start: call('setup', 1),
    rewrite: call('setup', 2),
    // `podman network reload`
    reload: call('teardown', 2) + call('setup', 2),
    recover: [1, 2].map((number) => call('teardown', number) + ' || true' + call('setup', number)).join('\n'),
    stop: call('teardown', 1) + call('teardown', 2),
  },
  note: '`reload` takes a container’s network away and makes it again, as `podman network reload` does',
};
