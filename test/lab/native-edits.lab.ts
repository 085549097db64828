// Whose voice is it, in the user's native tables: loads are adopted, single edits kept, what is emptied comes back. Beside them
// libvirt 11 with its nftables backend, and iptables rules of the user's; real programs, real packets.

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { nftFlushRuleset, reloadLibvirtd, restartLibvirtd, restartNetwork } from './actors.ts';
import { debian13Root, DEBIAN_13_TIMEOUT_MS } from './debian-13.ts';
import { mendwall } from './guard-process.ts';
import {
  driftOf,
  expectStands,
  libvirtRules,
  msUntilTable,
  type NativeStage,
  type Standing,
  standing,
  upNativeStage,
  verb,
} from './native-stage.ts';
import { expectNeighbourDiscovery } from './neighbour-discovery.ts';
import { report } from './netns-host.ts';
import { DEFAULT_NETWORK } from './networks.ts';
import { CHANGED_NATIVE, USER_NATIVE } from './user-native.ts';

const NETWORK = { ...DEFAULT_NETWORK, ipv6: { prefix: 'fd00:122::', nat: true } };

let stage: NativeStage;
let users: Standing;
let libvirt: string[];
let first: string;

beforeAll(() => debian13Root(), DEBIAN_13_TIMEOUT_MS);
beforeAll(async () => {
  stage = await upNativeStage([NETWORK]);
  users = await standing(stage.hypervisor);
  libvirt = await libvirtRules(stage.hypervisor);
  first = snapshotId(await verb(stage.hypervisor, 'snapshot', 'list', '--json'));
});
afterAll(() => stage?.hypervisor.down());
/** Each test begins with the first snapshot's rules, adopted. */
afterEach(async () => {
  await verb(stage.hypervisor, 'restore', first, '--yes');
  await stage.guard.idle();
  await expectStands(stage, users, libvirt, 'restore of the first snapshot');
  expect(await driftOf(stage)).toEqual([]);
});

/** The latest snapshot's. */
function snapshotId(listed: string): string {
  const id = /"id": ?"([0-9a-f]+)"/.exec(listed)?.[1]; // "id":"3f2a..."
  if (id === undefined) throw new Error(`no snapshot in ${listed}`);
  return id;
}

const nft = (command: string): Promise<string> => stage.hypervisor.sh(`nft '${command}'`);

async function load(text: string, path = '/run/lab/user.nft'): Promise<Standing> {
  stage.hypervisor.writeFile(path, `flush ruleset\n${text}`);
  await stage.hypervisor.sh(`nft -f ${path}`);
  const { native } = await standing(stage.hypervisor);
  return { ...users, native };
}

const OTHER = `table inet other {
	chain input {
		type filter hook input priority filter; policy accept;
		tcp dport 2222 accept
	}
}
`;

describe('`nft -f` of a file with `flush ruleset`', () => {
  it("and the user's new rules: adopted, what it dropped is said, iptables' rules and libvirt back", async () => {
    const wanted = await load(CHANGED_NATIVE);
    await stage.guard.idle();
    await expectStands(stage, wanted, libvirt, 'a changed load');
    expect(await driftOf(stage)).toEqual([]);
    expect(await verb(stage.hypervisor, 'log', '-n', '5')).toMatch(/ip6 edge/);
  });

  it("and nothing of the user's: `replaced`, iptables' rules and libvirt back; `restore` brings the old tables", async () => {
    const wanted = await load(OTHER);
    await stage.guard.idle();
    await expectStands(stage, wanted, libvirt, 'a foreign load');
    expect((await driftOf(stage)).filter((each) => each.startsWith('replaced'))).not.toEqual([]);
    await verb(stage.hypervisor, 'restore', 'latest', '--yes');
    await stage.guard.idle();
    await expectStands(stage, users, libvirt, 'restore latest');
  });

  it("and nothing of the user's, from nftables.service's file: adopted, whether its author could be read or not", async () => {
    const mark = stage.guard.logMark();
    const wanted = await load(OTHER, '/etc/nftables.conf');
    await stage.guard.idle();
    await expectStands(stage, wanted, libvirt, 'a load of /etc/nftables.conf');
    const log = stage.guard.logSince(mark).join('\n');
    expect(await driftOf(stage), log).toEqual([]);
    expect(log).toMatch(/load of inet other.* adopted as snapshot/);
    // What stands is told by this file from now on: the tests that follow load others.
    await stage.hypervisor.sh('rm /etc/nftables.conf');
  });

  it('the same rules again: nothing pending, nothing new', async () => {
    await load(USER_NATIVE);
    await stage.guard.idle();
    await expectStands(stage, users, libvirt, 'the same load');
    expect(await driftOf(stage)).toEqual([]);
  });
});

describe('single commands', () => {
  it('add, delete, a table deleted by its name, an element: pending, and kept through `nft flush ruleset`', async () => {
    const { hypervisor, guard } = stage;
    await nft('add rule inet filter admin tcp dport 81 accept');
    await nft('delete table ip6 edge');
    await nft('add element inet filter banned { 203.0.113.200 }');
    await nft(`delete rule inet filter forward handle ${await handleOf('inet filter', 'tcp dport 22 accept comment')}`);
    await guard.idle();
    const wanted = await standing(hypervisor);
    expect(wanted.native).not.toHaveProperty('ip6 edge');
    const drift = await driftOf(stage);
    expect(drift.toSorted()).toEqual([
      'pending inet filter admin tcp dport 81 accept',
      'pending inet filter forward ip daddr 192.168.122.10 tcp dport 22 accept comment "ssh to the first guest"',
      'pending inet filter set banned',
      'pending ip6 edge delete table ip6 edge',
    ]);
    await nftFlushRuleset(hypervisor);
    await guard.idle();
    await expectStands(stage, wanted, libvirt, 'a wipe with edits pending');
    expect(await driftOf(stage)).toEqual(drift);
  });

  it('what packets and time do in sets is no drift', async () => {
    const { hypervisor, guard } = stage;
    const mark = guard.logMark();
    await nft('add element inet filter seen { 192.0.2.1 }');
    await hypervisor.outside.sh("bash -c 'echo x > /dev/udp/198.51.100.1/9999'");
    const elements = await hypervisor.sh('nft list set inet filter seen');
    expect(elements).toContain('192.0.2.1 ');
    expect(elements).toContain('198.51.100.2 ');
    await guard.idle();
    expect(await driftOf(stage)).toEqual([]);
    await nft('add element inet filter short { 192.0.2.2 timeout 2s }');
    await guard.idle();
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    await verb(hypervisor, 'mend', '--mode', 'merge');
    expect(await driftOf(stage)).toEqual([]);
    expect(guard.logSince(mark).filter((line) => /mended|lost/.test(line))).toEqual([]);
    await expectStands(stage, users, libvirt, 'dynamic elements');
  });

  it('`nft flush chain`: the chain is back', async () => {
    await nft('flush chain inet filter input');
    const ms = await msUntilTable(stage.hypervisor, 'inet filter', users.native['inet filter']!);
    report(`native: a flushed chain is back in ${ms} ms`);
    expect(ms).toBeLessThan(4_000);
  });
});

const statusText = async (): Promise<string> => (await mendwall(stage.hypervisor, 'status')).stdout;

async function handleOf(key: string, part: string): Promise<string> {
  const listed = await stage.hypervisor.sh(`nft -a list table ${key}`);
  const line = listed.split('\n').find((each) => each.includes(part)) ?? '';
  return /# handle (\d+)$/.exec(line)?.[1] ?? ''; // tcp dport 22 accept # handle 14
}

describe('libvirt', () => {
  it.each([
    ['restarts', restartLibvirtd],
    ['gets SIGHUP', reloadLibvirtd],
    ['has its network destroyed and started', restartNetwork],
  ] as const)("%s: nothing of the user's is touched, nothing is mended", async (_, run) => {
    const { hypervisor, guard } = stage;
    // What time does to the elements of sets is not asked for.
    const handlesNow = async (): Promise<string> =>
      (await hypervisor.sh('nft -s -a list table inet filter')).replaceAll(/elements = \{[^}]*\}/g, '');
    const [mark, handles] = [guard.logMark(), await handlesNow()];
    await run(hypervisor);
    await hypervisor.libvirtd.quiet();
    await guard.idle();
    await expectStands(stage, users, libvirt, 'libvirt alone');
    expect(await handlesNow()).toBe(handles);
    expect(
      guard.logSince(mark).filter((line) => /mended|would|lost|asked libvirt|^(?:warning|error)/.test(line)),
    ).toEqual([]);
  });

  it("shows a rule of the user's in its table as `shadowed`, which mendwall neither moves nor deletes", async () => {
    const { hypervisor, guard } = stage;
    await hypervisor.sh('nft add rule ip libvirt_network guest_input oif virbr0 tcp dport 22 accept');
    const added = (await libvirtRules(hypervisor)).length;
    await hypervisor.libvirtd.restart();
    await hypervisor.libvirtd.quiet();
    await guard.idle();
    expect((await driftOf(stage)).filter((each) => each.startsWith('shadowed'))).toEqual([
      'shadowed ip libvirt_network guest_input oif "virbr0" tcp dport 22 accept',
    ]);
    expect(await libvirtRules(hypervisor)).toHaveLength(added);
    const handle = await handleOf('ip libvirt_network', 'tcp dport 22 accept');
    await nft(`delete rule ip libvirt_network guest_input handle ${handle}`);
  });
});

describe('what cannot be loaded', () => {
  it('a rule for an interface that is gone waits, the rest stands, and it is back with the interface', async () => {
    const { hypervisor, guard } = stage;
    await hypervisor.sh('ip link add vlan7 type bridge');
    await nft('add rule inet filter admin iif vlan7 drop');
    await guard.idle();
    const whole = await standing(hypervisor);
    await hypervisor.sh('ip link del vlan7; nft flush ruleset');
    await guard.idle();
    const without = whole.native['inet filter']!.replace('\t\tiif "vlan7" drop\n', '');
    await expectStands(
      stage,
      { ...whole, native: { ...whole.native, 'inet filter': without } },
      libvirt,
      'a dead interface',
    );
    expect(await driftOf(stage)).toContain('waiting inet filter admin iif "vlan7" drop');
    await hypervisor.sh('ip link add vlan7 type bridge; nft add table ip later; nft delete table ip later');
    await guard.idle();
    await expectStands(stage, whole, libvirt, 'the interface is back');
    // A rule for a dead interface makes its table one that is never written: it goes first.
    await verb(hypervisor, 'restore', first, '--yes');
    await hypervisor.sh('ip link del vlan7');
  });

  it("a native rule in iptables' table: `unreadable`, with the rule; the native tables are still mended", async () => {
    const { hypervisor, guard } = stage;
    await nft('add rule ip filter INPUT tcp dport { 80, 443 } accept');
    await guard.idle();
    expect(await statusText()).toMatch(/unreadable.*tcp dport \{ 80, 443 \} accept/);
    await nft('flush chain inet filter input');
    await msUntilTable(hypervisor, 'inet filter', users.native['inet filter']!);
    await nft(`delete rule ip filter INPUT handle ${await handleOf('ip filter', '443')}`);
    await guard.idle();
    expect(await driftOf(stage)).toEqual([]);
  });
});

describe('IPv6 alone wiped', () => {
  it('is back like IPv4, and neighbour discovery and router advertisements reach the guest', async () => {
    const { hypervisor, guard } = stage;
    await hypervisor.sh('ip6tables -F; nft flush table ip6 edge; nft delete table ip6 libvirt_network');
    await guard.idle();
    await expectStands(stage, users, libvirt, 'a wipe of IPv6');
    await expectNeighbourDiscovery(hypervisor);
    expect(await driftOf(stage)).toEqual([]);
  });
});

describe('the command line', () => {
  it('diff, snapshot, restore and accept hold native tables', async () => {
    const { hypervisor, guard } = stage;
    expect(await mendwall(hypervisor, 'diff')).toMatchObject({ exitCode: 0, stdout: '' });
    await nft('add rule inet filter admin tcp dport 81 accept');
    await guard.idle();
    const diff = await mendwall(hypervisor, 'diff');
    expect(diff.exitCode).toBe(1);
    expect(diff.stdout).toMatch(/^\+\t\ttcp dport 81 accept$/m);
    await verb(hypervisor, 'snapshot', '-m', 'with 81', '--yes');
    expect((await mendwall(hypervisor, 'diff')).exitCode).toBe(0);
    expect(await verb(hypervisor, 'snapshot', 'show')).toContain('tcp dport 81 accept');
    const mark = guard.logMark();
    const loaded = await load(OTHER);
    await guard.idle();
    await expectStands(stage, loaded, libvirt, 'a foreign load');
    const accepted = await verb(hypervisor, 'accept', '--yes');
    const stands = await standing(hypervisor);
    expect(stands, [accepted, ...guard.logSince(mark)].join('\n')).toEqual(loaded);
    expect((await mendwall(hypervisor, 'diff')).exitCode).toBe(0);
  });
});
