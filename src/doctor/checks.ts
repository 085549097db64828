// Every check, in the order of docs/doctor.md. Pure.

import { flushRuleset, staleBootRules } from './boot-checks.ts';
import { engines, incompatibleTables } from './engine-checks.ts';
import { hooksUnheard, libvirtDbus } from './host-checks.ts';
import { libvirtChains, libvirtStale } from './libvirt-checks.ts';
import { bootLoaders, firewalldReload, ufwLockout } from './loader-checks.ts';
import { fail2banUnhooked, neighboursLost, vendorChain } from './neighbour-checks.ts';
import {
  configuration,
  daemon,
  mode,
  paused,
  pendingOld,
  shadowed,
  snapshot,
  trial,
  waiting,
  yourRules,
} from './own-checks.ts';
import { bridgeNetfilter, dockerForward, guestsBlocked, ipv6Open } from './traffic-checks.ts';
import type { Check, Facts, Finding } from './types.ts';

export const CHECKS: readonly Check[] = [
  engines,
  incompatibleTables,
  libvirtChains,
  libvirtStale,
  dockerForward,
  guestsBlocked,
  bridgeNetfilter,
  ipv6Open,
  yourRules,
  shadowed,
  waiting,
  pendingOld,
  neighboursLost,
  fail2banUnhooked,
  ufwLockout,
  vendorChain,
  flushRuleset,
  staleBootRules,
  bootLoaders,
  firewalldReload,
  hooksUnheard,
  libvirtDbus,
  configuration,
  snapshot,
  daemon,
  mode,
  paused,
  trial,
];

export interface NamedFinding extends Finding {
  readonly check: string;
}

/** One or more findings a check. */
export function examine(facts: Facts): readonly NamedFinding[] {
  return CHECKS.flatMap(({ id, judge }) => judge(facts).map((finding) => ({ check: id, ...finding })));
}
