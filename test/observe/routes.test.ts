// What `ip` says, as measured with iproute2 6.1.

import { describe, expect, it } from 'vitest';
import type { ExecResult } from '../../src/host/host.ts';
import { askRoute, defaultDevice, readInterfaces } from '../../src/observe/routes.ts';
import { createFakeHost, type FakeHost } from '../fake/host.ts';

type Said = Partial<Pick<ExecResult, 'exitCode' | 'stdout' | 'stderr'>>;

function saying(answers: Readonly<Record<string, Said>>): FakeHost {
  const host = createFakeHost();
  host.answer('ip', ({ args }) => answers[args.join(' ')] ?? { exitCode: 1, stderr: `unasked: ip ${args.join(' ')}` });
  return host;
}

describe('a route', () => {
  const QUESTION = { family: 'ip', to: '192.168.122.10', from: '203.0.113.9', iif: 'eth0' } as const;
  const LINE = '-j -4 route get 192.168.122.10 from 203.0.113.9 iif eth0';

  it.each([
    [
      'the interface it leaves by',
      {
        stdout: '[{"dst":"192.168.122.10","from":"203.0.113.9","dev":"virbr0","flags":[],"cache":[],"iif":"eth0"}]\n',
      },
      { kind: 'out', dev: 'virbr0' },
    ],
    ['the host itself', { stdout: '[{"type":"local","dst":"198.51.100.1","dev":"lo"}]\n' }, { kind: 'here' }],
    ['a broadcast', { stdout: '[{"type":"broadcast","dst":"255.255.255.255","dev":"lo"}]\n' }, { kind: 'here' }],
    [
      'no way',
      { exitCode: 2, stderr: 'RTNETLINK answers: Network is unreachable\n' },
      { kind: 'refused', why: 'Network is unreachable' },
    ],
    [
      'a way that throws packets away',
      { stdout: '[{"type":"blackhole","dst":"10.0.0.1","dev":"lo"}]\n' },
      { kind: 'refused', why: 'a route of type blackhole' },
    ],
    [
      'not known for want of the interface',
      { exitCode: 1, stderr: 'Cannot find device "eth0"\n' },
      { kind: 'unknown' },
    ],
    ['not known for want of ip', { exitCode: 127 }, { kind: 'unknown' }],
    ['not known from an old ip without JSON', { stdout: '192.168.122.10 dev virbr0\n' }, { kind: 'unknown' }],
  ])('is %s', async (_, said, route) => {
    expect(await askRoute(saying({ [LINE]: said }), QUESTION)).toEqual(route);
  });
});

describe('interfaces', () => {
  it('have names and addresses of both families', async () => {
    const stdout =
      '[{"ifname":"lo","addr_info":[]},{"ifname":"eth0","addr_info":[{"family":"inet","local":"198.51.100.1","prefixlen":24},{"family":"inet6","local":"fe80::1"}]}]';
    expect(await readInterfaces(saying({ '-j addr': { stdout } }))).toEqual({
      names: ['lo', 'eth0'],
      addresses: [
        { address: '198.51.100.1', dev: 'eth0' },
        { address: 'fe80::1', dev: 'eth0' },
      ],
    });
    expect(await readInterfaces(saying({}))).toBeUndefined();
  });

  it('of the default route is one, or not known', async () => {
    const [v4, v6] = ['-j -4 route show default', '-j -6 route show default'];
    const by = (...devs: readonly string[]): Said => ({
      stdout: JSON.stringify(devs.map((dev) => ({ dst: 'default', dev }))),
    });
    expect(await defaultDevice(saying({ [v4]: by('eth0', 'eth0') }))).toBe('eth0');
    expect(await defaultDevice(saying({ [v4]: by('eth0', 'eth1') }))).toBeUndefined();
    expect(await defaultDevice(saying({ [v4]: by(), [v6]: by('eth2') }))).toBe('eth2');
    expect(await defaultDevice(saying({}))).toBeUndefined();
  });
});
