// Runs one deed under a guard and holds the outcome against the yardstick.

import { expect } from 'vitest';

import { monoMs } from './agents.ts';
import type { Deed } from './deeds.ts';
import type { GuardProcess } from './guard-process.ts';
import type { Hypervisor } from './host.ts';
import { nativePlaces, recordFaults } from './native-stage.ts';
import { ALL_TRAFFIC, GUEST_TRAFFIC, outages, startProber, trafficWithin } from './probes.ts';
import type { Network } from '../../src/ruleset/network.ts';
import { activeNetworks, faultsOf, usersAfter, usersOf, wallOf, type Wall } from './yardstick.ts';

const LATE_MS = 4_000;

/** A hypervisor with a guest, the admin's rules, and a guard in merge mode. */
export interface Stage {
  readonly hypervisor: Hypervisor;
  readonly guard: GuardProcess;
}

/** For how long each kind of traffic was gone, in ms, and how long the deed itself took. */
export interface Figures {
  readonly deed: string;
  readonly tookMs: number;
  readonly gapMs: Readonly<Record<string, number>>;
}

export async function wallNow(hypervisor: Hypervisor): Promise<Wall> {
  const wall = wallOf(await hypervisor.save());
  if (hypervisor.backend === 'iptables') return wall;
  const native = await nativePlaces(hypervisor);
  return {
    rules: new Map([...wall.rules, ...native]),
    policies: new Map([...wall.policies, ...[...native.keys()].map((place) => [place, '-'] as const)]),
  };
}

/** Everything that is wrong now, in words; with the nftables backend also where libvirt's own record differs from its table. */
async function faultsNow({ hypervisor }: Stage, users: Wall, networks: readonly Network[]): Promise<string[]> {
  const faults = faultsOf(await wallNow(hypervisor), users, networks, hypervisor.backend);
  return hypervisor.backend === 'iptables' ? faults : [...faults, ...(await recordFaults(hypervisor))];
}

/** A fifth repair of native tables within two minutes, and each one after it, waits longer: two guards must not fight. */
const idle = ({ hypervisor, guard }: Stage): Promise<void> =>
  guard.idle(hypervisor.backend === 'nftables' ? 90_000 : undefined);

/** Does the deed, waits until the guard is at rest, and expects rules and traffic as the deed must end. */
export async function checkDeed(stage: Stage, deed: Deed): Promise<Figures> {
  const { hypervisor, guard } = stage;
  const before = await wallNow(hypervisor);
  const { passes } = await guard.status();
  const prober = startProber(hypervisor);
  const startedMs = monoMs();
  await deed.run(hypervisor);
  const endedMs = monoMs();
  const asLeft = await wallNow(hypervisor);
  await untilNoticed(stage, passes);
  await idle(stage);
  const samples = await prober.stop();
  const gapMs = Object.fromEntries(
    outages(samples, startedMs).map((outage) => [outage.kind, Math.round(outage.gapMs)]),
  );
  await expectSound(stage, usersAfter(deed.ending, before, asLeft, hypervisor.backend), deed.name);
  return { deed: deed.name, tookMs: Math.round(endedMs - startedMs), gapMs };
}

/** The legacy engine tells nobody: its change is found by a read, some 100 ms later. (A deed may change nothing at all.) */
async function untilNoticed({ hypervisor, guard }: Stage, passesBefore: number): Promise<void> {
  const endMs = performance.now() + (hypervisor.engine === 'legacy' ? 1_000 : 0);
  while (performance.now() < endMs && (await guard.status()).passes === passesBefore) {
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

/**
 * The rules are whole and traffic flows, all four kinds where libvirt lets port forwards by. An event may come late (then the
 * guard only seemed to be at rest), so a fault counts when it lasts. `what` stands in the failure with the guard's last lines.
 */
export async function expectSound(stage: Stage, users: Wall, what: string): Promise<void> {
  const { hypervisor, guard } = stage;
  const networks = await activeNetworks(hypervisor);
  let faults = await faultsNow(stage, users, networks);
  for (const endMs = performance.now() + LATE_MS; faults.length > 0 && performance.now() < endMs;) {
    await idle(stage);
    faults = await faultsNow(stage, users, networks);
  }
  const log = guard.logSince(Math.max(0, guard.logMark() - 15));
  expect(faults, `after "${what}"\n${faults.join('\n')}\n${log.join('\n')}`).toEqual([]);
  const wanted = hypervisor.backend === 'iptables' ? ALL_TRAFFIC : GUEST_TRAFFIC;
  expect(await trafficWithin(hypervisor, 3_000, undefined, wanted), what).toEqual(wanted);
}

/** libvirt itself still works: each network down and up, a restart, no error in its log, nothing lost or doubled. */
export async function expectLibvirtSound(stage: Stage): Promise<void> {
  const { hypervisor, guard } = stage;
  const users = usersOf(await wallNow(hypervisor));
  const mark = hypervisor.libvirtd.logMark();
  for (const { name } of await activeNetworks(hypervisor)) {
    await hypervisor.destroyNetwork(name);
    await hypervisor.startNetwork(name);
  }
  await hypervisor.libvirtd.restart();
  await hypervisor.libvirtd.quiet();
  await guard.idle();
  const errors = hypervisor.libvirtd
    .logSince(mark)
    .split('\n')
    // ... : error : virNetworkStart:...; not a client of libvirt-dbus's that asks for drivers this libvirtd does not have, and ends.
    .filter((line) =>
      / error : (?!udevGetDMIData|virCommandWait.*dmidecode|virConnectOpenInternal.*no connection driver|virNetSocketReadWire.*End of file)/.test(
        line,
      ),
    );
  expect(errors).toEqual([]);
  await expectSound(stage, users, 'each network restarted, then libvirtd');
}
