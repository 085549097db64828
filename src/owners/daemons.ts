// Which program must run for a neighbour to want its native tables, by the name the kernel gives the process (15 characters).
// Neighbours without a daemon (netavark, wg-quick) always want theirs.

import type { OwnerId } from '../ruleset/user-part.ts';

export const DAEMONS: ReadonlyMap<OwnerId, string> = new Map([
  ['docker', 'dockerd'],
  ['fail2ban', 'fail2ban-server'],
  ['firewalld', 'firewalld'],
  ['incus', 'incusd'],
  ['keepalived', 'keepalived'],
  ['kubernetes', 'kube-proxy'],
  ['lxd', 'lxd'],
  ['proxmox', 'proxmox-firewall'.slice(0, 15)],
  ['sshguard', 'sshguard'],
  ['systemd-networkd', 'systemd-networkd'.slice(0, 15)],
]);
