// Three namespaces in a row, sender - router - receiver, and what the router's rules counted of the packets sent.
// Guarantees: no packet but those sent passes the router's rules: neighbours are fixed, IPv6 is silent, both ends drop
// what arrives, and what the router's kernel answers (RST, ICMP) is dropped and counted before any rule sees it.

import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { rawPacket } from './raw-packet.ts';
import { REPOSITORY } from './namespaces.ts';
import { openRealKernel, type RealKernel } from './real-kernel.ts';
import type { PacketSpec } from '../../src/explain/packet.ts';

export type From = 'sender' | 'router' | 'receiver';

export interface PacketWorld {
  readonly router: RealKernel;
  /** A process in the sender's namespace. */
  readonly senderPid: number;
  /** Sends one packet and waits until the kernel has taken it. `id` is the ICMP id. */
  send(from: From, packet: PacketSpec, id: number): Promise<void>;
  close(): Promise<void>;
}

export const IN = 'in0';
export const OUT = 'out0';

/** The router's addresses, and behind each interface what the packets may name. */
export const HOST = {
  addresses: [
    { address: '10.1.0.1', dev: IN },
    { address: 'fd01::1', dev: IN },
    { address: '10.2.0.1', dev: OUT },
    { address: 'fd02::1', dev: OUT },
  ],
  routes: [
    { cidr: '10.1.0.0/24', dev: IN },
    { cidr: 'fd01::/64', dev: IN },
    { cidr: '10.2.0.0/24', dev: OUT },
    { cidr: 'fd02::/64', dev: OUT },
  ],
} as const;

/** Hosts behind each side that packets come from and go to. */
export const NEIGHBOURS = [2, 5, 6, 9, 33];
export const addressIn = (net: 1 | 2, family: 'ip' | 'ip6', host: number): string =>
  family === 'ip' ? `10.${net}.0.${host}` : `fd0${net}::${host.toString(16)}`;

const SYSCTLS = [
  'net/ipv4/ip_forward=1',
  'net/ipv6/conf/all/forwarding=1',
  'net/ipv4/conf/all/rp_filter=0',
  'net/ipv4/conf/default/rp_filter=0',
  'net/ipv4/icmp_ratelimit=0',
  'net/ipv6/icmp/ratelimit=0',
  'net/ipv4/icmp_msgs_per_sec=1000000',
  'net/ipv4/icmp_msgs_burst=1000000',
  'net/ipv4/conf/all/send_redirects=0',
  'net/ipv4/conf/default/send_redirects=0',
  'net/ipv6/conf/default/accept_dad=0',
  'net/ipv6/conf/default/router_solicitations=0',
  'net/ipv6/conf/default/addr_gen_mode=1',
];

/** What must not be counted goes first, what is left of a packet comes last. */
export const PROBE_TABLE = `table inet probe {
  chain own { type filter hook output priority -2000000; meta skuid 0 counter accept; counter drop; }
  chain arrived { type filter hook prerouting priority -2000000; counter; }
  chain local { type filter hook input priority 2000000; counter; }
  chain left { type filter hook postrouting priority 2000000; oifname != "lo" counter; }
}
`;

const SINK = `table inet sink {
  chain in { type filter hook prerouting priority -2000000; policy drop; }
  chain out { type filter hook output priority -2000000; meta skuid 0 accept; drop; }
}
`;

/** Needs root, veth, perl, iptables and nft. */
export async function openPacketWorld(): Promise<PacketWorld> {
  const router = await openRealKernel();
  const keepers = { sender: await openRealKernel(), receiver: await openRealKernel() };
  must(router, ['sh', '-ec', wiring(keepers.sender.pid, keepers.receiver.pid)]);
  must(keepers.sender, ['sh', '-ec', endpoint(1)], SINK);
  must(keepers.receiver, ['sh', '-ec', endpoint(2)], SINK);
  const programs = {
    sender: await startSender(keepers.sender),
    router: await startSender(router),
    receiver: await startSender(keepers.receiver),
  };
  return {
    router,
    senderPid: keepers.sender.pid,
    send: (from, packet, id) => programs[from].send(packet, id),
    async close() {
      await Promise.all(Object.values(programs).map((program) => program.close()));
      for (const kernel of [keepers.sender, keepers.receiver, router]) kernel.close();
    },
  };
}

function must(kernel: RealKernel, [file = '', ...args]: readonly string[], input = ''): void {
  const { exitCode, stderr } = kernel.run(file, args, input);
  if (exitCode !== 0) throw new Error(`exit ${exitCode}: ${file} ${args.join(' ')}\n${stderr}`);
}

const setSysctls = SYSCTLS.map((line) => line.split('='))
  .map(([name, value]) => `echo ${value} > /proc/sys/${name} || true`)
  .join('\n');

const MAC = { router: '02:00:00:00:00:01', end: '02:00:00:00:00:02' };

function wiring(sender: number, receiver: number): string {
  const side = (dev: string, net: 1 | 2, pid: number): string => `
    ip link add ${dev} address ${MAC.router} type veth peer name eth0 address ${MAC.end} netns ${pid}
    ip addr add ${addressIn(net, 'ip', 1)}/24 dev ${dev}
    ip -6 addr add ${addressIn(net, 'ip6', 1)}/64 dev ${dev} nodad
    ip link set ${dev} up
    ${NEIGHBOURS.map((host) => neighbours(net, host, dev, MAC.end)).join('\n')}`;
  return `${setSysctls}\nip link set lo up\n${side(IN, 1, sender)}\n${side(OUT, 2, receiver)}`;
}

const neighbours = (net: 1 | 2, host: number, dev: string, mac: string): string =>
  (['ip', 'ip6'] as const)
    .map((family) => `ip neigh add ${addressIn(net, family, host)} lladdr ${mac} nud permanent dev ${dev}`)
    .join('\n');

function endpoint(net: 1 | 2): string {
  return `${setSysctls}
    nft -f -
    ip addr add ${addressIn(net, 'ip', 2)}/24 dev eth0
    ip -6 addr add ${addressIn(net, 'ip6', 2)}/64 dev eth0 nodad
    ip link set eth0 up
    ${neighbours(net, 1, 'eth0', MAC.router)}
    ip route add default via ${addressIn(net, 'ip', 1)}
    ip -6 route add default via ${addressIn(net, 'ip6', 1)}`;
}

interface Sender {
  send(packet: PacketSpec, id: number): Promise<void>;
  close(): Promise<void>;
}

async function startSender(kernel: RealKernel): Promise<Sender> {
  const script = join(REPOSITORY, 'test/lab/packet-sender.pl');
  const child: ChildProcessWithoutNullStreams = spawn('nsenter', ['-t', String(kernel.pid), '--net', 'perl', script]);
  child.stderr.pipe(process.stderr);
  const waiting: (() => void)[] = [];
  const lines = createInterface({ input: child.stdout });
  const ready = new Promise<void>((resolve) => waiting.push(resolve));
  lines.on('line', () => waiting.shift()?.());
  await ready;
  return {
    send: (packet, id) => {
      const hex = rawPacket(packet, id).toString('hex');
      child.stdin.write(`${packet.family === 'ip' ? 4 : 6} ${packet.dst} ${hex}\n`);
      return new Promise((resolve) => waiting.push(resolve));
    },
    close: async () => {
      const ended = once(child, 'exit');
      child.stdin.end();
      await ended;
    },
  };
}
