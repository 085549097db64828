// What is asked of the machine for libvirt's nftables tables, and what is made of its answers.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { libvirtNativeDrift } from '../../src/pass/libvirt-native.ts';
import type { Network } from '../../src/ruleset/network.ts';
import { nftCapture } from '../captures/nft.ts';
import { createFakeHost } from '../fake/host.ts';
import { networkOf } from '../libvirt-nft.ts';

const STATUS = readFileSync(new URL('../captures/libvirt-nft/nat.run-status.xml', import.meta.url), 'utf8');
const LISTING = nftCapture('libvirt-11-nftables/nat.nft-ruleset.txt');
const tableText = (family: string): string =>
  new RegExp(`^table ${family} libvirt_network .*?^}\\n`, 'ms').exec(LISTING)?.[0] ?? '';
const NAT = await networkOf('nat');

interface Said {
  readonly exitCode?: number;
  readonly stdout?: string;
  readonly stderr?: string;
}

/** A host whose nft answers like this; `asked` are its commands. */
function hostWith(answers: Readonly<Record<string, Said>>) {
  const host = createFakeHost();
  const asked: string[] = [];
  host.answer('nft', ({ args }) => {
    asked.push(args.join(' '));
    return answers[args.join(' ')] ?? { exitCode: 1, stderr: 'Error: No such file or directory\n' };
  });
  host.files.texts.set('/run/libvirt/network/default.xml', STATUS);
  return { host, asked };
}

const TABLES = { stdout: 'table ip filter\ntable ip libvirt_network\ntable ip6 libvirt_network\n' };
const WHOLE = {
  'list flowtables': TABLES,
  '-a list table ip libvirt_network': { stdout: tableText('ip') },
  '-a list table ip6 libvirt_network': { stdout: tableText('ip6') },
};

describe("libvirt's tables", () => {
  it('are read with handles, each once', async () => {
    const { host, asked } = hostWith(WHOLE);
    expect(await libvirtNativeDrift(host, [NAT])).toEqual({ kind: 'read', drift: [] });
    expect(asked).toEqual(['list flowtables', '-a list table ip libvirt_network', '-a list table ip6 libvirt_network']);
  });

  it('that do not stand cost one question, or none when the answer is given', async () => {
    const other = [{ ...NAT, backend: 'iptables' } satisfies Network];
    const { host, asked } = hostWith({
      'list flowtables': { stdout: 'table ip filter\ntable inet libvirt_network\n' },
    });
    expect(await libvirtNativeDrift(host, other)).toEqual({ kind: 'none', drift: [] });
    expect(await libvirtNativeDrift(host, undefined, 'table ip filter\n')).toEqual({ kind: 'none', drift: [] });
    expect(asked).toEqual(['list flowtables']);
  });

  it('that are wanted and do not stand are lost, also when they go while we look', async () => {
    for (const answers of [{ 'list flowtables': { stdout: '' } }, { 'list flowtables': TABLES }]) {
      const { drift } = await libvirtNativeDrift(hostWith(answers).host, [NAT]);
      expect(drift).toMatchObject([{ kind: 'foreign-lost', text: 'table ip libvirt_network', rules: 10 }]);
    }
  });

  it("are judged by libvirt's own record too", async () => {
    const { host } = hostWith({
      ...WHOLE,
      '-a list table ip libvirt_network': { stdout: tableText('ip').replace(/handle (\d+)$/gm, 'handle 1$1') },
    });
    expect((await libvirtNativeDrift(host, [NAT])).drift).toMatchObject([
      { kind: 'stale', rules: 10, evidence: expect.stringContaining('handles that do not exist') as string },
    ]);
  });

  it('that cannot be listed are unreadable, not lost', async () => {
    const denied = { exitCode: 1, stderr: 'Operation not permitted (you must be root)\n' };
    for (const answers of [{ 'list flowtables': denied }, { ...WHOLE, '-a list table ip libvirt_network': denied }])
      expect(await libvirtNativeDrift(hostWith(answers).host, [NAT])).toMatchObject({
        kind: 'unreadable',
        drift: [],
        why: expect.stringMatching(/^nft .* ended with 1: Operation not permitted/) as string,
      });
    const torn = hostWith({ ...WHOLE, '-a list table ip libvirt_network': { stdout: 'table ip libvirt_network {\n' } });
    expect(await libvirtNativeDrift(torn.host, [NAT])).toMatchObject({ kind: 'unreadable' });
  });

  it('are none without nft', async () => {
    const { host } = hostWith({ 'list flowtables': { exitCode: 127 } });
    expect(await libvirtNativeDrift(host, undefined)).toEqual({ kind: 'none', drift: [] });
  });
});
