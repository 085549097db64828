// What a process's name, command line and parents tell: a known loader of rule files, or a program known as a neighbour. Pure.
// Guarantees: every answer names its evidence; no answer without one. A person's shell below a daemon is not that daemon, and
// libvirt's hook scripts are the admin's: so for most neighbours only the author itself and its parent count.

import { basename } from 'node:path/posix';
import type { Author } from '../events/types.ts';
import { nameOf } from './author.ts';

/** `name` is the loader's unit, program or file, or the neighbour's owner id (file name in src/owners). */
export interface AuthorKind {
  readonly name: string;
  /** For people: `parent libvirtd pid 812`. */
  readonly evidence: string;
}

type Process = Author['parents'][number];

/** Units and programs that load the admin's rule files at boot or at his command. */
const LOADER_UNITS = new Set([
  'iptables.service', // RHEL, Arch, openSUSE
  'ip6tables.service',
  'netfilter-persistent.service', // Debian
  'nftables.service',
  'ferm.service',
  'firehol.service',
]);
const LOADER_PROGRAMS = new Set([
  'iptables.init', // RHEL: /usr/libexec/iptables/iptables.init
  'ip6tables.init',
  'netfilter-persistent',
  'iptables-apply',
  'ip6tables-apply',
  'ferm',
  'firehol',
]);
/** What such a loader reads, when somebody runs iptables-restore or nft on it by hand, in ifupdown or rc.local. */
const BOOT_FILES = [
  '/etc/iptables/rules.v4',
  '/etc/iptables/rules.v6',
  '/etc/sysconfig/iptables',
  '/etc/sysconfig/ip6tables',
  '/etc/iptables/iptables.rules',
  '/etc/iptables/ip6tables.rules',
  '/etc/iptables.rules',
  '/etc/iptables.up.rules',
  '/etc/nftables.conf',
  '/etc/sysconfig/nftables.conf',
];

interface Habit {
  readonly owner: string;
  readonly programs: RegExp;
  /** Some argument holds this; for helpers that several programs share. */
  readonly argument?: string;
  /** How far up: 1 = the author and its parent. */
  readonly reach: number;
}

/** From the programs' own command runners: who forks iptables itself, and who does it through sudo, a shell or a helper. */
const HABITS: readonly Habit[] = [
  { owner: 'libvirt', programs: /^(libvirtd|virtnetworkd|virtnwfilterd)$/, reach: 1 }, // libvirtd
  { owner: 'firewalld', programs: /^firewalld$/, reach: 1 }, // python3 /usr/sbin/firewalld
  { owner: 'docker', programs: /^dockerd(-current|-ce)?$/, reach: 1 }, // dockerd
  { owner: 'podman', programs: /^netavark$/, reach: 1 }, // netavark
  { owner: 'cni', programs: /^(portmap|firewall|bridge|ptp)$/, argument: '/cni/', reach: 1 }, // /opt/cni/bin/portmap
  { owner: 'openstack-neutron', programs: /^neutron-/, reach: 4 }, // python3 /usr/bin/neutron-rootwrap ...
  { owner: 'openstack-neutron', programs: /^privsep-helper$/, argument: '/neutron', reach: 4 }, // ... --config-file /etc/neutron/neutron.conf
  { owner: 'openstack-nova', programs: /^nova-/, reach: 4 }, // python3 /usr/bin/nova-network
  { owner: 'openstack-nova', programs: /^privsep-helper$/, argument: '/nova', reach: 4 }, // ... --config-file /etc/nova/nova.conf
  { owner: 'fail2ban', programs: /^fail2ban-server$/, reach: 2 }, // fail2ban-server runs `sh -c "iptables ..."`
  { owner: 'ufw', programs: /^(ufw|ufw-init)$/, reach: 2 }, // python3 /usr/sbin/ufw reload
  { owner: 'xen', programs: /^vif-(bridge|route|nat|openvswitch)$/, reach: 1 }, // /etc/xen/scripts/vif-bridge online
  { owner: 'shorewall', programs: /^shorewall6?(-lite)?$/, reach: 4 }, // /sbin/shorewall start
  { owner: 'shorewall', programs: /^\.?(firewall|start|restart)$/, argument: '/shorewall', reach: 4 }, // sh /var/lib/shorewall/firewall start
];

/** The loader of rule files that did it, as far as it could be read; undefined for a program run by hand on another file. */
export function loaderOf(author: Author): AuthorKind | undefined {
  if (author.unit !== undefined && LOADER_UNITS.has(author.unit)) {
    return { name: author.unit, evidence: `runs in ${author.unit}` };
  }
  for (const [depth, process] of processesOf(author).entries()) {
    const program = programsOf(process).find((name) => LOADER_PROGRAMS.has(name));
    if (program !== undefined) return { name: program, evidence: placeOf(program, process, depth) };
    const file = depth === 0 || isCommandShell(process) ? bootFileOf(process) : undefined;
    if (file !== undefined) return { name: file, evidence: placeOf(nameOf(process), process, depth) };
  }
  return undefined;
}

/** The neighbour whose program did it, as far as it could be read. */
export function neighbourOf(author: Author): AuthorKind | undefined {
  for (const [depth, process] of processesOf(author).entries()) {
    for (const habit of HABITS) {
      const program = depth <= habit.reach ? programOf(habit, process) : undefined;
      if (program !== undefined) return { name: habit.owner, evidence: placeOf(program, process, depth) };
    }
  }
  return undefined;
}

const processesOf = (author: Author): Process[] => [{ ...author, cmdline: author.cmdline ?? [] }, ...author.parents];

function programOf(habit: Habit, process: Process): string | undefined {
  const { argument } = habit;
  if (argument !== undefined && !process.cmdline.some((word) => word.includes(argument))) return undefined;
  return programsOf(process).find((name) => habit.programs.test(name));
}

/** The names a process goes by: `python3 /usr/sbin/firewalld --nofork` -> python3, firewalld. */
function programsOf(process: Process): string[] {
  const [file = '', ...rest] = process.cmdline;
  const hasScript = isInterpreter(file) && !isCommandShell(process);
  const script = hasScript ? rest.find((word) => !word.startsWith('-')) : undefined;
  return [nameOf(process), file, ...(script === undefined ? [] : [script])].map((name) => basename(name));
}

// Matches `/usr/bin/python3.11`, `/bin/sh`, `-bash`.
const isInterpreter = (file: string): boolean => /^(.*\/)?-?(python[\d.]*|perl|ruby|sh|bash|dash)$/.test(file);

/** `sh -c "iptables-restore < /etc/iptables.rules"`: its argument is no script's name, but says what was run. */
const isCommandShell = ({ cmdline: [file = '', option = ''] }: Process): boolean =>
  isInterpreter(file) && /^-[a-z]*c$/.test(option); // -c, -ec

/** The boot file that some argument names as a word of its own: `/etc/iptables.rules`, not `/etc/iptables.rules.old`. */
function bootFileOf(process: Process): string | undefined {
  const words = process.cmdline.flatMap((argument) => argument.split(/[\s<>;&|'"]+/)); // `iptables-restore < /etc/iptables.rules; true`
  return BOOT_FILES.find((file) => words.includes(file));
}

function placeOf(program: string, { pid }: Process, depth: number): string {
  const relation = ['', 'parent '][depth] ?? 'ancestor ';
  return `${relation}${program} pid ${pid}`;
}
