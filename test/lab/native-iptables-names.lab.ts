// Native tables under iptables' own names (`ip nat`, as the wiki of nftables has it) beside iptables-nft and libvirt, which writes
// into the very same tables with its iptables backend. What the user and libvirt had is there again after each accident, once.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { debian13Root, DEBIAN_13_TIMEOUT_MS } from './debian-13.ts';
import { type GuardProcess, initGuard, mendwall, startGuard } from './guard-process.ts';
import { type Hypervisor, type HypervisorOptions, upHypervisor } from './host.ts';
import { driftOf } from './native-stage.ts';
import { GUEST_TRAFFIC, trafficWithin } from './probes.ts';

const NATIVE = `table inet mine {
	chain input {
		type filter hook input priority filter + 5; policy accept;
		tcp dport 9100 drop
	}
}
table ip nat {
	map forwards {
		type inet_service : ipv4_addr
		elements = { 8022 : 192.168.122.10 }
	}
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		iifname "eth0" dnat to tcp dport map @forwards
		tcp dport 8443 jump web
	}
	chain web {
		ip saddr 203.0.113.7 accept
	}
}
table ip filter {
	set banned {
		type ipv4_addr
		elements = { 198.51.100.77 }
	}
	chain input {
		type filter hook input priority filter; policy accept;
		ct state invalid drop
		ip saddr @banned drop
		tcp dport { 81, 82 } drop
	}
}
table ip6 filter {
	chain input {
		type filter hook input priority filter; policy accept;
		ip6 saddr 2001:db8:77::/64 drop
	}
}
`;
const IPTABLES = `*filter
-A INPUT -p tcp -m tcp --dport 25 -j DROP
COMMIT
*mangle
-A FORWARD -s 203.0.113.9/32 -j MARK --set-xmark 0x7/0xffffffff
COMMIT
`;
const CHAINS = ['ip nat prerouting', 'ip nat web', 'ip filter input', 'ip6 filter input', 'inet mine input'];
const SETS = ['map ip nat forwards', 'set ip filter banned'];

beforeAll(() => debian13Root(), DEBIAN_13_TIMEOUT_MS);

interface Standing {
  readonly native: readonly string[];
  readonly iptables: readonly string[];
}

const KINDS: readonly (readonly [string, Pick<HypervisorOptions, 'libvirt' | 'backend'>])[] = [
  ['libvirt 9', { libvirt: '9' }],
  ['libvirt 11 nftables', { libvirt: '11', backend: 'nftables' }],
  ...(process.env['LAB_FULL'] === '1'
    ? [['libvirt 11 iptables', { libvirt: '11', backend: 'iptables' }] as const]
    : []),
];

describe.each(KINDS)('%s', (_, options) => {
  let hypervisor: Hypervisor;
  let guard: GuardProcess;
  let before: Standing;

  beforeAll(async () => {
    hypervisor = await upHypervisor({ name: `mwi${options.libvirt}${options.backend ?? ''}`.slice(0, 9), ...options });
    await hypervisor.addGuest();
    await hypervisor.sh('nft -f -', { input: NATIVE });
    await hypervisor.sh('iptables-restore -n', { input: IPTABLES });
    await initGuard(hypervisor);
    guard = await startGuard(hypervisor);
    before = await standing();
  }, 120_000);
  afterAll(() => hypervisor?.down());

  async function standing(): Promise<Standing> {
    const lists = [...CHAINS.map((chain) => `chain ${chain}`), ...SETS];
    const native = await Promise.all(
      lists.map(async (what) => (await hypervisor.exec('nft', ['-s', 'list', ...what.split(' ')])).stdout),
    );
    const { ip, ip6 } = await hypervisor.save();
    const iptables = `${ip}${ip6}`.split('\n').filter((line) => line.startsWith('-A '));
    return { native, iptables };
  }

  /** Waits, bounded, until all stands as it did; libvirt's own order is its own. */
  async function expectBack(what: string): Promise<void> {
    const look = async (): Promise<unknown> => {
      await guard.idle();
      const { native, iptables } = await standing();
      return { native, iptables: iptables.toSorted() };
    };
    const wanted = { ...before, iptables: before.iptables.toSorted() };
    await expect.poll(look, { timeout: 20_000, interval: 300, message: what }).toEqual(wanted);
    expect(
      (await driftOf({ hypervisor })).filter((each) => !each.startsWith('shadowed')),
      what,
    ).toEqual([]);
  }

  it('is one picture: who has how many rules on which engine, and no difference', async () => {
    const status = JSON.parse((await mendwall(hypervisor, 'status', '--json')).stdout) as {
      owners: { owner: string; rules: Record<string, number> }[];
    };
    expect(status.owners.find(({ owner }) => owner === 'user')?.rules).toEqual({ ip: 2, ip6: 0, native: 8 });
    const diff = await mendwall(hypervisor, 'diff', 'latest', 'live');
    expect(diff.stdout + diff.stderr).not.toMatch(/prerouting/);
    expect(diff.exitCode).toBe(0);
    expect(await driftOf({ hypervisor })).toEqual([]);
    expect((await hypervisor.sh('iptables-save -t nat')).match(/incompatible base-chains/g)).toHaveLength(1);
  });

  it.each([
    ['nft flush ruleset', 'nft flush ruleset'],
    ['nft flush chain, which leaves a chain that nothing leads to', 'nft flush chain ip nat prerouting'],
    ['iptables -F and -X', 'for t in filter nat; do iptables -t $t -F; iptables -t $t -X 2>/dev/null || :; done'],
    ['a whole iptables-restore', "printf '*nat\\n:OUTPUT ACCEPT [0:0]\\nCOMMIT\\n' | iptables-restore"],
  ])('after %s all is back', async (what, script) => {
    await hypervisor.sh(script);
    await expectBack(what);
  });

  it('and libvirt works', async () => {
    expect(await trafficWithin(hypervisor, 10_000, undefined, GUEST_TRAFFIC)).toEqual(GUEST_TRAFFIC);
  });

  it('a rule added by hand is pending, and what iptables holds in the table stays', async () => {
    await hypervisor.sh('nft add rule ip nat prerouting tcp dport 8080 redirect to :80');
    await guard.idle();
    expect(await driftOf({ hypervisor })).toEqual(['pending ip nat prerouting tcp dport 8080 redirect to :80']);
    const restored = await mendwall(hypervisor, 'restore', 'latest', '--yes');
    expect(restored.exitCode, restored.stderr + restored.stdout).toBe(0);
    await expectBack('restore');
  });

  it('nft -f of a file with flush ruleset is the new snapshot, and the neighbours come back', async () => {
    const input = `flush ruleset\n${NATIVE.replace('8022 : 192.168.122.10', '8022 : 192.168.122.11')}`;
    await hypervisor.sh('nft -f -', { input });
    await guard.idle();
    before = { ...before, native: before.native.map((text) => text.replace('192.168.122.10 ', '192.168.122.11 ')) };
    await expectBack('load');
  });

  it('what iptables cannot show beside libvirt is unreadable, with the rule, and nothing is written', async () => {
    await hypervisor.sh('nft add chain ip filter odd; nft add rule ip filter odd ct state new log; iptables -N OWN');
    await guard.idle();
    const mend = await mendwall(hypervisor, 'mend', '--mode', 'merge');
    expect(mend.exitCode).toBe(5);
    expect(mend.stdout + mend.stderr).toMatch(/table filter is incompatible.*chain odd holds .*ct state new log/);
    await hypervisor.sh('nft delete chain ip filter odd; iptables -X OWN');
    await expectBack('odd chain gone');
  });
});
