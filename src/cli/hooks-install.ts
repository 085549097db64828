// `mendwall hooks install` and `remove`, as plans that can be shown before they are done.
// Guarantees: an existing script is never overwritten, and `remove` takes away only files that carry our marker; for
// libvirt before 6.5, which has one script an object, the admin's script is moved beside ours, which runs it, and
// `remove` moves it back. Doing a plan twice changes nothing the second time.
// What it does not do: restart libvirtd (see hooks-status.ts for what has to be said about that).

import { dirname } from 'node:path';

import { HostError, type Host } from '../host/host.ts';

/** The objects of libvirt's hooks, https://libvirt.org/hooks.html. */
export const HOOK_OBJECTS = ['qemu', 'network', 'libxl', 'lxc', 'daemon'] as const;
export type HookObject = (typeof HOOK_OBJECTS)[number];

export const HOOKS_FOLDER = '/etc/libvirt/hooks';
const DROP_IN = '50-mendwall';
const CHAINED_SUFFIX = '.before-mendwall';
const FRESH_SUFFIX = '.mendwall-new';
const EXECUTABLE = '755';

export interface HooksSetup {
  /** Text of hooks/mendwall-hook. */
  readonly script: string;
  /** `scripts`: libvirt before 6.5, one script an object. `drop-ins`: also the folders OBJECT.d. */
  readonly layout: 'drop-ins' | 'scripts';
  /** Default HOOKS_FOLDER. */
  readonly folder?: string;
}

export type HookStep =
  /** A new file, or a newer text for one of ours (`updates`). */
  | { readonly kind: 'write'; readonly object: HookObject; readonly path: string; readonly updates: boolean }
  | { readonly kind: 'keep'; readonly object: HookObject; readonly path: string }
  /** Somebody's script is moved to `movedTo` and ours, which runs it, takes its place. */
  | { readonly kind: 'chain'; readonly object: HookObject; readonly path: string; readonly movedTo: string }
  /** Something stands in the way; nothing is done for this object. */
  | { readonly kind: 'blocked'; readonly object: HookObject; readonly path: string; readonly reason: string }
  | { readonly kind: 'remove'; readonly object: HookObject; readonly path: string }
  /** Ours is removed and the script it ran moved back from `movedFrom`. */
  | { readonly kind: 'unchain'; readonly object: HookObject; readonly path: string; readonly movedFrom: string };

/** What stands at a hook's path: `theirs` has no marker of ours (or is no file at all). */
export type HookFile =
  | { readonly kind: 'absent' }
  | { readonly kind: 'theirs' }
  | { readonly kind: 'ours'; readonly text: string; readonly executable: boolean; readonly modifiedMs: number };

/** The layout of a libvirt, from what `libvirtd --version` (or a split daemon's) prints; unknown counts as new. */
export async function hooksLayout(host: Host): Promise<HooksSetup['layout']> {
  for (const file of ['libvirtd', 'virtqemud', 'virtnetworkd', 'virtxend']) {
    const { stdout, exitCode } = await host.exec({ file, args: ['--version'] });
    const version = /(\d+)\.(\d+)\.\d+/.exec(stdout); // libvirtd (libvirt) 9.0.0
    if (exitCode === 0 && version) return hasDropIns(Number(version[1]), Number(version[2])) ? 'drop-ins' : 'scripts';
  }
  return 'drop-ins';
}

/** libvirt 6.5.0, news: "hooks: Add support for multiple hook scripts". */
function hasDropIns(major: number, minor: number): boolean {
  return major > 6 || (major === 6 && minor >= 5);
}

/** What `install` would do, one step an object. Throws HostError when the folder cannot be read. */
export async function planInstall(host: Host, setup: HooksSetup): Promise<HookStep[]> {
  return Promise.all(HOOK_OBJECTS.map((object) => planObject(host, setup, object)));
}

async function planObject(host: Host, setup: HooksSetup, object: HookObject): Promise<HookStep> {
  const { script, dropIn, chained } = pathsOf(object, setup.folder);
  const atScript = await readHook(host, script);
  // A script of ours from the days of an older libvirt stays where it is: two would tell everything twice.
  const path = setup.layout === 'scripts' || atScript.kind === 'ours' ? script : dropIn;
  const there = path === script ? atScript : await readHook(host, dropIn);
  if (there.kind === 'absent') return { kind: 'write', object, path, updates: false };
  if (there.kind === 'ours') {
    const isCurrent = there.text === setup.script && there.executable;
    return isCurrent ? { kind: 'keep', object, path } : { kind: 'write', object, path, updates: true };
  }
  if (path === dropIn) return { kind: 'blocked', object, path, reason: 'a file that mendwall did not write is there' };
  return planChain(host, object, script, chained);
}

async function planChain(host: Host, object: HookObject, path: string, movedTo: string): Promise<HookStep> {
  const kind = (await host.files.stat(path))?.kind;
  if (kind === 'folder') return { kind: 'blocked', object, path, reason: 'it is a folder' };
  if (!(await host.files.exists(movedTo))) return { kind: 'chain', object, path, movedTo };
  return { kind: 'blocked', object, path, reason: `a script is there, and ${movedTo} as well` };
}

/** What `remove` would do; objects without a hook of ours have no step. */
export async function planRemove(host: Host, folder: string = HOOKS_FOLDER): Promise<HookStep[]> {
  const steps: HookStep[] = [];
  for (const object of HOOK_OBJECTS) {
    const { script, dropIn, chained } = pathsOf(object, folder);
    if ((await readHook(host, dropIn)).kind === 'ours') steps.push({ kind: 'remove', object, path: dropIn });
    if ((await readHook(host, script)).kind !== 'ours') continue;
    const wasChained = await host.files.exists(chained);
    steps.push(
      wasChained
        ? { kind: 'unchain', object, path: script, movedFrom: chained }
        : { kind: 'remove', object, path: script },
    );
  }
  return steps;
}

/** Does a plan. Throws HostError at the first step that cannot be done; what was done before stays, and is whole. */
export async function applyHookSteps(host: Host, steps: readonly HookStep[], script: string): Promise<void> {
  for (const step of steps) await applyStep(host, step, script);
}

async function applyStep(host: Host, step: HookStep, script: string): Promise<void> {
  switch (step.kind) {
    case 'keep':
    case 'blocked':
      return;
    case 'write':
      return writeHook(host, step, script);
    case 'chain':
      // Linked, not moved, and then renamed over: at no moment is there no script. ln fails when the name is taken.
      await runTool(host, 'ln', [step.path, step.movedTo]);
      return writeHook(host, step, script);
    case 'remove':
      return host.files.remove(step.path);
    case 'unchain':
      return host.files.rename(step.movedFrom, step.path);
  }
}

/** Made whole and executable under another name, outside OBJECT.d (libvirt runs whatever is in there). */
async function writeHook(host: Host, { object, path }: HookStep, script: string): Promise<void> {
  const isDropIn = path.endsWith(`/${object}.d/${DROP_IN}`);
  const fresh = `${isDropIn ? dirname(dirname(path)) : dirname(path)}/${object}${FRESH_SUFFIX}`;
  await host.files.makeDir(dirname(path));
  await host.files.writeAtomic(fresh, script);
  await runTool(host, 'chmod', [EXECUTABLE, fresh]);
  await host.files.rename(fresh, path);
}

async function runTool(host: Host, file: string, args: readonly string[]): Promise<void> {
  const result = await host.exec({ file, args });
  if (result.exitCode !== 0)
    throw new HostError('write-failed', `${file} ${args.join(' ')}: ${result.stderr.trim()}`, result);
}

/** Where the hook of an object can be. */
export function pathsOf(
  object: HookObject,
  folder: string = HOOKS_FOLDER,
): { readonly script: string; readonly dropIn: string; readonly dropInFolder: string; readonly chained: string } {
  const script = `${folder}/${object}`;
  return {
    script,
    dropIn: `${script}.d/${DROP_IN}`,
    dropInFolder: `${script}.d`,
    chained: `${script}${CHAINED_SUFFIX}`,
  };
}

/** What stands at a hook's path. A link is not followed: it is theirs. */
export async function readHook(host: Host, path: string): Promise<HookFile> {
  const stat = await host.files.stat(path);
  if (stat === undefined) return { kind: 'absent' };
  if (stat.kind !== 'file') return { kind: 'theirs' };
  const text = (await host.files.read(path)) ?? '';
  // #!/bin/sh
  // # mendwall-hook 1
  if (!/^#![^\n]*\n# mendwall-hook \d+\n/.test(text)) return { kind: 'theirs' };
  return { kind: 'ours', text, executable: (stat.mode & 0o111) !== 0, modifiedMs: stat.modifiedMs };
}
