// Port forwards to guests of a NAT network on libvirt's nftables backend: refused, reported with libvirt's own rule, and each
// way that is offered instead reaches the guest with packets.

import { afterAll, beforeAll, expect, it } from 'vitest';
import { debian13Root, DEBIAN_13_TIMEOUT_MS } from './debian-13.ts';
import { initGuard, mendwall } from './guard-process.ts';
import { upHypervisor, type Hypervisor } from './host.ts';
import { DEFAULT_NETWORK, guestAddress, type NetworkSpec } from './networks.ts';
import { portForwardIn } from './probes.ts';

const OPEN_NETWORK: NetworkSpec = { name: 'open1', bridge: 'virbr1', subnet: '192.168.123', forward: 'open' };

let hypervisor: Hypervisor;

beforeAll(() => debian13Root(), DEBIAN_13_TIMEOUT_MS);
// One host: the tests go from one way to the next.
beforeAll(async () => {
  hypervisor = await upHypervisor({
    name: 'mw11-forwards',
    libvirt: '11',
    backend: 'nftables',
    networks: [DEFAULT_NETWORK, OPEN_NETWORK],
  });
  await hypervisor.addGuest();
  await initGuard(hypervisor);
});
afterAll(() => hypervisor.down());

/** The admin's DNAT of port 8022 and the accept for it, as everybody writes them. */
async function forwardTo(address: string): Promise<void> {
  await hypervisor.sh(`
    iptables -t nat -F PREROUTING
    iptables -t nat -A PREROUTING -i eth0 -p tcp --dport 8022 -j DNAT --to-destination ${address}:22
    iptables -I FORWARD -d ${address} -p tcp --dport 22 -j ACCEPT`);
}

async function refused(): Promise<{ readonly text: string; readonly evidence: string; readonly ways?: string[] }[]> {
  const { drift } = JSON.parse((await mendwall(hypervisor, 'status', '--json')).stdout) as {
    drift: { kind: string; text: string; evidence: string; ways?: string[] }[];
  };
  return drift.filter(({ kind, ways }) => kind === 'blocked' && ways !== undefined);
}

it('reaches the guest by a forwarder on the host', async () => {
  // What socat TCP-LISTEN:8022,fork TCP:... does; Node is what the lab has inside.
  const program = `const n=require('net');n.createServer((a)=>{const b=n.connect(22,'${guestAddress(DEFAULT_NETWORK, 0)}');a.pipe(b).pipe(a);for(const s of [a,b])s.on('error',()=>{a.destroy();b.destroy()})}).listen(8022)`;
  const forwarder = hypervisor.spawn('node', ['-e', program]);
  await expect.poll(() => portForwardIn(hypervisor), { timeout: 5_000 }).toBe(true);
  await forwarder.stop();
});

it('is refused by libvirt, and reported with its rule, handle and three ways', async () => {
  await forwardTo(guestAddress(DEFAULT_NETWORK, 0));
  expect(await portForwardIn(hypervisor)).toBe(false);
  const [found, ...others] = await refused();
  expect(others).toEqual([]);
  const chain = await hypervisor.sh('nft -a list chain ip libvirt_network guest_input');
  const handle = /oif "virbr0" counter .*reject # handle (\d+)/.exec(chain)?.[1]; // ... reject # handle 12
  expect(found?.evidence).toContain(`handle ${handle}`);
  expect(found?.ways).toHaveLength(3);
});

it('reaches a guest of an open network by the same rules', async () => {
  const guest = await hypervisor.addGuest(OPEN_NETWORK);
  await forwardTo(guest.address);
  expect(await portForwardIn(hypervisor)).toBe(true);
  expect(await refused()).toEqual([]);
});

it('reaches the guest with the iptables backend', async () => {
  await forwardTo(guestAddress(DEFAULT_NETWORK, 0));
  expect(await portForwardIn(hypervisor)).toBe(false);
  hypervisor.writeFile('/etc/libvirt/network.conf', 'firewall_backend = "iptables"\n');
  await hypervisor.libvirtd.restart();
  await hypervisor.libvirtd.quiet();
  // libvirt's jumps are inserted on top; the admin's accept has its place above them.
  await hypervisor.sh(`
    iptables -D FORWARD -d ${guestAddress(DEFAULT_NETWORK, 0)} -p tcp --dport 22 -j ACCEPT
    iptables -I FORWARD -d ${guestAddress(DEFAULT_NETWORK, 0)} -p tcp --dport 22 -j ACCEPT`);
  expect(await portForwardIn(hypervisor)).toBe(true);
  expect(await refused()).toEqual([]);
});
