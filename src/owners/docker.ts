// Docker's daemon on the iptables engine. Its rules for each bridge stand unmarked in FORWARD and POSTROUTING, told by the
// bridge's name. DOCKER-USER belongs to the user by Docker's documentation.

import { neighbour } from './neighbour.ts';

/** `docker0`, `docker_gwbridge`, `br-476be36c8451`: bridges that Docker names itself. */
const BRIDGE = '(docker0|docker_gwbridge|br-[0-9a-f]{12})';

const bridgeRule = (telltale: string) => [
  {
    telltale,
    // -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
    form: new RegExp(`^-A FORWARD -i ${BRIDGE} (?:! )?-o \\1 -j (?:ACCEPT|DROP)$`),
    evidence: 'bridge that Docker names, as Docker writes it',
  },
  {
    telltale,
    // -A FORWARD -o br-476be36c8451 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    form: new RegExp(`^-A FORWARD -o ${BRIDGE} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT$`),
    evidence: 'bridge that Docker names, as Docker writes it',
  },
  {
    telltale,
    // -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
    form: new RegExp(`^-A POSTROUTING -s \\S+ ! -o ${BRIDGE} -j MASQUERADE$`),
    evidence: 'subnet behind a bridge that Docker names',
  },
];

export const docker = neighbour({
  id: 'docker',
  title: 'Docker',
  chains: [
    { name: 'DOCKER' },
    { name: 'DOCKER-*', form: /^DOCKER-(?:ISOLATION|ISOLATION-STAGE-[12]|FORWARD|BRIDGE|CT|INTERNAL|INGRESS)$/ },
    { name: 'DOCKER-USER', users: ['-A FORWARD -j DOCKER-USER', '-A DOCKER-USER -j RETURN'], slot: 'kept' },
  ],
  rules: [
    ...[' docker0 ', ' docker_gwbridge ', ' br-'].flatMap(bridgeRule),
    {
      telltale: '-j MASQUERADE',
      // -A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE
      form: /^-A POSTROUTING -s ([0-9a-f.:]+\/\d+) -d \1 -p (tcp|udp|sctp) -m \2 --dport \d+ -j MASQUERADE$/,
      evidence: 'a published port seen from its own container',
      requires: 'DOCKER',
    },
  ],
  comments: /^(?!)/, // it writes none
  tables: ['ip docker-bridges', 'ip6 docker-bridges'],
  programs: [{ name: /^dockerd(-current|-ce)?$/, reach: 1 }], // dockerd
  slot: 'none',
  habits: {
    start:
      'inserts at the top of FORWARD, DOCKER-USER first; sets the policy of FORWARD to DROP if it switched forwarding on',
    reload:
      'on a restart, a new network and firewalld’s Reloaded: its jumps and docker0 go to the top again, the rest is checked',
    stop: 'leaves everything; `docker stop` takes the container’s rules away',
  },
  repair: {
    command: 'systemctl restart docker',
    onRequest: true,
    ask: ['systemctl', 'restart', 'docker'],
    note: 'may restart containers; `docker network create` repairs a part only',
  },
  verified: 'writers/docker',
  source:
    'docker.io 20.10.24 and 26.1.5 (byte-identical rules); DOCKER-FORWARD, -BRIDGE, -CT, -INTERNAL from the source of Docker 28',
});
