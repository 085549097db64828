// What happens to the firewall in the demo, in this order.

import { flush, nftFlushRuleset, restartLibvirtd, restartNetwork, restoreFile } from '../lab/actors.ts';
import type { Hypervisor } from '../lab/host.ts';

export interface Step {
  /** The command as somebody would type it. */
  readonly command: string;
  /** What it does to whom. */
  readonly story: string;
  run(hypervisor: Hypervisor): Promise<void>;
}

export const STEPS: readonly Step[] = [
  {
    command: 'systemctl restart libvirtd',
    story: 'libvirt takes each of its rules out and puts it in again; the user’s are not touched',
    run: restartLibvirtd,
  },
  {
    command: 'virsh net-destroy default; virsh net-start default',
    story: 'the bridge goes with its rules and comes back; without a bridge the guest has no cable for that time',
    run: (hypervisor) => restartNetwork(hypervisor),
  },
  {
    command: 'iptables-restore < /etc/sysconfig/iptables   (and ip6tables-restore)',
    story: 'the admin reloads his own file, which knows nothing of libvirt: libvirt’s rules are gone',
    run: (hypervisor) => restoreFile(hypervisor),
  },
  {
    command: 'iptables -F',
    story: 'an accident: every rule of the filter table is gone',
    run: flush,
  },
  {
    command: 'nft flush ruleset',
    story: 'everything of everybody is gone, NAT and port forward too, IPv4 and IPv6',
    run: nftFlushRuleset,
  },
];
