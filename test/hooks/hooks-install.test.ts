import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import {
  applyHookSteps,
  hooksLayout,
  HOOK_OBJECTS,
  planInstall,
  planRemove,
  type HooksSetup,
} from '../../src/cli/hooks-install.ts';
import { activationAdvice, hooksStatus } from '../../src/cli/hooks-status.ts';
import type { Command, ExecResult, Host } from '../../src/host/host.ts';
import { realHost } from '../../src/host/real.ts';

const SCRIPT = readFileSync(join(dirname(new URL(import.meta.url).pathname), '../../hooks/mendwall-hook'), 'utf8');
const ADMINS = '#!/bin/sh\necho "$@" >>/var/log/hooks\n';
const real = realHost({ ownFolders: [] });

let folder: string;

beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'mendwall-hooks-')), 'hooks');
});

afterEach(() => rmSync(dirname(folder), { recursive: true }));

function setup(layout: HooksSetup['layout']): HooksSetup {
  return { script: SCRIPT, layout, folder };
}

async function install(layout: HooksSetup['layout']): Promise<string[]> {
  const steps = await planInstall(real, setup(layout));
  await applyHookSteps(real, steps, SCRIPT);
  return steps.map(({ kind }) => kind);
}

async function remove(): Promise<string[]> {
  const steps = await planRemove(real, folder);
  await applyHookSteps(real, steps, SCRIPT);
  return steps.map(({ kind }) => kind);
}

function writeAdmins(path: string): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), ADMINS);
  chmodSync(join(folder, path), 0o700);
}

const allFiles = (): string[] =>
  existsSync(folder)
    ? readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => !entry.isDirectory())
        .map(({ name }) => name)
        .sort()
    : [];

const each = <T>(value: T): T[] => HOOK_OBJECTS.map(() => value);

/** Answers `FILE --version` as a libvirt of that version does; everything else is real. */
function withLibvirt(version: string | undefined): Host {
  const answer = (command: Command): ExecResult => {
    const found = version !== undefined && command.file === 'libvirtd';
    return {
      command,
      exitCode: found ? 0 : 127,
      stdout: found ? `libvirtd (libvirt) ${version}\n` : '',
      stderr: '',
      durationMs: 1,
      timedOut: false,
      pid: undefined,
    };
  };
  return {
    ...real,
    exec: (command) => (command.args[0] === '--version' ? Promise.resolve(answer(command)) : real.exec(command)),
  };
}

describe('hooks install', () => {
  it('puts one executable file into each OBJECT.d, and does nothing the second time', async () => {
    expect(await install('drop-ins')).toEqual(each('write'));
    expect(allFiles()).toEqual(each('50-mendwall'));
    for (const object of HOOK_OBJECTS)
      expect(statSync(join(folder, `${object}.d/50-mendwall`)).mode & 0o777).toBe(0o755);
    expect(await install('drop-ins')).toEqual(each('keep'));
  });

  it('changes nothing when it is only planned', async () => {
    await planInstall(real, setup('drop-ins'));
    expect(existsSync(folder)).toBe(false);
  });

  it('leaves every script of the admin as it is, also one that has our name', async () => {
    writeAdmins('network');
    writeAdmins('network.d/10-mine');
    writeAdmins('qemu.d/50-mendwall');
    expect(await install('drop-ins')).toEqual(['blocked', 'write', 'write', 'write', 'write']);
    for (const path of ['network', 'network.d/10-mine', 'qemu.d/50-mendwall']) {
      expect(readFileSync(join(folder, path), 'utf8')).toBe(ADMINS);
    }
  });

  it('does not write through a link that stands in the way', async () => {
    const target = join(dirname(folder), 'target');
    writeFileSync(target, ADMINS);
    mkdirSync(join(folder, 'qemu.d'), { recursive: true });
    symlinkSync(target, join(folder, 'qemu.d/50-mendwall'));
    expect((await install('drop-ins'))[0]).toBe('blocked');
    expect(readFileSync(target, 'utf8')).toBe(ADMINS);
  });

  it('renews an older hook of ours, and one that has lost its x bit', async () => {
    await install('drop-ins');
    writeFileSync(join(folder, 'qemu.d/50-mendwall'), '#!/bin/sh\n# mendwall-hook 0\nexit 0\n');
    chmodSync(join(folder, 'network.d/50-mendwall'), 0o644);
    expect((await planInstall(real, setup('drop-ins'))).slice(0, 2)).toMatchObject([
      { kind: 'write', object: 'qemu', updates: true },
      { kind: 'write', object: 'network', updates: true },
    ]);
    await install('drop-ins');
    expect(await install('drop-ins')).toEqual(each('keep'));
  });

  it('chains a script of the admin under a libvirt before 6.5, keeps its mode, and refuses to lose a second one', async () => {
    writeAdmins('network');
    expect(await install('scripts')).toEqual(['write', 'chain', 'write', 'write', 'write']);
    expect(readFileSync(join(folder, 'network.before-mendwall'), 'utf8')).toBe(ADMINS);
    expect(statSync(join(folder, 'network.before-mendwall')).mode & 0o777).toBe(0o700);
    expect(readFileSync(join(folder, 'network'), 'utf8')).toBe(SCRIPT);
    expect(await install('scripts')).toEqual(each('keep'));
    writeFileSync(join(folder, 'network'), ADMINS);
    expect((await install('scripts'))[1]).toBe('blocked');
  });

  it('stays where it is when libvirt has become newer, so that nothing is told twice', async () => {
    await install('scripts');
    expect(await install('drop-ins')).toEqual(each('keep'));
    expect(allFiles()).toEqual([...HOOK_OBJECTS].sort());
  });

  it('uses OBJECT.d from libvirt 6.5 on, and when the version is not to be had', async () => {
    const layouts = ['0.8.1', '6.4.0', '6.5.0', '9.0.0', '11.3.0', undefined].map((version) =>
      hooksLayout(withLibvirt(version)),
    );
    expect(await Promise.all(layouts)).toEqual(['scripts', 'scripts', 'drop-ins', 'drop-ins', 'drop-ins', 'drop-ins']);
  });
});

describe('hooks remove', () => {
  it('takes away what install wrote and nothing else', async () => {
    writeAdmins('network.d/10-mine');
    await install('drop-ins');
    expect(await remove()).toEqual(each('remove'));
    expect(allFiles()).toEqual(['10-mine']);
    expect(await remove()).toEqual([]);
  });

  it('puts a chained script back, byte for byte and executable', async () => {
    writeAdmins('network');
    await install('scripts');
    expect(await remove()).toEqual(['remove', 'unchain', 'remove', 'remove', 'remove']);
    expect(allFiles()).toEqual(['network']);
    expect(readFileSync(join(folder, 'network'), 'utf8')).toBe(ADMINS);
    expect(statSync(join(folder, 'network')).mode & 0o777).toBe(0o700);
  });

  it('knows its own by the marker on the second line, not by a mention of it', async () => {
    writeAdmins('qemu');
    writeFileSync(join(folder, 'qemu'), '#!/bin/sh\n# mine\n# mendwall-hook 1\n');
    expect(await remove()).toEqual([]);
  });
});

describe('hooks status', () => {
  it('says absent, current, outdated, not executable and blocked', async () => {
    await install('drop-ins');
    writeFileSync(join(folder, 'network.d/50-mendwall'), `${SCRIPT}\n# older\n`);
    chmodSync(join(folder, 'libxl.d/50-mendwall'), 0o644);
    writeFileSync(join(folder, 'lxc.d/50-mendwall'), ADMINS);
    rmSync(join(folder, 'daemon.d/50-mendwall'));
    const states = (await hooksStatus(real, SCRIPT, folder)).map(({ state }) => state);
    expect(states).toEqual(['current', 'outdated', 'not-executable', 'blocked', 'absent']);
  });

  it('names the script that ours runs', async () => {
    writeAdmins('network');
    await install('scripts');
    const network = (await hooksStatus(real, SCRIPT, folder))[1];
    expect(network?.chained).toBe(join(folder, 'network.before-mendwall'));
  });

  /** A machine on which one daemon started at `startedMs` (whole seconds). */
  function withDaemon(name: string, startedMs: number): Host {
    const bootMs = 1_700_000_000_000;
    const ticks = (startedMs - bootMs) / 10;
    const proc: Readonly<Record<string, string>> = {
      '/proc/stat': `cpu  1 2 3\nbtime ${bootMs / 1000}\n`,
      '/proc/76/stat': `76 (${name}) S 1 76 76 0 -1 1077936384 1 1 1 1 1 1 1 1 20 0 21 0 ${ticks} 1234 1`,
      '/proc/77/stat': `77 (a (b) libvirtd) S 1 77 77 0 -1 1 1 1 1 1 1 1 1 1 20 0 21 0 1 1234 1`,
    };
    const files = {
      ...real.files,
      list: (path: string) => (path === '/proc' ? Promise.resolve(['76', '77', 'stat']) : real.files.list(path)),
    };
    return {
      ...real,
      files: {
        ...files,
        read: (path) => (path.startsWith('/proc/') ? Promise.resolve(proc[path]) : real.files.read(path)),
      },
    };
  }

  const hour = 3_600_000;
  const nowMs = Math.floor(Date.now() / 1000) * 1000;

  it('says that a libvirtd which started before the hooks has to be restarted', async () => {
    await install('drop-ins');
    const statuses = await hooksStatus(withDaemon('libvirtd', nowMs - hour), SCRIPT, folder);
    expect(statuses.map(({ unaware }) => unaware.map(({ pid }) => pid))).toEqual(each([76]));
    expect(activationAdvice(statuses)).toMatch(
      /^libvirtd \(pid 76\) started before the qemu, network, .* hooks .*SIGHUP.*: systemctl restart libvirtd$/,
    );
  });

  it('asks only for the split daemon that serves the object', async () => {
    await install('drop-ins');
    const statuses = await hooksStatus(withDaemon('virtnetworkd', nowMs - hour), SCRIPT, folder);
    expect(statuses.filter(({ unaware }) => unaware.length > 0).map(({ object }) => object)).toEqual([
      'network',
      'daemon',
    ]);
  });

  it('says nothing when libvirtd started later, or has known a hook of that object before', async () => {
    await install('drop-ins');
    expect(activationAdvice(await hooksStatus(withDaemon('libvirtd', nowMs + hour), SCRIPT, folder))).toBeUndefined();
    writeAdmins('network');
    utimesSync(join(folder, 'network'), (nowMs - 2 * hour) / 1000, (nowMs - 2 * hour) / 1000);
    const statuses = await hooksStatus(withDaemon('libvirtd', nowMs - hour), SCRIPT, folder);
    expect(statuses[1]?.unaware).toEqual([]);
    expect(statuses[0]?.unaware).toHaveLength(1);
  });
});
