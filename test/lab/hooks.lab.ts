// The hooks under a real libvirtd. Numbers are printed: they are measured, not asserted finer than the promise.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { applyHookSteps, hooksLayout, planInstall, planRemove, type HooksSetup } from '../../src/cli/hooks-install.ts';
import { activationAdvice, hooksStatus } from '../../src/cli/hooks-status.ts';
import { drainSpool } from '../../src/events/spool-folder.ts';
import type { Host } from '../../src/host/host.ts';
import { realHost } from '../../src/host/real.ts';
import { upHypervisor, type Hypervisor } from './host.ts';
import { REPOSITORY } from './namespaces.ts';

const SCRIPT = readFileSync(join(REPOSITORY, 'hooks/mendwall-hook'), 'utf8');
const HOOKS = '/etc/libvirt/hooks';
const SPOOL = '/run/mendwall/spool';

let hv: Hypervisor;
let inside: Host;

beforeAll(async () => {
  hv = await upHypervisor({ name: 'hooks', libvirtDbus: false });
  inside = hostInside(hv);
});

afterAll(async () => hv?.down());

/** A Host whose files and programs are those of the hypervisor. */
function hostInside(hypervisor: Hypervisor): Host {
  const real = realHost({ ownFolders: [] });
  const at = (path: string): string => `/proc/${hypervisor.pid}/root${path}`;
  const { files } = real;
  return {
    ...real,
    exec: ({ file, args }) => hypervisor.exec(file, args),
    files: {
      ...files,
      read: (path) => files.read(at(path)),
      writeAtomic: (path, text) => files.writeAtomic(at(path), text),
      list: (path) => files.list(at(path)),
      makeDir: (path) => files.makeDir(at(path)),
      rename: (from, to) => files.rename(at(from), at(to)),
      remove: (path) => files.remove(at(path)),
      exists: (path) => files.exists(at(path)),
      stat: (path) => files.stat(at(path)),
    },
  };
}

async function install(layout: HooksSetup['layout']): Promise<void> {
  await applyHookSteps(inside, await planInstall(inside, { script: SCRIPT, layout }), SCRIPT);
}

async function remove(): Promise<void> {
  await applyHookSteps(inside, await planRemove(inside), SCRIPT);
}

async function writeAdmins(path: string, body: string): Promise<void> {
  await hv.sh(`mkdir -p "$(dirname ${HOOKS}/${path})"; cat >${HOOKS}/${path}; chmod 755 ${HOOKS}/${path}`, {
    input: `#!/bin/sh\n${body}\n`,
  });
}

/** What the hooks told since the last call, as `object subject operation`. */
async function told(): Promise<string[]> {
  const events = await drainSpool(inside, SPOOL);
  return events.map((event) =>
    event.kind === 'hook' ? `${event.object} ${event.subject} ${event.operation}` : event.kind,
  );
}

async function cycle(): Promise<void> {
  await hv.virsh('net-destroy', 'default');
  await hv.virsh('net-start', 'default');
}

const CYCLE = ['network default stopped', 'network default start', 'network default started'];

describe('hooks installed while libvirtd runs', () => {
  it('are not called, as status says, until libvirtd is restarted; then each tells once, in order', async () => {
    expect(await hooksLayout(inside)).toBe('drop-ins');
    await hv.sh(`mkdir -p -m 0750 ${SPOOL}`);
    await install('drop-ins');
    expect(activationAdvice(await hooksStatus(inside, SCRIPT))).toContain(
      `libvirtd (pid ${hv.libvirtd.pid()}) started before`,
    );
    await cycle();
    expect(await told()).toEqual([]);

    await hv.sh('sleep 1.1');
    await hv.libvirtd.restart();
    expect(activationAdvice(await hooksStatus(inside, SCRIPT))).toBeUndefined();
    // It looks for hooks once more when it ends, so the one of the old process is already told of.
    expect(await told()).toEqual(['daemon - shutdown', 'daemon - start']);
    await cycle();
    expect(await told()).toEqual(CYCLE);
  });

  it('are called at once when libvirtd has known another hook of the same object, as status says', async () => {
    await remove();
    await writeAdmins('network', 'exit 0');
    await hv.sh('sleep 1.1');
    await hv.libvirtd.restart();
    await install('drop-ins');
    const unaware = (await hooksStatus(inside, SCRIPT))
      .filter((status) => status.unaware.length > 0)
      .map(({ object }) => object);
    expect(unaware).toEqual(['qemu', 'libxl', 'lxc', 'daemon']);
    await cycle();
    expect(await told()).toEqual(CYCLE);
    await hv.sh(`rm ${HOOKS}/network`);
    await hv.libvirtd.sighup();
    await hv.libvirtd.quiet();
    await told();
  });
});

describe('a network starts', () => {
  const states: readonly (readonly [string, string, string])[] = [
    ['missing', `rm -rf ${SPOOL}`, ':'],
    ['full with 1000 files nobody reads', `i=0; while [ $i -lt 1000 ]; do : >${SPOOL}/$i; i=$((i+1)); done`, ':'],
    ['on a full file system', `mount -t tmpfs -o size=4k,nr_inodes=3 tmpfs ${SPOOL}`, `umount ${SPOOL}`],
    ['on a read-only file system', `mount -t tmpfs -o ro tmpfs ${SPOOL}`, `umount ${SPOOL}`],
    [
      'a link to another folder',
      `rm -rf ${SPOOL}; mkdir -p /tmp/trap; ln -s /tmp/trap ${SPOOL}`,
      'test -z "$(ls /tmp/trap)"',
    ],
    ['a folder of another user', `chown 65534 ${SPOOL}`, `test -z "$(ls ${SPOOL})"`],
  ];

  it.each(states)('when the spool is %s', async (_what, prepare, after) => {
    await hv.sh(`rm -rf ${SPOOL}; mkdir -p -m 0750 ${SPOOL}; ${prepare}`);
    const mark = hv.libvirtd.logMark();
    await cycle();
    expect(await hv.virsh('net-list', '--name')).toContain('default');
    expect(hv.libvirtd.logSince(mark)).toContain('network.d/50-mendwall id=default op=started');
    expect(hv.libvirtd.logSince(mark)).not.toMatch(/: error :/);
    await hv.sh(`${after}; rm -rf ${SPOOL}; mkdir -p -m 0750 ${SPOOL}`);
  });
});

describe('the admin’s own script', () => {
  it('still runs beside ours (OBJECT.d)', async () => {
    await writeAdmins('network', 'echo "$*" >>/tmp/admins');
    await cycle();
    expect(hv.readFile('/tmp/admins')).toBe('default stopped end -\ndefault start begin -\ndefault started begin -\n');
    expect(await told()).toEqual(CYCLE);
    await hv.sh(`rm /tmp/admins ${HOOKS}/network`);
  });

  it('still runs through ours (one script an object), with the network’s XML on stdin, and its failure still counts', async () => {
    await remove();
    await writeAdmins('network', 'echo "$2 $(grep -c "<bridge ")" >>/tmp/admins; test ! -e /tmp/refuse');
    await install('scripts');
    await cycle();
    expect(hv.readFile('/tmp/admins')).toBe('stopped 1\nstart 1\nstarted 1\n');
    expect(await told()).toEqual(CYCLE);
    await hv.virsh('net-destroy', 'default');
    await hv.sh('touch /tmp/refuse');
    await expect(hv.virsh('net-start', 'default')).rejects.toThrow('Hook script execution failed');
    await hv.sh('rm /tmp/refuse');
    await hv.virsh('net-start', 'default');
    await remove();
    await hv.sh(`rm ${HOOKS}/network`);
    await install('drop-ins');
    await told();
  });
});

describe('a guest', () => {
  const domain = (metadata: string): string => `<domain type='qemu'><name>g1</name><title>before</title>
<metadata><lab:x xmlns:lab="http://lab.invalid/">${metadata}</lab:x></metadata><memory unit='MiB'>16</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<interface type='network'><source network='default'/><rom enabled='no'/></interface><memballoon model='none'/></devices></domain>`;
  const title = async (): Promise<string> => (await hv.virsh('desc', 'g1', '--title')).trim();
  const saveAndRestore = async (): Promise<void> => {
    await hv.virsh('save', 'g1', '/tmp/g1.save');
    await hv.virsh('restore', '/tmp/g1.save');
  };

  it('starts although its XML is larger than a pipe holds and the hook reads none of it', async () => {
    await hv.sh('cat >/tmp/g1.xml', { input: domain('x'.repeat(300_000)) });
    const mark = hv.libvirtd.logMark();
    await hv.virsh('create', '/tmp/g1.xml');
    expect((await told()).filter((line) => line.startsWith('qemu'))).toEqual([
      'qemu g1 prepare',
      'qemu g1 start',
      'qemu g1 started',
    ]);
    await hv.virsh('destroy', 'g1');
    expect((await told()).filter((line) => line.startsWith('qemu'))).toEqual(['qemu g1 stopped', 'qemu g1 release']);
    expect(hv.libvirtd.logSince(mark)).not.toMatch(/: error :|EPIPE|Broken pipe/);
  });

  // `restore` is the same contract as `migrate`: what the script prints is the guest's XML from then on.
  it('keeps its XML through restore, and an admin’s filter of it works beside ours and through ours', async () => {
    await hv.sh('cat >/tmp/g1.xml', { input: domain('small') });
    await hv.virsh('create', '/tmp/g1.xml');
    const before = await hv.virsh('dumpxml', 'g1', '--migratable');
    await saveAndRestore();
    expect(await hv.virsh('dumpxml', 'g1', '--migratable')).toBe(before);
    expect(await told()).toContain('qemu g1 restore');

    const filter = (word: string): string =>
      `case $2 in restore) exec sed "s,<title>.*</title>,<title>${word}</title>,";; esac`;
    await writeAdmins('qemu', filter('beside'));
    await saveAndRestore();
    expect(await title()).toBe('beside');

    await remove();
    await writeAdmins('qemu', filter('through'));
    await install('scripts');
    await saveAndRestore();
    expect(await title()).toBe('through');
    expect(await told()).toContain('qemu g1 restore');
    await hv.virsh('destroy', 'g1');
    await remove();
    await hv.sh(`rm ${HOOKS}/qemu`);
    await install('drop-ins');
    await told();
  });
});
