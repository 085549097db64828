// `[libvirt] open_guests` with a real libvirt 11 on its nftables backend, whose accepts do not count where another base chain
// drops: a guest gets an address, names and the outside beside each of the rulesets that keep it from all three
// (the traffic matrix of the captures), IPv4 and IPv6, and what is opened goes with the network.

import { afterAll, beforeAll, expect, it } from 'vitest';
import type { StatusResult } from '../../src/verbs/status.ts';
import { debian13Root, DEBIAN_13_TIMEOUT_MS } from './debian-13.ts';
import { mendwall, startGuard, writeConfig } from './guard-process.ts';
import { upHypervisor, type Hypervisor } from './host.ts';
import { DEFAULT_NETWORK } from './networks.ts';
import { ALL_TRAFFIC, NO_TRAFFIC, traffic } from './probes.ts';

const OPEN = { ...ALL_TRAFFIC, portForwardIn: false };
const HEAD = '-A INPUT -i lo -j ACCEPT\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n';
const POLICY = `*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n${HEAD}COMMIT\n`;
const RHEL = (how: string): string =>
  `*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n${HEAD}-A INPUT -j REJECT --reject-with ${how}\n-A FORWARD -p tcp -m tcp --dport 25 -j DROP\n-A FORWARD -j REJECT --reject-with ${how}\nCOMMIT\n`;
const INET = `table inet filter {
	chain input {
		type filter hook input priority 0; policy drop;
		ct state established,related accept
		iif "lo" accept
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert } accept
		counter comment "dropped"
	}
	chain forward {
		type filter hook forward priority 0; policy drop;
	}
}
`;

let hypervisor: Hypervisor;
beforeAll(() => debian13Root(), DEBIAN_13_TIMEOUT_MS);
beforeAll(async () => {
  const network = { ...DEFAULT_NETWORK, ipv6: { prefix: 'fd00:122::', nat: true } };
  hypervisor = await upHypervisor({ name: 'open', libvirt: '11', backend: 'nftables', networks: [network] });
  await hypervisor.addGuest(network);
  await writeConfig(hypervisor, '[libvirt]\nopen_guests = true\n');
});
afterAll(() => hypervisor.down());

const marks = async (): Promise<string[]> => {
  const text = await hypervisor.sh('iptables-save; ip6tables-save; nft list table inet filter 2>/dev/null || :');
  return text.split('\n').filter((line) => line.includes('mendwall:open-guests'));
};

async function mend(): Promise<string> {
  const { exitCode, stdout, stderr } = await mendwall(hypervisor, 'mend', '--mode', 'merge');
  expect([exitCode, stderr]).toEqual([0, '']);
  return stdout;
}

async function close(rules: { v4?: string; v6?: string; nft?: string }): Promise<void> {
  const none = '*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n';
  await Promise.all([
    hypervisor.sh('nft delete table inet filter 2>/dev/null || :'),
    hypervisor.sh('iptables-restore', { input: rules.v4 ?? none }),
    hypervisor.sh('ip6tables-restore', { input: rules.v6 ?? none }),
  ]);
  if (rules.nft !== undefined) await hypervisor.sh('nft -f -', { input: rules.nft });
  await mendwall(hypervisor, 'init', '--force');
}

/** How many rules are kept, by family. */
async function keptOpen(): Promise<Record<string, number>> {
  const { exitCode, stdout } = await mendwall(hypervisor, 'status', '--json');
  const { drift, keptOpen: rules } = JSON.parse(stdout) as StatusResult;
  expect([exitCode, drift]).toEqual([3, []]);
  const counts: Record<string, number> = {};
  for (const { family } of rules) counts[family] = (counts[family] ?? 0) + 1;
  return counts;
}

it.each([
  ['policy DROP', { v4: POLICY, v6: POLICY }, { ip: 6, ip6: 5 }],
  ['REJECT at the end', { v4: RHEL('icmp-host-prohibited'), v6: RHEL('icmp6-adm-prohibited') }, { ip: 6, ip6: 5 }],
  ['`inet filter` with policy drop', { nft: INET }, { inet: 8 }],
] as const)('%s stops the guest; with the option it has all, and nothing is drift', async (_, rules, kept) => {
  await close(rules);
  expect(await traffic(hypervisor)).toEqual(NO_TRAFFIC);
  const snapshot = await hypervisor.sh('cat /var/lib/mendwall/snapshots/*/user.*');
  await mend();
  expect(await traffic(hypervisor)).toEqual(OPEN);
  const before = await hypervisor.sh('nft -a -s list ruleset');
  expect(await mend()).toContain('unchanged');
  expect(await hypervisor.sh('nft -a -s list ruleset')).toBe(before);
  expect(await hypervisor.sh('cat /var/lib/mendwall/snapshots/*/user.*')).toBe(snapshot);
  expect(await keptOpen()).toEqual(kept);
});

it('what is opened goes and comes with the network, stays when the daemon stops, and goes with the option', async () => {
  const guard = await startGuard(hypervisor);
  await hypervisor.destroyNetwork('default');
  await guard.idle();
  expect(await marks()).toEqual([]);
  await hypervisor.startNetwork('default');
  await guard.idle();
  expect(await traffic(hypervisor)).toEqual(OPEN);
  // A table that is loaded anew has none of them; they come back at rest.
  await hypervisor.sh('nft delete table inet filter; nft -f -', { input: INET });
  await guard.idle();
  expect(await marks()).toHaveLength(8);
  const after = (await guard.status()).passes;
  await new Promise((resolve) => setTimeout(resolve, 700));
  expect((await guard.status()).passes).toBe(after);
  await guard.stop();
  expect(await marks()).toHaveLength(8);
  await writeConfig(hypervisor, '');
  await mend();
  expect(await marks()).toEqual([]);
  expect(await hypervisor.sh('nft list ruleset')).not.toContain('mw-');
});
