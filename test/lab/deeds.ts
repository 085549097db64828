// The list of deeds that the scenario tests go through, with how each must end by the rule "whose voice is it?".

import {
  firewalldReloaded,
  flush,
  flushAndDeleteChains,
  flushIp6,
  iptables,
  loadNative,
  nft,
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
import { CHANGED_NATIVE } from './user-native.ts';
import { editionsFor } from './user-rules.ts';

/**
 * The user's rules after the deed and the guard's work: `before` as they were before it, `user-rules` and
 * `changed-user-rules` iptables' as in those files, `as-left` exactly as the deed left them (an edit by hand is the user's word),
 * `native-as-left` so in native tables, and iptables' as before.
 */
export type Ending = 'before' | 'user-rules' | 'changed-user-rules' | 'as-left' | 'native-as-left';

export interface Deed {
  readonly name: string;
  readonly ending: Ending;
  readonly engines: readonly Engine[];
  /** Only where the user has native tables, and libvirt its nftables backend. */
  readonly native?: true;
  run(hypervisor: Hypervisor): Promise<void>;
}

const BOTH: readonly Engine[] = ['nft', 'legacy'];

function deed(name: string, ending: Ending, run: Deed['run'], engines: readonly Engine[] = BOTH): Deed {
  return { name, ending, engines, run };
}

function nativeDeed(name: string, ending: Ending, run: Deed['run']): Deed {
  return { ...deed(name, ending, run, ['nft']), native: true };
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
    restoreFile(hypervisor, editionsFor(hypervisor.backend).changed),
  ),
  deed('iptables-restore of an empty file', 'before', (hypervisor) =>
    restoreFile(hypervisor, editionsFor(hypervisor.backend).empty),
  ),
  deed('iptables-restore of a stale dump', 'before', restoreStaleDump),
  deed('the firewall script, same rules', 'user-rules', (hypervisor) => runFirewallScript(hypervisor)),
  deed('the firewall script, changed rules', 'changed-user-rules', (hypervisor) =>
    runFirewallScript(hypervisor, editionsFor(hypervisor.backend).changed),
  ),
  deed('the firewall script with pauses of 30 ms', 'user-rules', (hypervisor) =>
    runFirewallScript(hypervisor, undefined, { pauseMs: 30 }),
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

const NATIVE_RULE = 'ip saddr 203.0.113.9 counter drop';

/** In the user's native tables, and in libvirt's. */
const NATIVE_DEEDS: readonly Deed[] = [
  nativeDeed('nft -f of the same file', 'native-as-left', (hypervisor) => loadNative(hypervisor)),
  nativeDeed('nft -f of a changed file', 'native-as-left', (hypervisor) => loadNative(hypervisor, CHANGED_NATIVE)),
  nativeDeed('nft flush table', 'before', (hypervisor) => nft(hypervisor, 'flush table inet filter')),
  nativeDeed('nft flush chain', 'before', (hypervisor) => nft(hypervisor, 'flush chain inet filter input')),
  nativeDeed('nft delete table of libvirt', 'before', (hypervisor) =>
    nft(hypervisor, 'delete table ip libvirt_network; delete table ip6 libvirt_network'),
  ),
  nativeDeed('nft add rule', 'as-left', (hypervisor) => nft(hypervisor, `add rule inet filter admin ${NATIVE_RULE}`)),
  nativeDeed('nft insert rule', 'as-left', (hypervisor) =>
    nft(hypervisor, `insert rule ip edge prerouting ${NATIVE_RULE}`),
  ),
  nativeDeed('nft delete rule', 'as-left', deleteNativeRule),
  nativeDeed('nft add element', 'as-left', (hypervisor) =>
    nft(hypervisor, 'add element inet filter banned { 203.0.113.200 }'),
  ),
];

/** Every deed that is known on such a host, in an order in which they can follow one another. */
export function deedsFor({ engine, backend }: Pick<Hypervisor, 'engine' | 'backend'>): readonly Deed[] {
  const all = [...NEIGHBOUR_DEEDS, ...LOAD_DEEDS, ...WIPE_DEEDS, ...SINGLE_DEEDS, ...NATIVE_DEEDS];
  return all.filter(({ engines, native }) => engines.includes(engine) && (native !== true || backend === 'nftables'));
}

/** The last rule of `inet filter admin`. */
async function deleteNativeRule(hypervisor: Hypervisor): Promise<void> {
  const listed = await hypervisor.sh('nft -a list chain inet filter admin');
  const handle = /.*# handle (\d+)\n\t\}/.exec(listed)?.[1]; // tcp dport 9100 drop # handle 14
  await nft(hypervisor, `delete rule inet filter admin handle ${handle}`);
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
