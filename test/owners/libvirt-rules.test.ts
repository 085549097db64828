import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseNetworkXml } from '../../src/observe/network-xml.ts';
import { expectedLibvirtRules, type ExpectedRule } from '../../src/owners/libvirt-rules.ts';
import type { Network } from '../../src/ruleset/network.ts';

const CAPTURES = new URL('../captures/libvirt/', import.meta.url);
const FOLDERS = ['libvirt-9.0-iptables-nft', 'libvirt-9.0-iptables-legacy', 'libvirt-11-iptables'];
// The jumps and the chains are one set per host, not part of a network.
const JUMP = /^-A (INPUT|FORWARD|OUTPUT|POSTROUTING) -j LIBVIRT_/;

const cases = FOLDERS.flatMap((folder) =>
  readdirSync(new URL(folder, CAPTURES))
    .filter((name) => name.endsWith('.run-status.xml'))
    .map((name) => `${folder}/${name.slice(0, -'.run-status.xml'.length)}`),
);

function read(name: string): string {
  return readFileSync(new URL(name, CAPTURES), 'utf8');
}

async function networkOf(name: string): Promise<Network> {
  const parsed = await parseNetworkXml(read(`${name}.run-status.xml`), name);
  if ('problem' in parsed) throw new Error(parsed.problem.message);
  return parsed.network;
}

/** `table chain` -> rule texts in order, as iptables-save printed them. */
function savedRules(text: string): Record<string, string[]> {
  const chains: Record<string, string[]> = {};
  let table = '';
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1);
    if (line.startsWith('-A ') && !JUMP.test(line)) (chains[`${table} ${line.split(' ')[1]}`] ??= []).push(line);
  }
  return chains;
}

function byChain(tables: ReadonlyMap<string, readonly ExpectedRule[]> | undefined): Record<string, string[]> {
  const chains: Record<string, string[]> = {};
  for (const [table, rules] of tables ?? []) {
    for (const { chain, text } of rules) (chains[`${table} ${chain}`] ??= []).push(text);
  }
  return chains;
}

describe('the rules libvirt writes for a network', () => {
  it('covers every kind of network that was captured', () => {
    expect(cases.length).toBeGreaterThanOrEqual(36);
  });

  it.each(cases)('equal the captured ones, in order within each chain: %s', async (name) => {
    const expected = expectedLibvirtRules(await networkOf(name));
    expect(byChain(expected.get('ip'))).toEqual(savedRules(read(`${name}.iptables-save.txt`)));
    expect(byChain(expected.get('ip6'))).toEqual(savedRules(read(`${name}.ip6tables-save.txt`)));
  });

  it('stand above those of the networks started before', async () => {
    const first = await networkOf('libvirt-9.0-iptables-nft/nat');
    const second: Network = {
      ...first,
      bridge: 'virbr7',
      addresses: [{ family: 'ip', cidr: '192.168.129.0/24', host: '192.168.129.1', dhcp: true, tftp: false }],
    };
    const [upper, lower] = [second, first].map((network) => byChain(expectedLibvirtRules(network).get('ip')));
    const both = Object.fromEntries(
      Object.keys(upper ?? {}).map((key) => [key, [...(upper?.[key] ?? []), ...(lower?.[key] ?? [])]]),
    );
    expect(both).toEqual(savedRules(read('libvirt-9.0-iptables-nft/two-nat.iptables-save.txt')));
  });

  it('are none for a network without a bridge', async () => {
    const { bridge: _, ...network } = await networkOf('libvirt-9.0-iptables-nft/nat');
    expect(expectedLibvirtRules({ ...network, bridge: undefined }).size).toBe(0);
  });
});
