// Who made a commit: the process as /proc shows it at event time, and what its name tells of its owner.
// Goals: read at once, within the turn of the event. Measured with one event a time: a process that deleted something is there
// in 99.5-100 % of the cases (it waits 5-15 ms in close()), one that only inserted often is not.
// Guarantees: what cannot be read is undefined, never guessed. A process whose name is not the one the kernel reported is
// another one with the same pid (or the pid is of another pid namespace) and is not used.
// Does not: decide whose change it was; the names it gives are evidence.

import { basename } from 'node:path/posix';
import type { Author } from '../events/types.ts';
import type { ProcReader } from '../host/host.ts';

const MOST_PARENTS = 4;
/** TASK_COMM_LEN - 1: the kernel cuts the name there, `iptables-restor`. */
const COMM_LENGTH = 15;

type Parent = Author['parents'][number];

/**
 * The author of a commit. `procfs` is where the *initial* pid namespace's /proc is mounted: the kernel reports pids of that one
 * (`/proc` on a host; in a container what the host's is mounted as). 0.07 ms with four parents. Never throws.
 */
export function readAuthor(proc: ProcReader, procfs: string, pid: number, comm: string): Author {
  const stat = readStat(proc, procfs, pid);
  if (stat === undefined || stat.comm !== comm) return { pid, comm, cmdline: undefined, parents: [] };
  const cmdline = readCmdline(proc, procfs, pid);
  const unit = unitOf(proc.read(`${procfs}/${pid}/cgroup`));
  const parents = readParents(proc, procfs, stat.parentPid);
  return { pid, comm, cmdline, parents, ...(unit === undefined ? {} : { unit }) };
}

function readParents(proc: ProcReader, procfs: string, firstPid: number): Parent[] {
  const parents: Parent[] = [];
  for (let pid = firstPid; pid > 0 && parents.length < MOST_PARENTS;) {
    const stat = readStat(proc, procfs, pid);
    if (stat === undefined) break;
    parents.push({ pid, comm: stat.comm, cmdline: readCmdline(proc, procfs, pid) ?? [] });
    pid = stat.parentPid;
  }
  return parents;
}

interface Stat {
  readonly comm: string;
  readonly parentPid: number;
}

/** `4421 (iptables) D 4400 4421 ...` (proc(5)); the name may hold `)` and blanks, so it ends at the last `)`. */
function readStat(proc: ProcReader, procfs: string, pid: number): Stat | undefined {
  const text = proc.read(`${procfs}/${pid}/stat`);
  const close = text?.lastIndexOf(')') ?? -1;
  if (text === undefined || close < 0) return undefined;
  const parentPid = Number(text.slice(close + 2).split(' ', 2)[1]);
  return { comm: text.slice(text.indexOf('(') + 1, close), parentPid };
}

/** Undefined for a zombie and a kernel thread, whose command line is empty. */
function readCmdline(proc: ProcReader, procfs: string, pid: number): readonly string[] | undefined {
  const text = proc.read(`${procfs}/${pid}/cmdline`);
  if (text === undefined || text === '') return undefined;
  return text.replace(/\0$/, '').split('\0'); // `iptables\0-w\0-F\0`
}

/** `0::/system.slice/iptables.service`, or with cgroup v1 `1:name=systemd:/system.slice/iptables.service`. */
function unitOf(cgroup: string | undefined): string | undefined {
  const line = cgroup?.split('\n').find((text) => text.startsWith('0::/') || text.includes(':name=systemd:/'));
  return line?.split('/').findLast((name) => name.endsWith('.service') || name.endsWith('.scope'));
}

/**
 * The author for people: `iptables-restore pid 77 <- bash pid 70 <- sshd pid 12 in ssh.service`; `iptables pid 4421 (parent
 * unknown)`; `unknown process` when the kernel did not say (pid 0).
 */
export function describeAuthor(author: Author): string {
  if (author.pid === 0) return 'unknown process';
  const self = `${nameOf(author)} pid ${author.pid}`;
  const unit = author.unit === undefined ? '' : ` in ${author.unit}`;
  if (author.parents.length === 0) return author.pid === 1 ? self : `${self} (parent unknown)${unit}`;
  return [self, ...author.parents.map((parent) => `${nameOf(parent)} pid ${parent.pid}`)].join(' <- ') + unit;
}

/** The command's name; when the kernel cut it, the whole one from the command line if that begins so. */
export function nameOf(process: Pick<Author, 'comm' | 'cmdline'>): string {
  const full = basename(process.cmdline?.[0] ?? '');
  return process.comm.length === COMM_LENGTH && full.startsWith(process.comm) ? full : process.comm;
}
