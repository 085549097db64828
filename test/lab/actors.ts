// What the admin, libvirt and accidents do to a hypervisor's firewall. Every function resolves when the offending
// command has ended; none repairs anything or waits for a guard.

import type { Hypervisor } from './host.ts';
import { furtherNetwork } from './networks.ts';
import { USER_NATIVE } from './user-native.ts';
import { editionsFor, rulesOf, type RulesFiles, USER_RULES } from './user-rules.ts';

/**
 * The sound state a guard starts from: the admin's rules loaded, libvirt's jumps put back by libvirt, the port forward
 * moved above libvirt's REJECT by hand. All four kinds of traffic flow. Where libvirt has its nftables backend: the admin's
 * rules on both engines, and no port forward passes libvirt's reject.
 */
export async function installUserRules(
  hypervisor: Hypervisor,
  files: RulesFiles = editionsFor(hypervisor.backend).first,
): Promise<void> {
  await restoreFile(hypervisor, files);
  if (hypervisor.backend === 'nftables') return void (await hypervisor.sh('nft -f -', { input: USER_NATIVE }));
  await hypervisor.reloaded();
  await hypervisor.libvirtd.quiet(600);
  await raisePortForward(hypervisor, files);
}

/** Moves the first FORWARD rule of the file to the top of the live chain. */
export async function raisePortForward(hypervisor: Hypervisor, files: RulesFiles = USER_RULES): Promise<void> {
  const accept = rulesOf(files.ip, 'FORWARD')[0]!.replace('-A FORWARD ', '');
  await hypervisor.sh(`iptables -w -D FORWARD ${accept}; iptables -w -I FORWARD 1 ${accept}`);
}

/** `iptables-restore < file; ip6tables-restore < file`, as the distributions' services do at boot and on reload. */
export async function restoreFile(
  hypervisor: Hypervisor,
  files: RulesFiles = editionsFor(hypervisor.backend).first,
): Promise<void> {
  await hypervisor.sh('iptables-restore', { input: files.ip });
  await hypervisor.sh('ip6tables-restore', { input: files.ip6 });
}

/** A dump as `iptables-save > file` makes it: the neighbours' rules of that moment are in it. */
export async function staleDump(hypervisor: Hypervisor): Promise<RulesFiles> {
  const { ip, ip6 } = await hypervisor.save();
  return { ip, ip6 };
}

export interface ScriptOptions {
  /** Sleep between two commands. Default 0. */
  readonly pauseMs?: number;
  /** Target of the last `-P FORWARD`. Default ACCEPT. */
  readonly forwardPolicy?: 'ACCEPT' | 'DROP';
}

/** The admin's firewall script: `set -e`, flush everything, build it up again, one command a rule. */
export async function runFirewallScript(
  hypervisor: Hypervisor,
  files: RulesFiles = editionsFor(hypervisor.backend).first,
  options: ScriptOptions = {},
): Promise<void> {
  const pause = options.pauseMs === undefined ? '' : `sleep ${options.pauseMs / 1000}`;
  hypervisor.writeFile('/run/lab/firewall.sh', ['set -e', ...firewallCommands(files, options)].join(`\n${pause}\n`));
  await hypervisor.sh('sh /run/lab/firewall.sh');
}

/** The commands of that script. */
export function firewallCommands(files: RulesFiles, options: ScriptOptions = {}): string[] {
  return [
    ...toolCommands('iptables', files.ip, ['filter', 'nat', 'mangle'], options),
    ...toolCommands('ip6tables', files.ip6, ['filter'], options),
  ];
}

function toolCommands(tool: string, text: string, tables: readonly string[], options: ScriptOptions): string[] {
  const flush = tables.flatMap((table) => [`${tool} -w -t ${table} -F`, `${tool} -w -t ${table} -X`]);
  const policies = [`INPUT ACCEPT`, `FORWARD ${options.forwardPolicy ?? 'ACCEPT'}`, `OUTPUT ACCEPT`];
  return [...flush, ...buildCommands(tool, text), ...policies.map((policy) => `${tool} -w -P ${policy}`)];
}

/** `*nat` names the table of what follows, `:ADMIN -` is a chain to make, `-A` a rule. */
function buildCommands(tool: string, text: string): string[] {
  const commands: string[] = [];
  let table = '';
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1);
    const chain = /^:(\S+) -/.exec(line)?.[1]; // :ADMIN - [0:0]
    if (chain !== undefined) commands.push(`${tool} -w -t ${table} -N ${chain}`);
    if (line.startsWith('-A')) commands.push(`${tool} -w -t ${table} ${line}`);
  }
  return commands;
}

/** `iptables -F`: the filter table of IPv4 only. */
export async function flush(hypervisor: Hypervisor): Promise<void> {
  await hypervisor.sh('iptables -w -F');
}

export async function flushAndDeleteChains(hypervisor: Hypervisor): Promise<void> {
  await hypervisor.sh('iptables -w -F; iptables -w -X');
}

export async function flushIp6(hypervisor: Hypervisor): Promise<void> {
  await hypervisor.sh('ip6tables -w -F');
}

/** All tables of all families, in one transaction; nothing to the legacy engine. */
export async function nftFlushRuleset(hypervisor: Hypervisor): Promise<void> {
  await hypervisor.sh('nft flush ruleset');
}

/** One command with `iptables -w` before it, e.g. `-A INPUT -p tcp --dport 80 -j ACCEPT`. */
export async function iptables(hypervisor: Hypervisor, command: string): Promise<void> {
  await hypervisor.sh(`iptables -w ${command}`);
}

/** Resolves when libvirt's rewrite is over, as `restart` does. */
export async function restartLibvirtd(hypervisor: Hypervisor): Promise<void> {
  await hypervisor.libvirtd.restart();
}

export async function reloadLibvirtd(hypervisor: Hypervisor): Promise<void> {
  await hypervisor.libvirtd.sighup();
  await hypervisor.libvirtd.quiet();
}

/** firewalld's signal, faked; resolves when libvirt's rewrite is over. */
export async function firewalldReloaded(hypervisor: Hypervisor): Promise<void> {
  await hypervisor.reloaded();
  await hypervisor.libvirtd.quiet();
}

/** `virsh net-destroy default; virsh net-start default`, and the guests' cables plugged into the new bridge. */
export async function restartNetwork(hypervisor: Hypervisor, name = 'default'): Promise<void> {
  await hypervisor.destroyNetwork(name);
  await hypervisor.startNetwork(name);
}

/** Two further NAT networks come up; those of an earlier call go first. */
export async function secondAndThirdNetwork(hypervisor: Hypervisor): Promise<void> {
  const known = (await hypervisor.virsh('net-list', '--all', '--name')).split('\n');
  for (const network of [furtherNetwork(1), furtherNetwork(2)]) {
    if (known.includes(network.name)) {
      await hypervisor.destroyNetwork(network.name);
      await hypervisor.virsh('net-undefine', network.name);
    }
    await hypervisor.defineNetwork(network);
  }
}

/** A real QEMU guest starts and is stopped; with `filter` libvirt writes nwfilter rules for it. */
export async function startAndStopGuest(hypervisor: Hypervisor, filter?: string): Promise<void> {
  await hypervisor.startTcgGuest('scenario', undefined, filter);
  await hypervisor.stopTcgGuest('scenario');
}

/** `nft -f` of a file that begins with `flush ruleset`, as nftables.service loads it. */
export async function loadNative(hypervisor: Hypervisor, text: string = USER_NATIVE): Promise<void> {
  await hypervisor.sh('nft -f -', { input: `flush ruleset\n${text}` });
}

/** One command of nft, e.g. `add rule inet filter admin tcp dport 81 accept`. */
export async function nft(hypervisor: Hypervisor, command: string): Promise<void> {
  await hypervisor.sh('nft -f -', { input: command });
}
