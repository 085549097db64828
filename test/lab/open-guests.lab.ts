// `[libvirt] open_guests` with a real libvirt 11 on its nftables backend, whose accepts do not count where another base chain
// drops: a guest gets an address, names and the outside beside each of the rulesets that keep it from all three
// (the traffic matrix of the captures), IPv4 and IPv6, and what is opened goes with the network.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { debian13Root, DEBIAN_13_TIMEOUT_MS } from './debian-13.ts';
import { mendwall } from './guard-process.ts';
import { upHypervisor, type Hypervisor } from './host.ts';
import { DEFAULT_NETWORK } from './networks.ts';
import { ALL_TRAFFIC, NO_TRAFFIC, traffic } from './probes.ts';
import { writeConfig } from './scenario-suite.ts';

const OPEN = { ...ALL_TRAFFIC, portForwardIn: false };
const HEAD = '-A INPUT -i lo -j ACCEPT\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n';
const POLICY = `*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n${HEAD}COMMIT\n`;
const RHEL = (how: string): string =>
  `*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n${HEAD}-A INPUT -j REJECT --reject-with ${how}\n-A FORWARD -s 192.0.2.7/32 -j DROP\n-A FORWARD -j REJECT --reject-with ${how}\nCOMMIT\n`;
const RHEL6 = RHEL('icmp6-adm-prohibited').replace('-A FORWARD -s 192.0.2.7/32 -j DROP\n', '');
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
  hypervisor = await upHypervisor({ name: 'open', libvirt: '11', backend: 'nftables' });
  await hypervisor.addGuest(DEFAULT_NETWORK);
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
  await hypervisor.sh('nft delete table inet filter 2>/dev/null || :');
  await hypervisor.sh('iptables-restore', { input: rules.v4 ?? none });
  await hypervisor.sh('ip6tables-restore', { input: rules.v6 ?? none });
  if (rules.nft !== undefined) await hypervisor.sh('nft -f -', { input: rules.nft });
  await mendwall(hypervisor, 'init', '--force');
}

describe.each([
  ['policy DROP', { v4: POLICY, v6: POLICY }],
  ['REJECT at the end', { v4: RHEL('icmp-host-prohibited'), v6: RHEL6 }],
  ['`inet filter` with policy drop', { nft: INET }],
] as const)('%s', (_, rules) => {
  it('stops the guest; with the option it has all, once and for all, and nothing is drift', async () => {
    await close(rules);
    expect(await traffic(hypervisor)).toEqual(NO_TRAFFIC);
    const snapshot = await hypervisor.sh('cat /var/lib/mendwall/snapshots/*/user.*');
    await mend();
    const kept = await marks();
    console.log(kept.join('\n'));
    expect(await traffic(hypervisor)).toEqual(OPEN);
    expect(kept.length).toBeGreaterThan(0);
    const before = await hypervisor.sh('nft -a -s list ruleset');
    expect(await mend()).toContain('unchanged');
    expect(await hypervisor.sh('nft -a -s list ruleset')).toBe(before);
    expect(await hypervisor.sh('cat /var/lib/mendwall/snapshots/*/user.*')).toBe(snapshot);
    const status = JSON.parse((await mendwall(hypervisor, 'status', '--json')).stdout) as { drift: unknown[] };
    console.log(JSON.stringify(status.drift, undefined, 1));
    expect((await mendwall(hypervisor, 'diff')).stdout).toBe('');
  });

  it('is closed again when the network goes', async () => {
    await hypervisor.destroyNetwork('default');
    await mend();
    expect(await marks()).toEqual([]);
    await hypervisor.startNetwork('default');
  });
});
