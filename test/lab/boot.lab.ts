// A host that boots: no rule, no set, no libvirt; the built `mendwall boot`, then libvirt, then the daemon.

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import type { ExecResult } from '../../src/host/host.ts';
import { initGuard, mendwall, startGuard, writeConfig } from './guard-process.ts';
import { type Hypervisor, upHypervisor } from './host.ts';

const V4 = `*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:web - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m set --match-set banned src -j DROP
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A FORWARD -d 192.168.122.10/32 -p tcp -m tcp --dport 80 -j web
-A web -s 10.0.0.0/8 -j ACCEPT
COMMIT
*nat
-A PREROUTING -d 198.51.100.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 192.168.122.10
COMMIT
`;
const V6 = `*filter
:INPUT DROP [0:0]
-A INPUT -p ipv6-icmp -j ACCEPT
COMMIT
`;
const NATIVE = `table inet own {
	chain early {
		type filter hook input priority -10; policy drop;
		iif "lo" accept
		iif "eth0" tcp dport 22 accept
		iif "virbr0" accept
	}
}
`;
const STORE = '/var/lib/mendwall/snapshots';

let host: Hypervisor;
let boots = 0;

/** Rules and policies of the user's, and the sets. */
async function standing(): Promise<string> {
  const text = await host.sh('iptables-save; ip6tables-save; nft list table inet own 2>/dev/null || :; ipset save');
  return text
    .split('\n')
    .filter((line) => !/LIBVIRT|^#|^:mw-|^COMMIT|chain mw-|initval/.test(line))
    .map((line) => line.replace(/ \[\d+:\d+\]$/, ''))
    .filter((line) => !/^:\S+ ACCEPT|^\*|^\s*\}?$/.test(line)) // Empty tables may be there or not.
    .join('\n');
}

/** What a boot takes: rules, sets, networks, libvirtd, and the boot id. */
async function reboot(): Promise<void> {
  if (host.libvirtd.pid() !== undefined) {
    await host.virsh('net-destroy', 'default').catch(() => undefined);
    await host.libvirtd.stop();
  }
  boots += 1;
  const id = `/run/lab/boot-${boots}`;
  await host.sh(
    `nft flush ruleset; ipset destroy; echo 00000000-0000-4000-8000-00000000000${boots} >${id}
    for proc in /proc /outer-proc; do mount --bind ${id} $proc/sys/kernel/random/boot_id; done`,
  );
}

const bootNow = (): Promise<ExecResult> => mendwall(host, 'boot');

/** Everything as the admin wants it, in a snapshot that each test gets. */
async function settle(): Promise<string> {
  await host.sh(`ipset create banned hash:ip; ipset add banned 203.0.113.9
    ipset create seen hash:ip timeout 600; ipset create all list:set; ipset add all banned`);
  await host.sh('iptables-restore', { input: V4 });
  await host.sh('ip6tables-restore', { input: V6 });
  await host.sh('nft -f -', { input: NATIVE });
  await initGuard(host);
  await host.sh('ipset destroy seen; ipset destroy all; cp -a /var/lib/mendwall /run/lab/state');
  return standing();
}

beforeAll(async () => {
  host = await upHypervisor({ name: 'mwz-boot' });
  await reboot();
  await host.sh('ip link add virbr0 type bridge');
  wanted = await settle();
}, 60_000);

afterAll(async () => host?.down());

let wanted: string;

beforeEach(async () => {
  await reboot();
  await host.sh('rm -rf /var/lib/mendwall/* /etc/mendwall/*; cp -a /run/lab/state/. /var/lib/mendwall/');
});

describe('a boot', () => {
  it('loads sets, rules, policies and native tables; a second one changes nothing', async () => {
    expect(await standing()).toBe('');
    const first = await bootNow();
    expect(first, first.stderr).toMatchObject({ exitCode: 0 });
    expect(await standing()).toBe(wanted);
    expect(wanted).toContain('add banned 203.0.113.9');
    const again = await bootNow();
    expect(again.stdout, again.stderr).toMatch(/^unchanged/m);
  });

  it('goes before libvirt; with its bridge there, the daemon puts what waited for it, and all is as in the snapshot', async () => {
    await host.sh('ip link del virbr0');
    expect((await bootNow()).stderr).toMatch(/"virbr0": /);
    await host.libvirtd.start();
    await host.virsh('net-start', 'default');
    const guard = await startGuard(host);
    try {
      const diff = await mendwall(host, 'diff');
      expect(diff.stdout + diff.stderr).not.toMatch(/^[-+](?:-A|:)/m);
      expect(diff.exitCode, diff.stdout + diff.stderr).toBe(0);
      expect(await host.sh('iptables-save -t filter')).toContain('-j LIBVIRT_FWI');
    } finally {
      await guard.stop();
      await host.virsh('net-destroy', 'default');
      await host.libvirtd.stop();
      await host.sh('ip link add virbr0 type bridge');
    }
  });

  it('without a set: that rule alone is missing, the policies are DROP, and one line says file, line and word', async () => {
    await host.sh(`rm ${STORE}/*/user.ipset`);
    const result = await bootNow();
    expect(result.exitCode, result.stderr).toBe(1);
    const said = result.stderr.split('\n').filter((line) => line.includes('banned'));
    expect(said).toHaveLength(1);
    const place = /(\/\S+\/user\.v4):(\d+):(\d+): "banned": .*Set banned doesn't exist/.exec(said[0] ?? '');
    expect(place, said[0]).not.toBeNull();
    const line = (await host.sh(`sed -n ${place?.[2]}p ${place?.[1]}`)).trimEnd();
    expect(line.slice(Number(place?.[3]) - 1)).toMatch(/^banned src -j DROP/);
    expect(await standing()).toBe(
      wanted
        .split('\n')
        .filter((each) => !each.includes('banned'))
        .join('\n'),
    );
  });

  it('without an interface that a native rule names: the rest of the table stands', async () => {
    await host.sh('ip link del virbr0');
    const result = await bootNow();
    await host.sh('ip link add virbr0 type bridge');
    expect(result.exitCode, result.stderr).toBe(1);
    expect(result.stderr).toMatch(/user\.nft:\d+:\d+: "virbr0": .*Interface does not exist/);
    const table = await host.sh('nft list table inet own');
    expect(table).toContain('policy drop');
    expect(table).toContain('iif "eth0" tcp dport 22 accept');
  });

  it('with a damaged line in a kept set: the other elements and every rule', async () => {
    await host.sh(
      `echo 'add banned 203.0.113.999' >>$(ls ${STORE}/*/user.ipset); echo 'add banned 203.0.113.10' >>$(ls ${STORE}/*/user.ipset)`,
    );
    const result = await bootNow();
    expect(result.exitCode, result.stderr).toBe(1);
    expect(result.stderr).toMatch(/user\.ipset:3: "add banned 203\.0\.113\.999": /);
    expect(await host.sh('ipset save')).toContain('add banned 203.0.113.10');
    expect(await host.sh('iptables-save')).toContain('--match-set banned src');
  });

  it('with a damaged newest snapshot: the one before it', async () => {
    await bootNow();
    await host.sh('iptables -A INPUT -p tcp --dport 8080 -j ACCEPT');
    const taken = await mendwall(host, 'snapshot', '--yes', '--json');
    const { id } = JSON.parse(taken.stdout) as { readonly id: string };
    await host.sh(`sed -i s/8080/8081/ ${STORE}/${id}/user.v4`);
    await reboot();
    const result = await bootNow();
    expect(result.exitCode, result.stderr).toBe(1);
    expect(result.stderr).toContain(`snapshot ${id} is damaged`);
    expect(await standing()).toBe(wanted);
  });

  it('without nft: iptables rules and policies stand all the same, and it fails', async () => {
    await host.sh('mount --bind /dev/null /usr/sbin/nft');
    const result = await bootNow();
    await host.sh('umount /usr/sbin/nft');
    expect(result.exitCode, result.stderr + result.stdout).not.toBe(0);
    expect(result.stderr).toMatch(/nft/);
    const rules = await host.sh('iptables-save; ip6tables-save');
    expect(rules.match(/^:INPUT DROP/gm), result.stderr + result.stdout).toHaveLength(2);
    expect(rules).toContain('--match-set banned src');
  });

  it('after rules that nobody confirmed: those before them', async () => {
    await bootNow();
    await host.sh('cat >/run/lab/10-new.v4', { input: V4.replace('--dport 22', '--dport 2222') });
    const applied = await mendwall(
      host,
      'apply',
      '--yes',
      '--no-preflight',
      '--confirm-within',
      '10m',
      '/run/lab/10-new.v4',
    );
    expect(applied.exitCode, applied.stderr).toBe(0);
    expect(await standing()).not.toBe(wanted);
    expect((await bootNow()).exitCode).toBe(5); // no reboot: still on trial
    await reboot();
    const result = await bootNow();
    expect(result.exitCode, result.stderr).toBe(0);
    expect(result.stdout).toMatch(/loaded the rules before/);
    expect(await standing()).toBe(wanted);
  });

  it('with source = "files": the files; with an error in them, the last good rules, and the place of the error', async () => {
    await writeConfig(host, '[user]\nsource = "files"\n');
    await host.sh('mkdir -p /etc/mendwall/rules.d; cat >/etc/mendwall/rules.d/10-a.v4', {
      input: `${V4.replace('--dport 22', '--dport 2222')}`,
    });
    await host.sh('cat >/etc/mendwall/rules.d/10-a.v6', { input: V6 });
    await host.sh('cat >/etc/mendwall/rules.d/20-own.nft', { input: NATIVE });
    const good = await bootNow();
    expect(good.exitCode, good.stderr).toBe(0);
    expect(await standing()).toBe(wanted.replace('--dport 22 ', '--dport 2222 '));
    await host.sh('sed -i "s/-j DROP/-j DORP/" /etc/mendwall/rules.d/10-a.v4');
    await reboot();
    const bad = await bootNow();
    expect(bad.exitCode, bad.stderr).toBe(1);
    expect(bad.stderr).toMatch(/10-a\.v4:6:\d+: .*DORP/);
    expect(await standing()).toBe(wanted.replace('--dport 22 ', '--dport 2222 '));
  });
});
