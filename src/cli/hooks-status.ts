// `mendwall hooks status`: which hooks stand, and whether the running libvirt calls them.
// libvirt looks for hooks when it starts and when it is reloaded, an object at a time, and remembers only whether there
// was one (virHooksFound in virhook.c); once it knows of one, it lists OBJECT.d anew at each call. So a hook that was
// installed later is called only when another one of the same object was there before.
// What it does not do: know of a SIGHUP after the installation. Nothing tells of it; the advice says so.

import type { Host } from '../host/host.ts';
import { HOOK_OBJECTS, HOOKS_FOLDER, pathsOf, readHook, type HookObject } from './hooks-install.ts';

export interface HookStatus {
  readonly object: HookObject;
  /** Undefined when no hook of ours is there. */
  readonly path: string | undefined;
  /** `blocked`: a file of somebody else has our name. */
  readonly state: 'absent' | 'current' | 'outdated' | 'not-executable' | 'blocked';
  /** The admin's script that ours runs. */
  readonly chained: string | undefined;
  /** Daemons that were running before any hook of this object was there: they may not call it yet. */
  readonly unaware: readonly LibvirtDaemon[];
}

export interface LibvirtDaemon {
  readonly pid: number;
  readonly name: string;
  /** Wall time in ms; up to 1 s too early, because /proc/stat's btime is cut to seconds. */
  readonly startedMs: number;
}

const SERVED_BY: Readonly<Record<string, readonly HookObject[]>> = {
  libvirtd: HOOK_OBJECTS,
  virtqemud: ['qemu', 'daemon'],
  virtnetworkd: ['network', 'daemon'],
  virtxend: ['libxl', 'daemon'],
  virtlxcd: ['lxc', 'daemon'],
};

/** USER_HZ: 100 on every architecture Node runs on (proc(5): /proc/PID/stat counts in it). */
const TICKS_PER_SECOND = 100;

/** One line an object. `script` is the text of hooks/mendwall-hook. Throws HostError when the folder cannot be read. */
export async function hooksStatus(host: Host, script: string, folder: string = HOOKS_FOLDER): Promise<HookStatus[]> {
  const daemons = await libvirtDaemons(host);
  return Promise.all(HOOK_OBJECTS.map((object) => statusOf(host, object, script, folder, daemons)));
}

async function statusOf(
  host: Host,
  object: HookObject,
  script: string,
  folder: string,
  daemons: readonly LibvirtDaemon[],
): Promise<HookStatus> {
  const paths = pathsOf(object, folder);
  const [atDropIn, atScript] = [await readHook(host, paths.dropIn), await readHook(host, paths.script)];
  const [hook, path] = atDropIn.kind === 'ours' ? [atDropIn, paths.dropIn] : [atScript, paths.script];
  if (hook.kind !== 'ours') {
    const state = atDropIn.kind === 'theirs' ? 'blocked' : 'absent';
    return { object, path: undefined, state, chained: undefined, unaware: [] };
  }
  const chained = path === paths.script && (await host.files.exists(paths.chained)) ? paths.chained : undefined;
  const sinceMs = Math.min(...(await hookTimes(host, object, folder)));
  const unaware = daemons.filter(({ name, startedMs }) => serves(name, object) && startedMs < sinceMs);
  const state = hook.text !== script ? 'outdated' : 'current';
  return { object, path, state: hook.executable ? state : 'not-executable', chained, unaware };
}

function serves(daemon: string, object: HookObject): boolean {
  return SERVED_BY[daemon]?.includes(object) ?? false;
}

/** When each executable hook of the object was last written: the oldest is what a running daemon may know of. */
async function hookTimes(host: Host, object: HookObject, folder: string): Promise<number[]> {
  const { script, dropInFolder, chained } = pathsOf(object, folder);
  const dropIns = (await host.files.list(dropInFolder)).map((name) => `${dropInFolder}/${name}`);
  const times: number[] = [];
  for (const path of [script, chained, ...dropIns]) {
    const stat = await host.files.stat(path);
    if (stat?.kind === 'file' && (stat.mode & 0o111) !== 0) times.push(stat.modifiedMs);
  }
  return times;
}

/** The libvirt daemons that run now, from /proc. */
export async function libvirtDaemons(host: Host): Promise<LibvirtDaemon[]> {
  const bootMs = await bootTimeMs(host);
  const daemons: LibvirtDaemon[] = [];
  for (const entry of await host.files.list('/proc')) {
    if (!/^\d+$/.test(entry)) continue; // 1234
    const stat = await host.files.read(`/proc/${entry}/stat`);
    const daemon = stat === undefined ? undefined : parseStat(stat, bootMs);
    if (daemon !== undefined && daemon.name in SERVED_BY) daemons.push(daemon);
  }
  return daemons;
}

async function bootTimeMs(host: Host): Promise<number> {
  const btime = /^btime (\d+)$/m.exec((await host.files.read('/proc/stat')) ?? ''); // btime 1795193850
  return Number(btime?.[1] ?? 0) * 1000;
}

/** Fields 1, 2 and 22 of /proc/PID/stat; the name in brackets may itself hold blanks and brackets. */
function parseStat(text: string, bootMs: number): LibvirtDaemon | undefined {
  const head = /^(\d+) \((.*)\) /s.exec(text); // 76 (libvirtd) S 1 76 76 0 ...
  if (!head) return undefined;
  const fromField3 = text.slice(head[0].length).split(' ');
  const startTicks = Number(fromField3[22 - 3]);
  return { pid: Number(head[1]), name: head[2] ?? '', startedMs: bootMs + (startTicks / TICKS_PER_SECOND) * 1000 };
}

/** What to say about daemons that may not call the hooks yet; undefined when all do, or none runs. */
export function activationAdvice(statuses: readonly HookStatus[]): string | undefined {
  const daemons = new Map(statuses.flatMap(({ unaware }) => unaware.map((daemon) => [daemon.pid, daemon])));
  if (daemons.size === 0) return undefined;
  const names = [...new Set([...daemons.values()].map(({ name }) => name))];
  const objects = statuses.filter(({ unaware }) => unaware.length > 0).map(({ object }) => object);
  const who = [...daemons.values()].map(({ name, pid }) => `${name} (pid ${pid})`).join(', ');
  return (
    `${who} started before the ${objects.join(', ')} hook${objects.length === 1 ? '' : 's'} and calls none until it is ` +
    `restarted or gets a SIGHUP (not needed if it got one since): systemctl restart ${names.join(' ')}`
  );
}
