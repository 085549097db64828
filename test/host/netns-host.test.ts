// The machine from inside a network namespace: which door leads inside, and which stays where it is.

import { describe, expect, it } from 'vitest';
import type { Command } from '../../src/host/host.ts';
import { hostInside, runsInside } from '../../src/host/netns-host.ts';
import type { OpenNetns } from '../../src/host/netns.ts';
import { createFakeHost, type FakeHost } from '../fake/host.ts';

const BLUE: OpenNetns = {
  name: 'blue',
  life: '77-5',
  inode: '77',
  enter: (command: Command) => ({ ...command, file: 'enter', args: ['blue', command.file, ...command.args] }),
  close: () => Promise.resolve(),
};

function blue(): { readonly outer: FakeHost; readonly host: FakeHost } {
  const outer = createFakeHost();
  const answers: Readonly<Record<string, string>> = {
    'cat -- /proc/net/dev': 'Inter-|   Receive\n face |bytes\n    lo: 0 0\n  eth0: 5 6\n',
    'ip -o link show dev br0 type bridge': '4: br0: <BROADCAST> mtu 1500',
  };
  outer.answer('enter', ({ args }) => {
    const stdout = answers[args.slice(1).join(' ')];
    return stdout === undefined ? { exitCode: 1, stderr: 'No such file or directory' } : { stdout };
  });
  outer.files.texts.set('/proc/net/dev', 'the host’s');
  outer.files.texts.set('/run/libvirt/network/default.xml', '<network/>');
  outer.files.texts.set('/etc/hosts', 'hosts');
  return { outer, host: hostInside(outer, BLUE, ['/run/libvirt/network']) };
}

describe('the host inside a network namespace', () => {
  it('runs every command there and calls it by its own name', async () => {
    const { host } = blue();
    const result = await host.exec({ file: 'cat', args: ['--', '/proc/net/dev'] });
    expect(result).toMatchObject({ exitCode: 0, command: { file: 'cat', args: ['--', '/proc/net/dev'] } });
  });

  it('starts listeners that end with mendwall, whatever ends it', () => {
    const { outer, host } = blue();
    host.lines({ file: 'nft', args: ['monitor'] }, { line: () => undefined, end: () => undefined });
    expect(outer.children[0]?.command).toMatchObject({
      file: 'setpriv',
      args: ['--pdeathsig', 'TERM', 'enter', 'blue', 'nft', 'monitor'],
    });
  });

  it('talks to a child that ends with mendwall, too', () => {
    const { outer, host } = blue();
    host.dialog({ file: 'nft', args: ['-i'] }, { line: () => undefined, end: () => undefined });
    expect(outer.children[0]?.command.args).toEqual(['--pdeathsig', 'TERM', 'enter', 'blue', 'nft', '-i']);
  });

  it('reads what the kernel shows by namespace from inside, and files where they are', async () => {
    const { files } = blue().host;
    expect(await files.read('/proc/net/dev')).toContain('eth0');
    expect(await files.list('/sys/class/net')).toEqual(['eth0', 'lo']);
    expect(await files.exists('/sys/class/net/br0/bridge')).toBe(true);
    expect(await files.exists('/sys/class/net/eth0/bridge')).toBe(false);
    expect(await files.read('/proc/net/ip_tables_names_of_no_kernel')).toBeUndefined();
    expect(await files.read('/etc/hosts')).toBe('hosts');
  });

  it('does not show the folders of another namespace’s programs', async () => {
    const { files } = blue().host;
    expect(await files.list('/run/libvirt/network')).toEqual([]);
    expect(await files.read('/run/libvirt/network/default.xml')).toBeUndefined();
    expect(await files.exists('/run/libvirt/network/default.xml')).toBe(false);
  });

  it('counts each life of the namespace as a boot', () => {
    const read = (path: string): string | undefined => (path.endsWith('boot_id') ? 'b00t\n' : 'other');
    const host = hostInside({ ...createFakeHost(), proc: { read } }, BLUE, []);
    expect(host.proc.read('/proc/sys/kernel/random/boot_id')).toBe('b00t 77-5\n');
    expect(host.proc.read('/proc/1/comm')).toBe('other');
  });

  it('knows whether a program runs in there', async () => {
    const outer = createFakeHost();
    const files = {
      ...outer.files,
      list: () => Promise.resolve(['1', '40', 'net']),
      readLink: (path: string) => Promise.resolve(path === '/proc/40/ns/net' ? 'net:[77]' : 'net:[1]'),
    };
    const proc = { read: (path: string) => (path === '/proc/40/comm' ? 'libvirtd\n' : 'init\n') };
    expect(await runsInside({ ...outer, files, proc }, BLUE, ['libvirtd'])).toBe(true);
    expect(await runsInside({ ...outer, files, proc }, BLUE, ['init'])).toBe(false);
  });
});
