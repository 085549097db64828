// The user's native tables and libvirt's nftables backend under a real guard: what is wiped comes back, what is edited stays.
// Real libvirt 11, real packets. LAB_FULL=1: each wipe ten times, else twice, with ten networks once.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { nftFlushRuleset } from './actors.ts';
import { debian13Root, DEBIAN_13_TIMEOUT_MS } from './debian-13.ts';
import {
  driftOf,
  expectStands,
  libvirtRules,
  msUntilLibvirt,
  msUntilTable,
  type NativeStage,
  recordFaults,
  type Standing,
  standing,
  upNativeStage,
} from './native-stage.ts';
import { report } from './netns-host.ts';
import { DEFAULT_NETWORK, furtherNetwork } from './networks.ts';

const FULL = process.env['LAB_FULL'] === '1';

beforeAll(() => debian13Root(), DEBIAN_13_TIMEOUT_MS);

const networksOf = (count: number): (typeof DEFAULT_NETWORK)[] => [
  DEFAULT_NETWORK,
  ...Array.from({ length: count - 1 }, (_, index) => furtherNetwork(index + 1)),
];

describe.each([1, 3, 10])('`nft flush ruleset` with %i networks', (count) => {
  const TIMES = FULL ? 10 : count === 10 ? 1 : 2;
  let stage: NativeStage;
  let users: Standing;
  let libvirt: string[];
  beforeAll(async () => {
    stage = await upNativeStage(networksOf(count));
    users = await standing(stage.hypervisor);
    libvirt = await libvirtRules(stage.hypervisor);
  });
  afterAll(() => stage?.hypervisor.down());

  it(`${TIMES} times: the user's tables and iptables rules back, libvirt's whole by its own record, nothing twice`, async () => {
    const { hypervisor, guard } = stage;
    expect(await recordFaults(hypervisor)).toEqual([]);
    const bus = hypervisor.spawn('dbus-monitor', ['--system', "interface='org.fedoraproject.FirewallD1'"]);
    await bus.waitFor(/NameAcquired/);
    for (let round = 1; round <= TIMES; round++) {
      await nftFlushRuleset(hypervisor);
      const backMs = await msUntilTable(hypervisor, 'inet filter', users.native['inet filter']!);
      const libvirtMs = (await msUntilLibvirt(hypervisor, libvirt)) + backMs;
      await guard.idle();
      await expectStands(stage, users, libvirt, `wipe ${round}`);
      report(`native: wipe ${round}, ${count} networks: the user's back in ${backMs} ms, libvirt's in ${libvirtMs} ms`);
      expect(await driftOf(stage)).toEqual([]);
    }
    const asked = guard.logSince(0).filter((line) => line.includes('asked libvirt to rebuild'));
    report(`native: ${count} networks: libvirt asked ${asked.length} times in ${TIMES} wipes`);
    expect(asked.length).toBeLessThanOrEqual(3 * TIMES);
    await bus.stop();
    // signal ... sender=:1.7 -> destination=:1.2 ... member=Reloaded; a broadcast goes to (null destination), and reaches Docker.
    const reloaded = bus.lines.filter((line) => line.includes('member=Reloaded'));
    expect(reloaded.length).toBeGreaterThanOrEqual(TIMES);
    expect(reloaded.filter((line) => !/ -> destination=:1\.\d+ /.test(line))).toEqual([]);
  });

  it("afterwards net-destroy takes that network's rules and no other's, and net-start brings them back", async () => {
    const { hypervisor } = stage;
    const { bridge, name, subnet } = networksOf(count).at(-1)!;
    await hypervisor.destroyNetwork(name);
    const isItsOwn = (rule: string): boolean => rule.includes(`"${bridge}"`) || rule.includes(`${subnet}.`);
    expect(await libvirtRules(hypervisor)).toEqual(libvirt.filter((rule) => !isItsOwn(rule)));
    await hypervisor.startNetwork(name);
    await expectStands(stage, users, libvirt, 'net-start');
  });
});
