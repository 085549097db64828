// Words by which a rule of a neighbour's is told while that neighbour has no file of its own here, and its rules therefore
// count as the user's. Used for one question only: a rule that the neighbour's own process takes away or moves, was it its
// own? Then it is no damage to the user (`docker stop` deletes the container's rules). Never used to claim a rule. Pure.
// Measured on Debian 12 with the programs themselves (docker 20.10, fail2ban 1.0, ufw 0.36, neutron 21, Xen 4.17).

import type { OwnerId } from '../ruleset/user-part.ts';

const MARKS: Readonly<Record<OwnerId, RegExp>> = {
  // `-A FORWARD -o docker0 -j DOCKER`, `-A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp ... -j MASQUERADE`
  docker: /\b(?:DOCKER|docker0|docker_gwbridge|br-[0-9a-f]{12})\b|^-A POSTROUTING -s (\S+) -d \1 /,
  podman: /\bNETAVARK/, // -A FORWARD -j NETAVARK_FORWARD
  cni: /\bCNI-/, // -A POSTROUTING -j CNI-HOSTPORT-MASQ
  fail2ban: /\bf2b-/, // -A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd
  ufw: /\bufw6?-/, // -A INPUT -j ufw-before-input
  'openstack-neutron': /\bneutron-/, // -A FORWARD -j neutron-filter-top
  'openstack-nova': /\bnova-/, // -A INPUT -j nova-compute-INPUT
  xen: /\bvif\d+\.\d+/, // -A FORWARD -m physdev --physdev-in vif1.0 --physdev-is-bridged -j ACCEPT
};

/** True when a rule (or a chain, `-A CHAIN`) carries the mark of this neighbour. */
export function isMarkedBy(neighbour: OwnerId | undefined, text: string): boolean {
  return neighbour !== undefined && MARKS[neighbour]?.test(text) === true;
}
