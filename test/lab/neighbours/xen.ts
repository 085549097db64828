// Xen's hotplug scripts, as upstream has them, for guests on a bridge, called as libxl calls them.
// There is no xenstored outside of a dom0: a script over files answers in its place. Debian's package puts `return 0` into
// handle_iptable(); it is taken out again.

import type { LabNeighbour } from './types.ts';

const STORE = `#!/bin/sh
# backend/vif/1/0/mac is short for /local/domain/0/backend/vif/1/0/mac
at() { case $1 in /*) echo "/run/lab/xenstore$1" ;; *) echo "/run/lab/xenstore/local/domain/0/$1" ;; esac; }
case \${0##*/} in
  xenstore-read) for key; do cat "$(at "$key")" 2>/dev/null || exit 1; done ;;
  xenstore-write) while [ $# -gt 1 ]; do f=$(at "$1"); mkdir -p "\${f%/*}"; printf '%s\\n' "$2" > "$f"; shift 2; done ;;
  xenstore-rm) for key; do rm -rf "$(at "$key")"; done ;;
  xenstore-exists) [ -e "$(at "$1")" ] ;;
esac`;

/** libxl's get_hotplug_env(): these variables, and two arguments. */
const HOTPLUG = `
guest() {
  path=backend/vif/$1/0
  xenstore-write $path/script /etc/xen/scripts/vif-bridge $path/bridge xenbr0 $path/mac 00:16:3e:00:00:0$1 \\
    $path/frontend-id $1 $path/handle 0 $path/type vif $path/ip "10.77.0.1$1 10.77.0.2$1"
  ip link show vif$1.0 >/dev/null 2>&1 || ip link add vif$1.0 type veth peer name peer$1
}
hotplug() {
  env script=/etc/xen/scripts/vif-bridge XENBUS_TYPE=vif XENBUS_PATH=backend/vif/$2/0 XENBUS_BASE_PATH=backend \\
    netdev= vif=vif$2.0 /etc/xen/scripts/vif-bridge $1 type_if=vif
}
`;

export const xen: LabNeighbour = {
  name: 'xen (vif-bridge)',
  owner: 'xen',
  packages: ['xen-utils-common'],
  program: '/etc/xen/scripts/vif-bridge',
  prepare: `
    cat > /run/lab/xenstore-stub <<'END'
${STORE}
END
    chmod 755 /run/lab/xenstore-stub
    for name in read write rm exists; do cp --remove-destination /run/lab/xenstore-stub /usr/bin/xenstore-$name; done
    sed -i '/This function is disabled in Debian packaging/,/return 0/d' /etc/xen/scripts/vif-common.sh
    mkdir -p /var/log/xen /run/xen-hotplug
    ip link add xenbr0 type bridge
    ip addr add 10.77.0.1/24 dev xenbr0
    ip link set xenbr0 up`,
  steps: {
    start: `${HOTPLUG} guest 1; hotplug online 1`,
    rewrite: `${HOTPLUG} guest 2; hotplug online 2`,
    reload: `${HOTPLUG} hotplug offline 1; guest 1; hotplug online 1`,
    recover: `${HOTPLUG}
      for id in 1 2; do hotplug offline $id || true; guest $id; hotplug online $id; done`,
    stop: `${HOTPLUG} hotplug offline 1; hotplug offline 2`,
  },
  note: '`reload` is a guest’s reboot: it goes to the top of FORWARD again; n addresses make n+1 equal rules',
};
