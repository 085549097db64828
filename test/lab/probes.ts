// Does a guest's traffic flow? One-shot answers, and a prober that measures for how long it did not.

import { PROBE_KINDS, type ProbeKind, type Sample } from './agents.ts';
import type { Guest } from './guests.ts';
import type { Hypervisor } from './host.ts';
import { HYPERVISOR_ADDRESS, OUTSIDE_ADDRESS } from './wiring.ts';

/** What a guest can do; `portForwardIn` is outside -> hypervisor:8022 -> guest:22 and needs the user's DNAT rule. */
export type Traffic = Readonly<Record<ProbeKind, boolean>>;

/** The outage of one kind of traffic. Times are ms after the instant given to `outages`. */
export interface Outage {
  readonly kind: ProbeKind;
  readonly sent: number;
  readonly lost: number;
  /** Undefined when nothing was lost. */
  readonly firstLostMs: number | undefined;
  readonly lastLostMs: number | undefined;
  /** Sum over all runs of lost probes: from the first lost one of a run to the next one that was answered. */
  readonly gapMs: number;
  /** False when the last probe was lost: the gap had not ended. */
  readonly backAtEnd: boolean;
}

/** dnsmasq offers an address to a DISCOVER. */
export async function dhcp(guest: Guest): Promise<boolean> {
  return (await guest.agent.once('dhcp', '')).ok;
}

/** dnsmasq answers a question at the guest's gateway. */
export async function dns(guest: Guest): Promise<boolean> {
  return (await guest.agent.once('dns', `${guest.network.subnet}.1`)).ok;
}

/** A UDP packet to the outside host arrives there with the hypervisor's address, and its answer comes back. */
export async function natOut(guest: Guest): Promise<boolean> {
  return (await guest.agent.once('natOut', OUTSIDE_ADDRESS)).ok;
}

/** A TCP connection from outside to the hypervisor's port 8022 reaches the guest's port 22. */
export async function portForwardIn(hypervisor: Hypervisor): Promise<boolean> {
  return (await hypervisor.outsideAgent.once('portForwardIn', HYPERVISOR_ADDRESS)).ok;
}

/** All four kinds at once, for the first guest or the one given. */
export async function traffic(hypervisor: Hypervisor, guest: Guest = hypervisor.guest): Promise<Traffic> {
  const [dhcpOk, dnsOk, natOutOk, portForwardInOk] = await Promise.all([
    dhcp(guest),
    dns(guest),
    natOut(guest),
    portForwardIn(hypervisor),
  ]);
  return { dhcp: dhcpOk, dns: dnsOk, natOut: natOutOk, portForwardIn: portForwardInOk };
}

export const ALL_TRAFFIC: Traffic = { dhcp: true, dns: true, natOut: true, portForwardIn: true };
/** Beside libvirt's nftables backend, whose reject no port forward passes. */
export const GUEST_TRAFFIC: Traffic = { ...ALL_TRAFFIC, portForwardIn: false };
export const NO_TRAFFIC: Traffic = { dhcp: false, dns: false, natOut: false, portForwardIn: false };

/** Asks again until traffic is as wanted, by default all four kinds, or the time is over; resolves with the last answer. */
export async function trafficWithin(
  hypervisor: Hypervisor,
  timeoutMs: number,
  guest?: Guest,
  wanted: Traffic = ALL_TRAFFIC,
): Promise<Traffic> {
  const endMs = performance.now() + timeoutMs;
  for (;;) {
    const seen = await traffic(hypervisor, guest);
    if (PROBE_KINDS.every((kind) => seen[kind] === wanted[kind]) || performance.now() > endMs) return seen;
  }
}

export interface Prober {
  /** Stops, waits for the last answers, and gives all samples in order of sending. */
  stop(): Promise<readonly Sample[]>;
}

/** DHCP and DNS are answered by one dnsmasq, so they are asked less often. */
const EVERY_MS: Readonly<Record<ProbeKind, number>> = { natOut: 5, portForwardIn: 5, dns: 20, dhcp: 20 };

/** Sends all four kinds over and over; about 15 % of a CPU. */
export function startProber(hypervisor: Hypervisor, guest: Guest = hypervisor.guest): Prober {
  guest.agent.start('dhcp', '', EVERY_MS.dhcp);
  guest.agent.start('dns', `${guest.network.subnet}.1`, EVERY_MS.dns);
  guest.agent.start('natOut', OUTSIDE_ADDRESS, EVERY_MS.natOut);
  hypervisor.outsideAgent.start('portForwardIn', HYPERVISOR_ADDRESS, EVERY_MS.portForwardIn);
  return {
    stop: async () => {
      const parts = await Promise.all([guest.agent.stop(), hypervisor.outsideAgent.stop()]);
      return parts.flat().sort((a, b) => a.sentMs - b.sentMs);
    },
  };
}

/** For each kind: how long it was gone since `sinceMs` (of `monoMs()`). Samples sent before are left out. */
export function outages(samples: readonly Sample[], sinceMs: number): readonly Outage[] {
  const later = samples.filter((sample) => sample.sentMs >= sinceMs);
  return PROBE_KINDS.map((kind) =>
    outageOf(
      kind,
      later.filter((sample) => sample.kind === kind),
      sinceMs,
    ),
  );
}

function outageOf(kind: ProbeKind, samples: readonly Sample[], sinceMs: number): Outage {
  const lost = samples.filter((sample) => !sample.ok);
  const after = (sample: Sample | undefined): number | undefined => sample && sample.sentMs - sinceMs;
  return {
    kind,
    sent: samples.length,
    lost: lost.length,
    firstLostMs: after(lost[0]),
    lastLostMs: after(lost.at(-1)),
    gapMs: totalGapMs(samples),
    backAtEnd: samples.at(-1)?.ok ?? false,
  };
}

function totalGapMs(samples: readonly Sample[]): number {
  let total = 0;
  let goneSinceMs: number | undefined;
  for (const { ok, sentMs } of samples) {
    if (ok && goneSinceMs !== undefined) total += sentMs - goneSinceMs;
    goneSinceMs = ok ? undefined : (goneSinceMs ?? sentMs);
  }
  const last = samples.at(-1);
  return goneSinceMs === undefined || last === undefined ? total : total + last.sentMs - goneSinceMs;
}
