// nftables.service as a loader: `nft -f /etc/nftables.conf` as its unit runs it, and the same file loaded in ways that name nobody.

import { afterEach, beforeAll, expect, it } from 'vitest';

import { debian13Root, DEBIAN_13_TIMEOUT_MS } from './debian-13.ts';
import { type GuardProcess, initGuard, startGuard } from './guard-process.ts';
import { type Hypervisor, upHypervisor } from './host.ts';
import { driftOf } from './native-stage.ts';

const OLD = `table inet filter {
	chain input {
		type filter hook input priority filter; policy accept;
		tcp dport 22 accept
		tcp dport 80 accept
		tcp dport 443 accept
		udp dport 123 drop
	}
}
table inet old { chain forward { type filter hook forward priority filter; policy accept; tcp dport 25 drop; }; }
`;
/** Nothing of it stood before. With an include, a variable, a device by its index, and other spellings than nft's own. */
const CONF = `#!/usr/sbin/nft -f

flush ruleset
define lan = { 192.168.0.0/16, 10.0.0.0/8 }
include "/etc/nftables.d/*.nft"

table inet filter {
	set banned { type ipv4_addr; flags interval; auto-merge; elements = { 203.0.113.0/25, 203.0.113.128/25 }; }
	chain input {
		type filter hook input priority 0; policy accept;
		iif lo accept
		iif "eth0" tcp dport { 8080, ssh-mgmt } drop
		ip saddr $lan tcp dport 2222 accept
		ip saddr @banned drop
	}
}
`.replace('ssh-mgmt', '2200');
const INCLUDED = `table ip6 edge {
	chain input { type filter hook input priority filter - 5; policy accept; tcp dport 9100 drop; }
}
`;

let hypervisor: Hypervisor;
let guard: GuardProcess;
beforeAll(() => debian13Root(), DEBIAN_13_TIMEOUT_MS);
afterEach(() => hypervisor?.down());

async function up(libvirt: false | '11' = false, config = ''): Promise<void> {
  hypervisor = await upHypervisor({ name: 'boot', libvirt, ...(libvirt === '11' ? { backend: 'nftables' } : {}) });
  await hypervisor.sh('nft -f -', { input: OLD });
  await initGuard(hypervisor);
  await hypervisor.sh('mkdir -p /etc/nftables.d');
  hypervisor.writeFile('/etc/nftables.conf', CONF);
  hypervisor.writeFile('/etc/nftables.d/edge.nft', INCLUDED);
  await hypervisor.sh(
    'mkdir -p /etc/mendwall; cat > /etc/mendwall/mendwall.toml; chmod 0640 /etc/mendwall/mendwall.toml',
    {
      input: config,
    },
  );
  guard = await startGuard(hypervisor);
}

const list = (): Promise<string> => hypervisor.sh('nft -s list ruleset');
const warned = (): string[] => guard.logSince(0).filter((line) => /^warning.*replaced/.test(line));

async function expectAdopted(how: string): Promise<void> {
  await guard.idle();
  const now = await list();
  expect(now, how).toContain('tcp dport 2222 accept');
  expect(now, how).toContain('table ip6 edge');
  expect(now, how).not.toContain('table inet old');
  expect(await driftOf({ hypervisor }), how).toEqual([]);
  expect(warned(), how).toEqual([]);
  expect(hypervisor.readFile('/var/lib/mendwall/snapshots/history.jsonl'), how).toMatch(
    /"trigger":"load","message":"loaded: [^"]*inet filter/,
  );
}

it.each([false, '11'] as const)('is adopted, whoever it was that could not be read (libvirt %s)', async (libvirt) => {
  await up(libvirt);
  // No name of a boot file stands in the command line.
  await hypervisor.sh('cat /etc/nftables.conf | (exec 3<&0; setsid nft -f /dev/fd/3)');
  await expectAdopted('through a pipe');
  // To ask nft is no change that anybody hears.
  const said = hypervisor.sh('timeout 3 nft monitor || :');
  await hypervisor.sh('sleep 1; nft -c --debug=netlink -f /etc/nftables.conf > /dev/null');
  expect(await said).toBe('');
});

it('is adopted as the unit starts and reloads it, and a stop takes nothing away', async () => {
  await up();
  await hypervisor.exec('/usr/sbin/nft', ['-f', '/etc/nftables.conf']);
  await expectAdopted('start');
  hypervisor.writeFile('/etc/nftables.conf', CONF.replace('2222', '2223'));
  await hypervisor.exec('/usr/sbin/nft', ['-f', '/etc/nftables.conf']);
  await guard.idle();
  expect(await driftOf({ hypervisor })).toEqual([]);
  const before = await list();
  await hypervisor.exec('/usr/sbin/nft', ['flush', 'ruleset']);
  await guard.idle();
  expect(await list()).toBe(before);
  expect(await driftOf({ hypervisor })).toEqual([]);
});

it('is adopted where it was loaded while no daemon ran', async () => {
  await up();
  await guard.stop();
  await hypervisor.sh('cd /etc; nft -f nftables.conf');
  guard = await startGuard(hypervisor);
  await expectAdopted('without a daemon');
});

it('is not taken for another ruleset, nor adopted when on_load is restore', async () => {
  await up();
  await hypervisor.sh('nft -f -', { input: CONF.replace('2222', '2224') });
  await guard.idle();
  expect(warned()).toHaveLength(1);
  expect(await driftOf({ hypervisor })).toContain('replaced inet filter');
  await hypervisor.down();
  await up(false, '[user]\non_load = "restore"\n');
  await guard.stop();
  await hypervisor.sh('cd /etc; nft -f nftables.conf');
  guard = await startGuard(hypervisor);
  await guard.idle();
  expect(await list()).toContain('tcp dport 443 accept');
});
