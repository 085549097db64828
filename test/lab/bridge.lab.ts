// The user's bridge and ARP rules beside libvirt's nwfilter, under a real guard: what is wiped comes back, what is edited stays, and a
// running guest's filter is libvirt's to write. Real libvirt 9 and a real guest with `clean-traffic`; real ARP and ICMP through a bridge.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { initGuard, mendwall, startGuard } from './guard-process.ts';
import { type Hypervisor, upHypervisor } from './host.ts';
import { type NativeStage, driftOf } from './native-stage.ts';
import { writeConfig } from './scenario-suite.ts';

const GUEST = `<domain type='qemu'><name>clean</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<interface type='network'><mac address='52:54:00:aa:bb:cc'/><source network='default'/><model type='virtio'/><rom enabled='no'/>
<filterref filter='clean-traffic'><parameter name='IP' value='192.168.122.50'/></filterref></interface>
<memballoon model='none'/></devices></domain>`;

/** By hand, as an admin would. The rest of the bridge may talk; see PROBES for what may not. */
const USER_RULES = `
  ebtables -N guard -P RETURN
  ebtables -A guard -p ARP --arp-ip-src 192.0.2.66 -j DROP
  ebtables -A FORWARD -i p2 -j guard
  ebtables -A FORWARD -p IPv4 --ip-proto udp --ip-dport 67 -j DROP
  ebtables -A FORWARD -p IPv4 --ip-proto icmp --ip-dst 192.0.2.67 -j DROP
  ebtables -t nat -A PREROUTING -i p9 -j DROP
  ebtables -t nat -A POSTROUTING -o p9 -j snat --to-src 52:54:00:00:00:09
  arptables -A INPUT -s 10.9.9.9 -j DROP
  arptables -A INPUT -s 192.0.2.3 -j DROP
  nft 'table bridge mine { chain forward { type filter hook forward priority 10; policy accept; ether saddr 52:54:00:00:00:77 drop; }; }'`;

/** A bridge of the host's, .254, with stations in namespaces of their own: .1 behind p1, .65 to .67 behind p2, .3 behind p3. */
const STATIONS = `
  ip link add br7 type bridge forward_delay 0; ip link set br7 up; ip addr add 192.0.2.254/24 dev br7
  for n in 1 2 3; do
    ip netns add s$n; ip link add p$n type veth peer name e netns s$n; ip link set p$n master br7 up
    ip -n s$n link set e up
  done
  ip -n s1 addr add 192.0.2.1/24 dev e
  for n in 65 66 67; do ip -n s2 addr add 192.0.2.$n/24 dev e; done
  ip -n s3 addr add 192.0.2.3/24 dev e`;

/**
 * Real packets, asked all at once: by ARP from .1 for .65 (nothing of the user’s stops it) and .66 (its answer is), from .3 for the
 * host (the host does not hear it), and by ICMP from .1 to .67, whose address is learnt by ARP first.
 */
const PROBES = `
  set +e
  asks() { ip -n $1 neigh del $2 dev e 2>/dev/null; ip netns exec $1 bash -c "echo > /dev/udp/$2/9" 2>/dev/null; sleep 1
    ip -n $1 neigh show $2 | grep -q lladdr && echo "$1 hears $2"; }
  pings() { ip netns exec $1 busybox ping -c 2 -W 1 $2 > /dev/null && echo "$1 pings $2"; }
  asks s1 192.0.2.65 & asks s1 192.0.2.66 & asks s3 192.0.2.254 & asks s1 192.0.2.67 & pings s1 192.0.2.67 & wait; :`;
const FREE = ['s1 hears 192.0.2.65', 's1 hears 192.0.2.67'];
const STOPPED = ['s1 hears 192.0.2.66', 's1 pings 192.0.2.67', 's3 hears 192.0.2.254'];

/** What firewalld 1.3.3 sends at start, reload and stop (core/ebtables.py, build_flush_rules; ebtables 1.8.9 has no broute), by a program of that name. */
const FIREWALLD = `cd "$(mktemp -d)"; for t in nat filter; do printf '*%s\\n-F\\n-X\\n-Z\\n' $t; done > rules
  printf '#!/bin/bash -e\\nebtables-restore --noflush < rules\\nsleep 0.2\\n' > firewalld; chmod +x firewalld; ./firewalld; rm -r "$PWD"`;

/** All of the three tools, without dates. */
const saved = async (hypervisor: Hypervisor): Promise<string[]> =>
  (await hypervisor.sh('ebtables-save; arptables-save; nft list table bridge mine 2>/dev/null || :'))
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .toSorted();

/** What of PROBES is answered; asked again, bounded, where a busy machine answered less than it may. */
async function expectPackets(hypervisor: Hypervisor, wanted: readonly string[], what: string): Promise<void> {
  const look = async (): Promise<string[]> => (await hypervisor.sh(PROBES)).trim().split('\n').toSorted();
  await expect.poll(look, { timeout: 10_000, message: what }).toEqual(wanted.toSorted());
}

async function expectWhole({ hypervisor, guard }: NativeStage, wanted: readonly string[], what: string): Promise<void> {
  let seen = await saved(hypervisor);
  for (const endMs = performance.now() + 20_000; seen.join() !== wanted.join() && performance.now() < endMs;) {
    await guard.idle(60_000);
    seen = await saved(hypervisor);
  }
  expect(seen, `${what}\n${guard.logSince(Math.max(0, guard.logMark() - 15)).join('\n')}`).toEqual(wanted);
}

describe('bridge and ARP tables beside a guest with a filter', () => {
  let stage: NativeStage;
  let wanted: string[];
  beforeAll(async () => {
    const hypervisor = await upHypervisor({ name: 'mwb', libvirt: '9' });
    await hypervisor.sh(STATIONS + USER_RULES);
    const file = '/run/lab/clean.xml';
    await hypervisor.sh(`cat > ${file}; virsh -q -c qemu:///system create ${file}`, {
      input: GUEST,
      timeoutMs: 60_000,
    });
    await hypervisor.libvirtd.quiet(600);
    await initGuard(hypervisor);
    await writeConfig(hypervisor, '');
    stage = { hypervisor, guard: await startGuard(hypervisor) };
    wanted = await saved(hypervisor);
  }, 90_000);
  afterAll(() => stage?.hypervisor.down());

  it('init took the user’s part and nothing of nwfilter’s; nothing is to do', async () => {
    const shown = (await mendwall(stage.hypervisor, 'snapshot', 'show')).stdout;
    expect(shown).toContain('-A FORWARD -i p2 -j guard');
    expect(shown).toContain('-A INPUT -j DROP -s 10.9.9.9');
    expect(shown).toContain('ether saddr 52:54:00:00:00:77 drop');
    expect(shown).not.toMatch(/vnet/);
    expect(await driftOf(stage)).toEqual([]);
    await expectPackets(stage.hypervisor, FREE, 'with the user’s rules');
  });

  it.each([
    ['nft flush ruleset', 'nft flush ruleset'],
    [
      'ebtables -F and -X, arptables -F',
      'for t in filter nat; do ebtables -t $t -F; ebtables -t $t -X; done; arptables -F',
    ],
    ['firewalld’s flush', FIREWALLD],
    ['nft delete of the tables by a file', 'nft -f /run/lab/flush.nft'],
  ])('%s: the user’s rules are back, libvirt is asked for its filter, and it is whole', async (what, deed) => {
    await stage.hypervisor.sh('echo "flush ruleset" > /run/lab/flush.nft');
    await stage.hypervisor.sh(deed);
    await expectWhole(stage, wanted, what);
    await stage.guard.idle(60_000);
    expect(await driftOf(stage), what).toEqual([]);
    await expectPackets(stage.hypervisor, FREE, what);
  });

  it('then there is nothing to mend', async () => {
    expect((await mendwall(stage.hypervisor, 'mend', '--mode', 'merge')).stdout).toBe('unchanged\n');
  });

  it('single edits are pending, stay through a rewrite of libvirt’s, and restore undoes them', async () => {
    const { hypervisor, guard } = stage;
    await hypervisor.sh(
      'ebtables -D FORWARD -p IPv4 --ip-proto udp --ip-dport 67 -j DROP; ebtables -A FORWARD -i p8 -j DROP',
    );
    await hypervisor.sh('arptables -A INPUT -s 10.9.9.8 -j DROP');
    await guard.idle(60_000);
    const edits = [
      'pending bridge filter FORWARD -A FORWARD -i p8 -j DROP',
      'pending bridge filter FORWARD -A FORWARD -p IPv4 --ip-proto udp --ip-dport 67 -j DROP',
      'pending arp filter INPUT -A INPUT -j DROP -s 10.9.9.8',
    ];
    expect(await driftOf(stage)).toEqual(edits);
    await hypervisor.reloaded();
    await hypervisor.libvirtd.quiet(800);
    await guard.idle(60_000);
    expect(await driftOf(stage)).toEqual(edits);
    await mendwall(hypervisor, 'restore', 'latest', '--yes');
    await expectWhole(stage, wanted, 'restore');
    expect(await driftOf(stage)).toEqual([]);
  });

  it('what the user’s rules stop, passes while they are out, and no longer when they are put back', async () => {
    const { hypervisor, guard } = stage;
    await hypervisor.sh(`ebtables -D FORWARD -i p2 -j guard; arptables -D INPUT -s 192.0.2.3 -j DROP
      ebtables -D FORWARD -p IPv4 --ip-proto icmp --ip-dst 192.0.2.67 -j DROP`);
    await guard.idle(60_000);
    await expectPackets(hypervisor, [...FREE, ...STOPPED], 'three rules deleted by hand');
    await mendwall(hypervisor, 'restore', 'latest', '--yes');
    await expectPackets(hypervisor, FREE, 'restored');
    await expectWhole(stage, wanted, 'restored');
  });

  it('a native rule that ebtables shows as another is said with the rule, and neither written nor adopted', async () => {
    const { hypervisor, guard } = stage;
    await hypervisor.sh(
      'ebtables -N odd -P RETURN; nft add rule bridge filter odd ip saddr 192.0.2.100-192.0.2.109 drop',
    );
    await guard.idle(60_000);
    expect((await saved(hypervisor)).filter((line) => line.startsWith('-A odd -p 0x'))).toHaveLength(1); // ebtables-save's word for it
    const status = JSON.parse((await mendwall(hypervisor, 'status', '--json')).stdout) as {
      drift: { evidence: string }[];
    };
    expect(status.drift).toMatchObject([{ kind: 'unreadable', family: 'bridge', table: 'filter' }]);
    expect(status.drift[0]?.evidence).toContain('shows as another: ip saddr 192.0.2.100-192.0.2.109 drop');
    await hypervisor.sh('ebtables -D FORWARD -p IPv4 --ip-proto udp --ip-dport 67 -j DROP'); // not heard: the table is left alone
    await mendwall(hypervisor, 'mend', '--mode', 'merge');
    await mendwall(hypervisor, 'snapshot');
    const shown = (await mendwall(hypervisor, 'snapshot', 'show')).stdout;
    expect(shown).toContain('-A FORWARD -p IPv4 --ip-proto udp --ip-dport 67 -j DROP');
    expect(shown).not.toContain('-A odd');
    expect(await hypervisor.sh('nft list chain bridge filter odd')).toContain('ip saddr 192.0.2.100-192.0.2.109 drop');
    await hypervisor.sh('nft flush chain bridge filter odd; ebtables -X odd');
    await guard.idle(60_000);
    await mendwall(hypervisor, 'restore', 'latest', '--yes');
    await expectWhole(stage, wanted, 'the native rule gone');
    expect(await driftOf(stage)).toEqual([]);
  });

  it('a filter that lost its hook by hand is said, and nothing of it is written', async () => {
    const { hypervisor, guard } = stage;
    const mark = guard.logMark();
    await hypervisor.sh('ebtables -t nat -D PREROUTING -i vnet0 -j libvirt-I-vnet0');
    await guard.idle(60_000);
    expect(await driftOf(stage), guard.logSince(mark - 12).join('\n')).toEqual([
      'foreign-unhooked bridge nat PREROUTING -A PREROUTING -i vnet0 -j libvirt-I-vnet0',
    ]);
    expect((await saved(hypervisor)).filter((line) => line.includes('-i vnet0'))).toEqual([]);
    await hypervisor.reloaded();
    await hypervisor.libvirtd.quiet(800);
    await guard.idle(60_000);
    await expectWhole(stage, wanted, 'Reloaded');
    expect(await driftOf(stage)).toEqual([]);
  });

  it('the guest stops: its filter goes, and nobody misses it', async () => {
    await stage.hypervisor.stopTcgGuest('clean');
    await stage.hypervisor.libvirtd.quiet(800);
    await stage.guard.idle(60_000);
    expect(await driftOf(stage)).toEqual([]);
    await expectWhole(
      stage,
      wanted.filter((line) => !line.includes('vnet0')),
      'guest stop',
    );
  });
});
