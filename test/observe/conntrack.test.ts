import { describe, expect, it } from 'vitest';
import { deleteFlows, findUnNatedFlows, parseConntrack, unNatedFlows, type Flow } from '../../src/observe/conntrack.ts';
import type { Command, ExecResult } from '../../src/host/host.ts';
import type { Network } from '../../src/ruleset/network.ts';

// `conntrack -L -s ...`, conntrack-tools 1.4.7, Linux 6.18; the guest is 192.168.122.10, the host 198.51.100.1.
const V4 = `tcp      6 95 TIME_WAIT src=192.168.122.10 dst=198.51.100.2 sport=46700 dport=8000 src=198.51.100.2 dst=198.51.100.1 sport=8000 dport=46700 [ASSURED] mark=0 use=1
udp      17 29 src=192.168.122.10 dst=198.51.100.2 sport=51154 dport=9 [UNREPLIED] src=198.51.100.2 dst=192.168.122.10 sport=9 dport=51154 mark=0 use=1
udp      17 29 src=192.168.122.10 dst=198.51.100.1 sport=47322 dport=53 [UNREPLIED] src=198.51.100.1 dst=192.168.122.10 sport=53 dport=47322 mark=0 use=1
tcp      6 119 TIME_WAIT src=192.168.122.10 dst=198.51.100.2 sport=48536 dport=8000 src=198.51.100.2 dst=192.168.122.10 sport=8000 dport=48536 [ASSURED] mark=0 use=1
icmp     1 29 src=192.168.122.10 dst=198.51.100.2 type=8 code=0 id=14082 src=198.51.100.2 dst=192.168.122.10 type=0 code=0 id=14082 mark=0 use=1
udp      17 29 src=192.168.122.10 dst=192.168.122.1 sport=59836 dport=53 [UNREPLIED] src=192.168.122.1 dst=192.168.122.10 sport=53 dport=59836 mark=0 use=1
udp      17 29 src=192.168.122.10 dst=224.0.0.251 sport=5353 dport=5353 [UNREPLIED] src=224.0.0.251 dst=192.168.122.10 sport=5353 dport=5353 mark=0 use=1
`;
const V6 = `icmpv6   58 29 src=fd00:123::10 dst=2001:db8::2 type=128 code=0 id=14083 src=2001:db8::2 dst=fd00:123::10 type=129 code=0 id=14083 mark=0 use=1
`;
const ADDRESSES = `1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
2: g0    inet 192.168.122.1/24 scope global g0\\       valid_lft forever preferred_lft forever
2: g0    inet6 fd00:123::1/64 scope global nodad \\       valid_lft forever preferred_lft forever
3: o0    inet 198.51.100.1/24 scope global o0\\       valid_lft forever preferred_lft forever
`;

const NETWORK: Network = {
  name: 'default',
  uuid: '1',
  bridge: 'virbr0',
  forwardMode: 'nat',
  forwardDevs: [],
  natIpv6: false,
  guestIpv6: false,
  addresses: [
    { family: 'ip', cidr: '192.168.122.0/24', host: '192.168.122.1', dhcp: true, tftp: false },
    { family: 'ip6', cidr: 'fd00:123::/64', host: 'fd00:123::1', dhcp: false, tftp: false },
  ],
  active: true,
};

/** Answers each command by `answer`; keeps the command lines. */
function machine(answer: (line: string) => Partial<ExecResult>) {
  const lines: string[] = [];
  const exec = async (command: Command): Promise<ExecResult> => {
    const line = [command.file, ...command.args].join(' ');
    lines.push(line);
    const base = { command, exitCode: 0, stdout: '', stderr: '', durationMs: 1, timedOut: false, pid: 1 };
    return { ...base, ...answer(line) };
  };
  return { host: { exec }, lines };
}

const short = (flows: readonly Flow[]): string[] =>
  flows.map(({ protocol, destination, keys }) => [protocol, destination, ...Object.values(keys)].join(' '));

describe('conntrack entries', () => {
  it('are read with both directions', () => {
    expect(parseConntrack(V4, 'ip')[1]).toEqual({
      family: 'ip',
      protocol: 'udp',
      source: '192.168.122.10',
      destination: '198.51.100.2',
      replySource: '198.51.100.2',
      replyDestination: '192.168.122.10',
      keys: { sport: '51154', dport: '9' },
      text: V4.split('\n')[1],
    });
    expect(parseConntrack(V4, 'ip')).toHaveLength(7);
    expect(parseConntrack('conntrack v1.4.7: 0 flow entries have been shown.\n', 'ip')).toEqual([]);
  });

  it('left un-NATed when a flow to outside is answered to the guest itself', () => {
    const flows = unNatedFlows(parseConntrack(V4, 'ip'), [NETWORK], new Set(['198.51.100.1']));
    expect(short(flows)).toEqual([
      'udp 198.51.100.2 51154 9',
      'tcp 198.51.100.2 48536 8000',
      'icmp 198.51.100.2 8 0 14082',
    ]);
  });

  it('of a routed network, and of IPv6 without NAT, are as they should be', () => {
    const flows = [...parseConntrack(V4, 'ip'), ...parseConntrack(V6, 'ip6')];
    expect(unNatedFlows(flows, [{ ...NETWORK, forwardMode: 'route' }], new Set())).toEqual([]);
    expect(unNatedFlows(parseConntrack(V6, 'ip6'), [NETWORK], new Set())).toEqual([]);
    expect(unNatedFlows(parseConntrack(V6, 'ip6'), [{ ...NETWORK, natIpv6: true }], new Set())).toHaveLength(1);
  });
});

describe('the search for un-NATed flows', () => {
  it('asks for the NATed subnets of running networks only', async () => {
    const { host, lines } = machine((line) => {
      if (line.startsWith('ip ')) return { stdout: ADDRESSES };
      return { stdout: line.includes('ipv6') ? V6 : V4 };
    });
    const networks = [
      { ...NETWORK, natIpv6: true },
      { ...NETWORK, name: 'off', active: false },
    ];
    const found = await findUnNatedFlows(host, networks);
    expect(found).toMatchObject({ kind: 'flows', flows: [{}, {}, {}, { protocol: 'icmpv6' }] });
    expect(lines).toEqual([
      'ip -o addr show',
      'conntrack -L -f ipv4 -s 192.168.122.0/24',
      'conntrack -L -f ipv6 -s fd00:123::/64',
    ]);
  });

  it('runs nothing without a NAT network', async () => {
    const { host, lines } = machine(() => ({}));
    expect(await findUnNatedFlows(host, [{ ...NETWORK, forwardMode: 'isolated' }])).toEqual({
      kind: 'flows',
      flows: [],
    });
    expect(lines).toEqual([]);
  });

  it.each([
    [{ exitCode: 127, stderr: 'spawn conntrack ENOENT' }, 'conntrack: not installed'],
    [
      { exitCode: 1, stderr: 'conntrack v1.4.7: Operation failed: you must be root' },
      'conntrack: conntrack v1.4.7: Operation failed: you must be root',
    ],
  ])('says why it cannot be made: %j', async (failure, reason) => {
    const { host } = machine((line) => (line.startsWith('conntrack') ? failure : { stdout: ADDRESSES }));
    expect(await findUnNatedFlows(host, [NETWORK])).toEqual({ kind: 'unavailable', reason });
  });
});

describe('the deletion of flows', () => {
  it('names each entry by its whole tuple', async () => {
    const flows = [
      ...parseConntrack(V4, 'ip').slice(4, 5),
      ...parseConntrack(V6, 'ip6'),
      ...parseConntrack(V4, 'ip').slice(1, 2),
    ];
    const { host, lines } = machine(() => ({}));
    expect(await deleteFlows(host, flows)).toEqual({ deleted: 3, gone: 0, failed: [] });
    expect(lines).toEqual([
      'conntrack -D -f ipv4 -p icmp -s 192.168.122.10 -d 198.51.100.2 -q 192.168.122.10 --icmp-type 8 --icmp-code 0 --icmp-id 14082',
      'conntrack -D -f ipv6 -p icmpv6 -s fd00:123::10 -d 2001:db8::2 -q fd00:123::10 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 14083',
      'conntrack -D -f ipv4 -p udp -s 192.168.122.10 -d 198.51.100.2 -q 192.168.122.10 --sport 51154 --dport 9',
    ]);
  });

  it('counts what ended meanwhile as gone, and names what failed', async () => {
    const [one, two] = parseConntrack(V4, 'ip');
    const said = ['conntrack v1.4.7 (conntrack-tools): 0 flow entries have been deleted.', 'Operation failed'];
    const { host } = machine(() => ({ exitCode: 1, stderr: said.shift() ?? '' }));
    const result = await deleteFlows(
      host,
      [one, two].filter((flow) => flow !== undefined),
    );
    expect(result).toEqual({ deleted: 0, gone: 1, failed: [{ flow: two, reason: 'Operation failed' }] });
  });
});
