import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { bridgeExists, readLibvirtNetworks, readNetworkFiles, tellProblems } from '../../src/observe/networks.ts';
import { parseNetworkXml, type NetworkProblemCode } from '../../src/observe/network-xml.ts';
import type { Network } from '../../src/ruleset/network.ts';

const CAPTURES = new URL('../captures/libvirt/', import.meta.url);

function capture(name: string): string {
  return readFileSync(new URL(`${name}.run-status.xml`, CAPTURES), 'utf8');
}

async function networkIn(text: string): Promise<Network> {
  const parsed = await parseNetworkXml(text, 'test.xml');
  if ('problem' in parsed) throw new Error(parsed.problem.message);
  return parsed.network;
}

/** Files in a record, path to text; a text of undefined cannot be read. */
function files(texts: Readonly<Record<string, string | undefined>>) {
  const read = async (path: string): Promise<string | undefined> => {
    if (path in texts && texts[path] === undefined) throw new Error(`EACCES ${path}`);
    return texts[path];
  };
  const list = async (folder: string): Promise<string[]> =>
    Object.keys(texts).flatMap((path) => (path.startsWith(`${folder}/`) ? [path.slice(folder.length + 1)] : []));
  return { read, list, exists: async (path: string) => path in texts };
}

const address = (part: object): unknown => ({ family: 'ip', dhcp: false, tftp: false, ...part });

describe('a network', () => {
  it('is read from the status file of a running one', async () => {
    expect(await networkIn(capture('libvirt-9.0-iptables-nft/nat'))).toEqual({
      name: 'default',
      uuid: 'efbc9cf9-a3f0-43d8-afbd-7a5ee20bdb0b',
      bridge: 'virbr0',
      forwardMode: 'nat',
      forwardDevs: [],
      natPorts: { start: 1024, end: 65535 },
      natIpv6: false,
      guestIpv6: false,
      addresses: [address({ cidr: '192.168.122.0/24', host: '192.168.122.1', dhcp: true })],
      active: true,
    });
  });

  it.each([
    ['nat-ipv6-nat', { forwardMode: 'nat', natIpv6: true }],
    ['nat-ipv6-routed', { forwardMode: 'nat', natIpv6: false }],
    ['routed', { forwardMode: 'route', forwardDevs: [], bridge: 'virbr2' }],
    ['routed-dev', { forwardMode: 'route', forwardDevs: ['eth0'] }],
    ['isolated', { forwardMode: 'isolated', bridge: 'virbr4' }],
    ['isolated-ipv6', { forwardMode: 'isolated', guestIpv6: true, addresses: [] }],
    ['open', { forwardMode: 'open' }],
    ['bridge', { forwardMode: 'bridge', bridge: 'br0', addresses: [] }],
    ['nat-ports-addr', { natAddress: { start: '198.51.100.10', end: '198.51.100.12' }, forwardDevs: ['eth0'] }],
    [
      'nat-statichost',
      { addresses: [address({ cidr: '192.168.128.0/24', host: '192.168.128.1', dhcp: true, tftp: true })] },
    ],
    ['nat-one-address', { natAddress: { start: '198.51.100.20', end: '198.51.100.20' }, natIpv6: true }],
  ])('of kind %s has what its rules depend on', async (kind, expected) => {
    expect(await networkIn(capture(`libvirt-9.0-iptables-nft/${kind}`))).toMatchObject(expected);
  });

  it('without netmask and prefix goes by the class of its address', async () => {
    const { addresses } = await networkIn(capture('libvirt-9.0-iptables-nft/classful'));
    expect(addresses.map(({ cidr }) => cidr)).toEqual(['172.25.0.0/16', 'fd00:25::/64']);
  });

  it('of a libvirt that has two backends says which one wrote its rules', async () => {
    expect((await networkIn(capture('libvirt-11-iptables/nat'))).backend).toBe('iptables');
    expect((await networkIn(capture('libvirt-9.0-iptables-nft/nat'))).backend).toBeUndefined();
  });

  it('is read from a plain definition and from what a hook is given', async () => {
    const definition = "<network><name>R&amp;D &lt;1&gt;</name><forward/><bridge name='br1'/></network>";
    expect(await networkIn(definition)).toMatchObject({ name: 'R&D <1>', forwardMode: 'nat', active: false });
    const hook = `<hookData>${definition}<networkport><uuid>x</uuid></networkport></hookData>`;
    expect(await networkIn(hook)).toMatchObject({ name: 'R&D <1>', bridge: 'br1' });
  });

  it.each<[NetworkProblemCode, string]>([
    ['xml-doctype', '<!DOCTYPE network [<!ENTITY a "b">]><network><name>&a;</name></network>'],
    ['xml-malformed', '<network><name>x</network>'],
    ['xml-malformed', ''],
    ['xml-no-network', '<domain><name>x</name></domain>'],
    ['xml-bad-value', '<network><uuid>1</uuid></network>'],
    ['xml-bad-value', "<network><name>x</name><ip address='10.0.0.300' prefix='24'/></network>"],
    ['xml-bad-value', "<network><name>x</name><ip address='10.0.0.1' prefix='2x'/></network>"],
    ['xml-bad-value', "<network><name>x</name><ip address='10.0.0.1' netmask='255.0.255.0'/></network>"],
    ['xml-bad-value', "<network><name>x</name><ip family='ipv6' address='10.0.0.1' prefix='64'/></network>"],
    ['xml-bad-value', "<network><name>x</name><bridge name='virbr0 -j ACCEPT\n-A INPUT'/></network>"],
    ['xml-bad-value', "<network><name>x</name><bridge name='..'/></network>"],
    ['xml-bad-value', "<network><name>x</name><ip address='0.0.0.0' netmask='0.0.0.0'/></network>"],
    ['xml-bad-value', "<network><name>x</name><bridge name='a-name-of-16-char'/></network>"],
    ['xml-too-big', `<network><name>x</name>${'<ip/>'.repeat(300_000)}</network>`],
  ])('that cannot be read is a problem, not an exception: %s', async (code, text) => {
    expect(await parseNetworkXml(text, 'a.xml')).toEqual({
      problem: { code, file: 'a.xml', message: expect.any(String) as string },
    });
  });
});

describe("libvirt's networks", () => {
  const folders = { run: '/run/n', config: '/etc/n' };
  const defined = (name: string, bridge: string): string =>
    `<network><name>${name}</name><bridge name='${bridge}'/></network>`;
  const running = (name: string, bridge: string): string => `<networkstatus>${defined(name, bridge)}</networkstatus>`;

  it('are the running ones as they run, and the others as they are defined', async () => {
    const read = await readLibvirtNetworks(
      files({
        '/run/n/b.xml': running('b', 'virbr1'),
        '/run/n/b.pid': '12',
        '/etc/n/b.xml': defined('b', 'virbr-edited'),
        '/etc/n/a.xml': defined('a', 'virbr0'),
      }),
      folders,
    );
    expect(read.problems).toEqual([]);
    expect(read.networks.map(({ name, bridge, active }) => [name, bridge, active])).toEqual([
      ['a', 'virbr0', false],
      ['b', 'virbr1', true],
    ]);
  });

  it('are none on a host without libvirt', async () => {
    expect(await readLibvirtNetworks(files({}), folders)).toEqual({ networks: [], problems: [] });
  });

  it('still count when one file among them is broken', async () => {
    const read = await readLibvirtNetworks(
      files({
        '/run/n/bad.xml': '<networkstatus>',
        '/run/n/secret.xml': undefined,
        '/etc/n/a.xml': defined('a', 'virbr0'),
      }),
      folders,
    );
    expect(read.networks.map(({ name }) => name)).toEqual(['a']);
    expect(read.problems.map(({ code, file }) => [code, file])).toEqual([
      ['xml-malformed', '/run/n/bad.xml'],
      ['xml-unreadable', '/run/n/secret.xml'],
    ]);
  });

  it('can be named by file, and a file that is not there is a problem', async () => {
    const read = await readNetworkFiles(files({ 'a.xml': defined('a', 'virbr0') }), ['a.xml', 'b.xml']);
    expect(read.networks.map(({ name }) => name)).toEqual(['a']);
    expect(read.problems).toEqual([{ code: 'xml-missing', file: 'b.xml', message: 'no such file' }]);
  });
});

describe('a bridge', () => {
  it('exists when sysfs has its interface, and never for a name that is a path', async () => {
    const sys = files({ '/sys/class/net/virbr0': '', '/sys/class/net/..': '', '/sys/class/net/a/b': '' });
    const names = ['virbr0', 'virbr1', '..', 'a/b', ''];
    expect(await Promise.all(names.map((name) => bridgeExists(sys, name)))).toEqual([true, false, false, false, false]);
  });
});

describe('problems of network files', () => {
  it('are told once for each file, again when something else is wrong, and again when they come back', () => {
    const lines: string[] = [];
    const log = { write: (level: string, message: string) => void lines.push(`${level} ${message}`) };
    const bad = (file: string, message: string) => ({ code: 'xml-malformed' as const, file, message });
    const told = (...problems: readonly ReturnType<typeof bad>[]): string[] => {
      lines.length = 0;
      tellProblems(log, problems);
      return [...lines];
    };
    expect(told(bad('a.xml', 'one'), bad('b.xml', 'one'))).toEqual([
      'warning a.xml: xml-malformed: one',
      'warning b.xml: xml-malformed: one',
    ]);
    expect(told(bad('a.xml', 'one'), bad('b.xml', 'one'))).toEqual([]);
    expect(told(bad('a.xml', 'two'), bad('b.xml', 'one'))).toEqual(['warning a.xml: xml-malformed: two']);
    expect(told()).toEqual([]);
    expect(told(bad('a.xml', 'two'))).toEqual(['warning a.xml: xml-malformed: two']);
  });
});
