// All neighbours of the matrix, in the order of its rows. A new one is one file beside this one, and its name here.

import { cni } from './cni.ts';
import { docker } from './docker.ts';
import { fail2ban } from './fail2ban.ts';
import { firewalldIptables, firewalldNft } from './firewalld.ts';
import { netavark } from './netavark.ts';
import { netfilterPersistent } from './netfilter-persistent.ts';
import { neutron } from './neutron.ts';
import { nftablesService } from './nftables-service.ts';
import type { LabNeighbour } from './types.ts';
import { ufw } from './ufw.ts';
import { xen } from './xen.ts';

export const LAB_NEIGHBOURS: readonly LabNeighbour[] = [
  docker,
  netavark,
  cni,
  firewalldNft,
  firewalldIptables,
  ufw,
  fail2ban,
  xen,
  neutron,
  netfilterPersistent,
  nftablesService,
];
