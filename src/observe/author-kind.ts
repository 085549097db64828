// What a process's name, command line and parents tell: a known loader of rule files, or a program known as a neighbour. Pure.
// Guarantees: every answer names its evidence; no answer without one. A person's shell below a daemon is not that daemon, and
// libvirt's hook scripts are the admin's: so for most neighbours only the author itself and its parent count.

import { basename } from 'node:path/posix';
import type { Author } from '../events/types.ts';
import { PROGRAMS } from '../owners/programs.ts';
import type { Program } from '../owners/types.ts';
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
  'arno-iptables-firewall.service',
  'iptables-restore.service', // Gentoo
  'ip6tables-restore.service',
  'ebtables.service', // RHEL
  'arptables.service',
]);
const LOADER_PROGRAMS = new Set([
  'iptables.init', // RHEL: /usr/libexec/iptables/iptables.init
  'ip6tables.init',
  'netfilter-persistent',
  'iptables-apply',
  'ip6tables-apply',
  'ferm',
  'firehol',
  'arno-iptables-firewall',
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
    for (const { owner, program: habit } of PROGRAMS) {
      const program = depth <= habit.reach ? programOf(habit, process) : undefined;
      if (program !== undefined) return { name: owner, evidence: placeOf(program, process, depth) };
    }
  }
  return undefined;
}

const processesOf = (author: Author): Process[] => [{ ...author, cmdline: author.cmdline ?? [] }, ...author.parents];

function programOf(habit: Program, process: Process): string | undefined {
  const { argument } = habit;
  if (argument !== undefined && !process.cmdline.some((word) => word.includes(argument))) return undefined;
  return programsOf(process).find((name) => habit.name.test(name));
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
