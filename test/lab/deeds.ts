// The list of deeds that the scenario tests go through, with how each must end by the rule "whose voice is it?".

import {
  firewalldReloaded,
  flush,
  flushAndDeleteChains,
  flushIp6,
  iptables,
  nftFlushRuleset,
  reloadLibvirtd,
  restartLibvirtd,
  restartNetwork,
  restoreFile,
  runFirewallScript,
  secondAndThirdNetwork,
  staleDump,
  startAndStopGuest,
} from './actors.ts';
import type { Engine, Hypervisor } from './host.ts';
import { CHANGED_USER_RULES, EMPTY_RULES, USER_RULES } from './user-rules.ts';

/**
 * The user's rules after the deed and the guard's work: `before` as they were before it, `user-rules` and
 * `changed-user-rules` as in those files, `as-left` exactly as the deed left them (an edit by hand is the user's word).
 */
export type Ending = 'before' | 'user-rules' | 'changed-user-rules' | 'as-left';

export interface Deed {
  readonly name: string;
  readonly ending: Ending;
  readonly engines: readonly Engine[];
  run(hypervisor: Hypervisor): Promise<void>;
}

const BOTH: readonly Engine[] = ['nft', 'legacy'];

function deed(name: string, ending: Ending, run: Deed['run'], engines: readonly Engine[] = BOTH): Deed {
  return { name, ending, engines, run };
}

const NEIGHBOUR_DEEDS: readonly Deed[] = [
  deed('libvirtd restarts', 'before', restartLibvirtd),
  deed('libvirtd gets SIGHUP', 'before', reloadLibvirtd),
  deed('firewalld says Reloaded', 'before', firewalldReloaded),
  deed('net-destroy and net-start', 'before', (hypervisor) => restartNetwork(hypervisor)),
  deed('a second and a third network start', 'before', secondAndThirdNetwork),
  deed('a guest starts and stops', 'before', (hypervisor) => startAndStopGuest(hypervisor)),
];

const LOAD_DEEDS: readonly Deed[] = [
  deed('iptables-restore of the same file', 'user-rules', (hypervisor) => restoreFile(hypervisor)),
  deed('iptables-restore of a changed file', 'changed-user-rules', (hypervisor) =>
    restoreFile(hypervisor, CHANGED_USER_RULES),
  ),
  deed('iptables-restore of an empty file', 'before', (hypervisor) => restoreFile(hypervisor, EMPTY_RULES)),
  deed('iptables-restore of a stale dump', 'before', restoreStaleDump),
  deed('the firewall script, same rules', 'user-rules', (hypervisor) => runFirewallScript(hypervisor)),
  deed('the firewall script, changed rules', 'changed-user-rules', (hypervisor) =>
    runFirewallScript(hypervisor, CHANGED_USER_RULES),
  ),
  deed('the firewall script with pauses of 30 ms', 'user-rules', (hypervisor) =>
    runFirewallScript(hypervisor, USER_RULES, { pauseMs: 30 }),
  ),
];

const WIPE_DEEDS: readonly Deed[] = [
  deed('iptables -F', 'before', flush),
  deed('iptables -F; iptables -X', 'before', flushAndDeleteChains),
  deed('ip6tables -F', 'before', flushIp6),
  deed('nft flush ruleset', 'before', nftFlushRuleset, ['nft']),
];

const SINGLE_DEEDS: readonly Deed[] = [
  deed('iptables -A', 'as-left', (hypervisor) => iptables(hypervisor, '-A ADMIN -s 203.0.113.9/32 -j DROP')),
  deed('iptables -R', 'as-left', (hypervisor) => iptables(hypervisor, '-R ADMIN 1 -s 198.51.100.78/32 -j DROP')),
  deed('iptables -D', 'as-left', (hypervisor) => iptables(hypervisor, '-D ADMIN 1')),
  deed('iptables -P', 'as-left', (hypervisor) => iptables(hypervisor, '-P FORWARD DROP')),
];

/** Every deed that the engine knows, in an order in which they can follow one another. */
export function deedsFor(engine: Engine): readonly Deed[] {
  const all = [...NEIGHBOUR_DEEDS, ...LOAD_DEEDS, ...WIPE_DEEDS, ...SINGLE_DEEDS];
  return all.filter((one) => one.engines.includes(engine));
}

/** The dump holds the rules of a network that has gone since. */
async function restoreStaleDump(hypervisor: Hypervisor): Promise<void> {
  const network = { name: 'gone', bridge: 'virbr9', subnet: '192.168.209' };
  await hypervisor.defineNetwork(network);
  const dump = await staleDump(hypervisor);
  await hypervisor.destroyNetwork(network.name);
  await hypervisor.virsh('net-undefine', network.name);
  await restoreFile(hypervisor, dump);
}
