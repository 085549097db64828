// Pinned drops under the worst of both: a rival puts libvirt's chain on top, opened, and takes it away again without pause, while
// libvirt rewrites its rules without pause. A flood that must be dropped, and one that must not, through the same chain.

import { afterAll, beforeAll, expect, it } from 'vitest';

import { initGuard, startGuard } from './guard-process.ts';
import { type Hypervisor, upHypervisor } from './host.ts';
import { report } from './netns-host.ts';
import { DEFAULT_NETWORK, furtherNetwork } from './networks.ts';
import { writeConfig } from './scenario-suite.ts';

const SECONDS = 6;

/** Counts what the chains of priority `filter` let by. */
const PROBE = 'table inet probe { chain in { type filter hook input priority 100; }; }\n';
const RIVAL = `while :; do
  iptables -w -I LIBVIRT_INP -p udp --dport 1001 -j ACCEPT && iptables -w -I INPUT -j LIBVIRT_INP
  iptables -w -D INPUT -j LIBVIRT_INP; iptables -w -D LIBVIRT_INP -p udp --dport 1001 -j ACCEPT
done 2> /dev/null`;
/** Both ports in turn, a packet each millisecond or so; says how many of each left (a refused port fails the next send). */
const SENDER = `use IO::Socket::INET;
my @s = map { IO::Socket::INET->new(Proto => "udp", PeerAddr => "198.51.100.1", PeerPort => $_) } (1001, 1002);
my (@n, $end) = (); $end = time + ${SECONDS};
while (time < $end) { for (0, 1) { $n[$_]++ if defined $s[$_]->send("x"); } select undef, undef, undef, 0.001; }
print "@n\\n";`;

let hypervisor: Hypervisor;
beforeAll(async () => {
  hypervisor = await upHypervisor({ name: 'pins-flood', networks: [DEFAULT_NETWORK, furtherNetwork(1)] });
  await hypervisor.sh('iptables -I INPUT -p udp --dport 1001 -j DROP; nft -f -', { input: PROBE });
  // So that the first packets need not wait for an address.
  await hypervisor.outside.exec('ping', ['-c', '1', '198.51.100.1']);
  await initGuard(hypervisor);
});
afterAll(() => hypervisor?.down());

interface Flood {
  /** Sent and come through: what is to be dropped, and what is allowed. */
  readonly dropped: { readonly sent: number; readonly through: number };
  readonly allowed: { readonly sent: number; readonly through: number };
  /** Times that libvirt's rules were seen to be new ones. */
  readonly rewrites: number;
}

async function flood(): Promise<Flood> {
  await hypervisor.sh(
    'nft flush chain inet probe in; for p in 1001 1002; do nft add rule inet probe in udp dport $p counter; done',
  );
  const rival = hypervisor.spawn('timeout', [String(SECONDS), 'sh', '-c', RIVAL]);
  const sending = hypervisor.outside.exec('perl', ['-e', SENDER], { timeoutMs: (SECONDS + 20) * 1000 });
  const rewrites = await rewriteUntil(rival.ended);
  const sent = (await sending).stdout.trim().split(' ').map(Number);
  const listed = await hypervisor.sh('nft list table inet probe');
  // udp dport 1001 counter packets 3 bytes 87
  const through = (port: number): number =>
    Number(new RegExp(`dport ${port} counter packets (\\d+)`).exec(listed)?.[1]);
  const [dropped, allowed] = [1001, 1002].map((port, at) => ({ sent: sent[at] ?? 0, through: through(port) }));
  return { dropped: dropped!, allowed: allowed!, rewrites };
}

/** Asks libvirt to write all its rules anew, as soon as it has done so: how often new ones were seen. */
async function rewriteUntil(end: Promise<unknown>): Promise<number> {
  let [seen, rewrites, ended] = ['', 0, false];
  void end.then(() => (ended = true));
  while (!ended) {
    await hypervisor.reloaded();
    const was = seen;
    for (const endMs = performance.now() + 2000; seen === was && performance.now() < endMs;) {
      const listed = (await hypervisor.exec('nft', ['-a', 'list', 'chain', 'ip', 'filter', 'LIBVIRT_FWO'])).stdout;
      seen = /"virbr1".* # handle (\d+)/.exec(listed)?.[1] ?? seen;
    }
    if (was !== '' && seen !== was) rewrites++;
  }
  return rewrites;
}

async function floodGuarded(config: string): Promise<Flood> {
  await writeConfig(hypervisor, config);
  const guard = await startGuard(hypervisor);
  const counted = await flood();
  await guard.stop();
  return counted;
}

it('no packet passes that is to be dropped, and none is lost that is not', async () => {
  const without = await floodGuarded('');
  const pinned = await floodGuarded('[user]\npin_drops = true\n');
  report(`pins, beside a libvirt that rewrites: without ${JSON.stringify(without)}, with ${JSON.stringify(pinned)}`);
  expect(without.dropped.through).toBeGreaterThan(0);
  expect(Math.min(without.rewrites, pinned.rewrites)).toBeGreaterThan(0);
  expect(Math.min(pinned.dropped.sent, pinned.allowed.sent)).toBeGreaterThan(300);
  expect(pinned.dropped.through).toBe(0);
  expect([without.allowed.through, pinned.allowed.through]).toEqual([without.allowed.sent, pinned.allowed.sent]);
}, 90_000);
