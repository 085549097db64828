// Runs one deed under a guard and holds the outcome against the yardstick.

import { expect } from 'vitest';

import { monoMs } from './agents.ts';
import type { Deed } from './deeds.ts';
import type { GuardProcess } from './guard-process.ts';
import type { Hypervisor } from './host.ts';
import { ALL_TRAFFIC, outages, startProber, trafficWithin } from './probes.ts';
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
  return wallOf(await hypervisor.save());
}

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
  await guard.idle();
  const samples = await prober.stop();
  const gapMs = Object.fromEntries(
    outages(samples, startedMs).map((outage) => [outage.kind, Math.round(outage.gapMs)]),
  );
  await expectSound(stage, usersAfter(deed.ending, before, asLeft), deed.name);
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
 * The rules are whole and all four kinds of traffic flow. An event may come late (then the guard only seemed to be at rest),
 * so a fault counts when it lasts. `what` stands in the failure with the guard's last lines.
 */
export async function expectSound(stage: Stage, users: Wall, what: string): Promise<void> {
  const { hypervisor, guard } = stage;
  const networks = await activeNetworks(hypervisor);
  let faults = faultsOf(await wallNow(hypervisor), users, networks);
  for (const endMs = performance.now() + LATE_MS; faults.length > 0 && performance.now() < endMs;) {
    await guard.idle();
    faults = faultsOf(await wallNow(hypervisor), users, networks);
  }
  const log = guard.logSince(Math.max(0, guard.logMark() - 15));
  expect(faults, `after "${what}"\n${faults.join('\n')}\n${log.join('\n')}`).toEqual([]);
  expect(await trafficWithin(hypervisor, 3_000), what).toEqual(ALL_TRAFFIC);
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
