// Flows that leave while libvirt's NAT rules are away: found, deleted, and translated from then on.

import { afterEach, expect, it } from 'vitest';
import { deleteFlows, findUnNatedFlows, type Flow } from '../../src/observe/conntrack.ts';
import { bridgeExists, readLibvirtNetworks } from '../../src/observe/networks.ts';
import { realFiles } from '../../src/host/files.ts';
import type { Host } from '../../src/host/host.ts';
import type { Network } from '../../src/ruleset/network.ts';
import { upHypervisor, type Hypervisor } from './host.ts';

let host: Hypervisor | undefined;

afterEach(async () => {
  await host?.down();
  host = undefined;
});

/** One UDP packet from a fixed port: the same flow each time. */
function send(from: Hypervisor): Promise<string> {
  const script =
    "require('dgram').createSocket('udp4').bind(4444, function () { this.send('x', 9, '198.51.100.2', () => this.close()); })";
  return from.guest.sh(`node -e "${script}"`);
}

it('a flow begun without NAT is found, deleted, and leaves translated the next time', async () => {
  host = await upHypervisor({ name: 'mwb', libvirtDbus: false });
  await host.addGuest();
  const root = `/proc/${host.pid}/root`;
  const files = realFiles({ ownFolders: [] });
  const inside: Pick<Host, 'exec'> = { exec: ({ file, args }) => (host as Hypervisor).exec(file, args) };
  const { networks, problems } = await readLibvirtNetworks(files, {
    run: `${root}/run/libvirt/network`,
    config: `${root}/etc/libvirt/qemu/networks`,
  });
  expect(problems).toEqual([]);
  expect(networks).toMatchObject([{ name: 'default', bridge: 'virbr0', active: true } satisfies Partial<Network>]);
  expect(await bridgeExists(files, 'virbr0', `${root}/sys`)).toBe(true);

  const found = async (): Promise<readonly Flow[]> => {
    const result = await findUnNatedFlows(inside, networks);
    if (result.kind === 'unavailable') throw new Error(result.reason);
    return result.flows;
  };
  await host.sh('iptables-save -t nat > /tmp/nat; iptables -t nat -F LIBVIRT_PRT');
  await send(host);
  await host.sh('iptables-restore < /tmp/nat');
  await send(host);
  const flows = await found();
  expect(flows).toMatchObject([{ protocol: 'udp', keys: { sport: '4444', dport: '9' }, destination: '198.51.100.2' }]);

  expect(await deleteFlows(inside, flows)).toEqual({ deleted: 1, gone: 0, failed: [] });
  expect(await deleteFlows(inside, flows)).toEqual({ deleted: 0, gone: 1, failed: [] });
  await send(host);
  expect(await found()).toEqual([]);
  expect(await host.sh('conntrack -L -s 192.168.122.0/24 -p udp --dport 9 2>/dev/null')).toContain('dst=198.51.100.1 ');
});
