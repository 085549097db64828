// The machine as it looks from inside a network namespace: the same Host, with every command run in there.
// Guarantees: what the kernel shows by namespace (/proc/net, /proc/sys/net, /sys/class/net) is read from inside; the boot id is
// that of the namespace's life, so that what ends with a boot ends with the namespace, too; no child of ours outlives us in
// there (a process keeps its namespace alive): long-lived ones end with mendwall, also by kill -9.
// Does not: change the mount namespace: files are the host's, but for `hidden` folders, which are not there.

import {
  type Command,
  type ExecResult,
  type Files,
  type Host,
  HostError,
  type LineHandlers,
  type ProcReader,
} from './host.ts';
import type { OpenNetns } from './netns.ts';

/** Shown by the namespace of who asks. */
const BY_NAMESPACE = /^\/proc\/(?:net|sys\/net)\//;
const LINKS = '/sys/class/net';
const BRIDGE = /^\/sys\/class\/net\/([^/]+)\/bridge$/; // /sys/class/net/virbr0/bridge
const BOOT_ID = '/proc/sys/kernel/random/boot_id';

/** `hidden`: absolute folders that belong to another namespace's programs. */
export function hostInside<H extends Host>(host: H, netns: OpenNetns, hidden: readonly string[]): H {
  const exec = async (command: Command): Promise<ExecResult> => ({
    ...(await host.exec(netns.enter(command))),
    command,
  });
  const named = ({ file }: Command, handlers: LineHandlers): LineHandlers => ({
    line: (text) => handlers.line(text),
    end: (reason) => handlers.end(reason.replace(/^setpriv: /, `${file}: `)),
  });
  return {
    ...host,
    exec,
    lines: (command, handlers) => host.lines(mortal(netns.enter(command)), named(command, handlers)),
    dialog: (command, handlers) => host.dialog(mortal(netns.enter(command)), named(command, handlers)),
    files: filesInside(host.files, exec, hidden),
    proc: procInside(host.proc, netns),
  };
}

/** Ended by the kernel when its parent ends (prctl PR_SET_PDEATHSIG; it is kept over exec). The pid stays the program's. */
function mortal(command: Command): Command {
  return { ...command, file: 'setpriv', args: ['--pdeathsig', 'TERM', command.file, ...command.args] };
}

function procInside(proc: ProcReader, { life }: OpenNetns): ProcReader {
  const read = (path: string): string | undefined => {
    const text = proc.read(path);
    return path === BOOT_ID && text !== undefined ? `${text.trim()} ${life}\n` : text;
  };
  return { read };
}

function filesInside(files: Files, exec: Host['exec'], hidden: readonly string[]): Files {
  const isHidden = (path: string): boolean => hidden.some((folder) => path === folder || path.startsWith(`${folder}/`));

  async function read(path: string): Promise<string | undefined> {
    if (isHidden(path)) return undefined;
    if (!BY_NAMESPACE.test(path)) return files.read(path);
    // What no module has made for this process's own namespace is not there in another one either.
    if (!(await files.exists(path))) return undefined;
    const { exitCode, stdout, stderr } = await exec({ file: 'cat', args: ['--', path] });
    if (exitCode === 0) return stdout;
    if (stderr.includes('No such file')) return undefined;
    throw new HostError('read-failed', `cannot read ${path}: ${stderr.trim()}`);
  }

  async function list(path: string): Promise<string[]> {
    if (isHidden(path)) return [];
    return path === LINKS ? linkNames((await read('/proc/net/dev')) ?? '') : files.list(path);
  }

  async function exists(path: string): Promise<boolean> {
    const bridge = BRIDGE.exec(path)?.[1];
    if (bridge !== undefined)
      return (await exec({ file: 'ip', args: ['-o', 'link', 'show', 'dev', bridge, 'type', 'bridge'] })).stdout !== '';
    return !isHidden(path) && files.exists(path);
  }
  return { ...files, read, list, exists };
}

/** Below two lines of headings: `  eth0: 1234 5 0 ...` */
function linkNames(text: string): string[] {
  return [...text.matchAll(/^\s*([^\s:|]+):/gm)].map(([, name = '']) => name).sort();
}

/** Whether one of these programs, by the kernel's name of it, runs in the network namespace. */
export async function runsInside(
  { files, proc }: Host,
  { inode }: OpenNetns,
  programs: readonly string[],
): Promise<boolean> {
  const pids = (await files.list('/proc')).filter(
    (pid) => /^\d+$/.test(pid) && programs.includes(proc.read(`/proc/${pid}/comm`)?.trim() ?? ''),
  );
  const links = await Promise.all(pids.map((pid) => files.readLink(`/proc/${pid}/ns/net`)));
  return links.includes(`net:[${inode}]`);
}
