// Real QEMU guests, emulated (TCG) and without a disk: they only make libvirt do what it does for a guest.

import type { NetworkSpec } from './networks.ts';
import type { Place } from './place.ts';

/** An nwfilter with layer 3 rules: libvirt writes them with iptables and puts its jumps on top of INPUT and FORWARD. */
export const LAB_FILTER = 'lab-l3';

const LAB_FILTER_XML = `<filter name='${LAB_FILTER}' chain='root'>
<filterref filter='no-mac-spoofing'/>
<rule action='accept' direction='inout' priority='500'><icmp/></rule>
<rule action='accept' direction='in' priority='500'><tcp dstportstart='22'/></rule>
<rule action='drop' direction='in' priority='1000'><all/></rule>
</filter>`;

export async function defineLabFilter(hypervisor: Place): Promise<void> {
  const file = `/run/lab/${LAB_FILTER}.xml`;
  await hypervisor.sh(`cat > ${file}; virsh -q -c qemu:///system nwfilter-define ${file}`, { input: LAB_FILTER_XML });
}

function domainXml(name: string, network: NetworkSpec, filter: string | undefined): string {
  return `<domain type='qemu'><name>${name}</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os>
<on_reboot>destroy</on_reboot><on_crash>destroy</on_crash>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<interface type='network'><source network='${network.name}'/><model type='virtio'/><rom enabled='no'/>
${filter === undefined ? '' : `<filterref filter='${filter}'/>`}</interface>
<memballoon model='none'/></devices></domain>`;
}

/** `virsh create`: a transient guest. Resolves when libvirt says that it runs. */
export async function startTcgGuest(
  hypervisor: Place,
  name: string,
  network: NetworkSpec,
  filter: string | undefined,
): Promise<void> {
  const file = `/run/lab/${name}.xml`;
  await hypervisor.sh(`cat > ${file}; virsh -q -c qemu:///system create ${file}`, {
    input: domainXml(name, network, filter),
    timeoutMs: 60_000,
  });
}

export async function stopTcgGuest(hypervisor: Place, name: string): Promise<void> {
  await hypervisor.sh(`virsh -q -c qemu:///system destroy ${name}`);
}
