// dockerd with a network of its own. No container is started: the machine's cgroups are seen, and never written.

import { type LabNeighbour, WAIT } from './types.ts';

const ENV = 'export DOCKER_HOST=unix:///run/lab/docker.sock';
const START = `${WAIT} ${ENV}
  setsid dockerd -H $DOCKER_HOST --pidfile /run/lab/dockerd.pid --exec-root /run/docker --data-root /run/lab/docker \\
    --storage-driver vfs --iptables=true </dev/null >>/run/lab/dockerd.log 2>&1 &
  wait_for docker version`;
const STOP = `${WAIT}
  pid=$(cat /run/lab/dockerd.pid)
  kill $pid
  wait_for gone $pid`;

export const docker: LabNeighbour = {
  name: 'docker',
  owner: 'docker',
  packages: ['docker.io'],
  program: '/usr/sbin/dockerd',
  // Without cgroups dockerd refuses to start. A host with the unified hierarchy has no others.
  prepare: `
    mount -t tmpfs none /sys/fs/cgroup
    for name in $(awk '!/^#/ && $4 == 1 && $2 > 0 { print $1 }' /proc/cgroups); do
      mkdir -p /sys/fs/cgroup/$name
      mount -t cgroup -o ro,$name cgroup /sys/fs/cgroup/$name
    done
    [ -n "$(ls /sys/fs/cgroup)" ] || mount -t cgroup2 -o ro none /sys/fs/cgroup`,
  steps: {
    start: START,
    rewrite: `${ENV}; docker network create --subnet 172.30.0.0/24 -o com.docker.network.bridge.name=docker_gwbridge lab`,
    reload: STOP + START,
    recover: STOP + START,
    stop: STOP,
  },
  note: '`rewrite` makes a network, `reload` restarts dockerd; it leaves all rules at its end',
};
