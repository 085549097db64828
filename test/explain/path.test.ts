// A packet's way through the host: hooks, translation, routing.

import { describe, expect, it } from 'vitest';
import { compileNft } from '../../src/explain/nft-ruleset.ts';
import { explain, type HostView } from '../../src/explain/path.ts';
import { joinPrograms } from '../../src/explain/program.ts';
import { addressText } from '../../src/explain/values.ts';
import { ask, decider, iptables, SSH, SSH6 } from './sketch.ts';

const HOST: HostView = {
  addresses: [
    { address: '192.0.2.1', dev: 'eth0' },
    { address: '192.168.122.1', dev: 'virbr0' },
  ],
  routes: [
    { cidr: '192.168.122.0/24', dev: 'virbr0' },
    { cidr: '0.0.0.0/0', dev: 'eth0' },
  ],
};

const FORWARD = joinPrograms([
  iptables(['-A PREROUTING -i eth0 -p tcp -m tcp --dport 8022 -j DNAT --to-destination 192.168.122.50:22'], {
    table: 'nat',
  }),
  iptables([
    '-A FORWARD -d 192.168.122.50/32 -o virbr0 -p tcp -m tcp --dport 22 -j ACCEPT',
    '-A FORWARD -j DROP',
    '-A INPUT -j DROP',
  ]),
]);
const KNOCK = { ...SSH, dport: 8022 };

describe('the path', () => {
  it('of a forwarded packet goes through prerouting, forward and postrouting', () => {
    const program = compileNft(
      ['prerouting', 'input', 'forward', 'output', 'postrouting']
        .map((hook) => `table inet ${hook} {\nchain c {\ntype filter hook ${hook} priority 0\ncounter\n}\n}\n`)
        .join(''),
    );
    const hooks = (journey: 'forward' | 'input' | 'output'): string[] =>
      ask(program, SSH, journey).trace.map(({ hook }) => hook);
    expect(hooks('forward')).toEqual(['prerouting', 'forward', 'postrouting']);
    expect(hooks('input')).toEqual(['prerouting', 'input']);
    expect(hooks('output')).toEqual(['output', 'postrouting']);
  });

  it('follows a port forward into the guest, although the packet came for the host', () => {
    const answer = explain(FORWARD, { packet: KNOCK, journey: 'input' }, HOST);
    expect([answer.verdict, decider(answer)]).toEqual(['accept', 'filter FORWARD 0']);
  });

  it('is decided by the destination when nobody says it', () => {
    expect(decider(explain(FORWARD, { packet: SSH }, HOST))).toBe('filter INPUT 0');
    expect(decider(explain(FORWARD, { packet: { ...SSH, dst: '192.168.122.9' } }, HOST))).toBe('filter FORWARD 1');
  });

  it('is followed both ways when the routes are not known', () => {
    const answer = explain(FORWARD, { packet: KNOCK, journey: 'input' });
    expect(answer.verdict).toBe('depends');
    expect(answer.depends.map(({ why }) => why)).toContain('it is not known where the destination is routed');
    const closed = joinPrograms([FORWARD, iptables(['-A FORWARD -j DROP'], { table: 'mangle' })]);
    expect(explain(closed, { packet: KNOCK, journey: 'input' }).verdict).toBe('drop');
  });

  it('of a redirected packet leads to the host', () => {
    const program = joinPrograms([
      iptables(['-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 3128'], { table: 'nat' }),
      iptables(['-A INPUT -p tcp -m tcp --dport 3128 -j REJECT', '-A FORWARD -j DROP']),
    ]);
    const answer = ask(program, { ...SSH, dst: '203.0.113.9', dport: 80 }, 'forward', HOST);
    expect([answer.verdict, decider(answer)]).toEqual(['reject', 'filter INPUT 0']);
  });

  it('of a packet from the host that is redirected comes in again by lo', () => {
    const program = joinPrograms([
      iptables(['-A OUTPUT -p tcp -j REDIRECT --to-ports 3128'], { table: 'nat' }),
      iptables(['-A INPUT -i lo -p tcp -m tcp --dport 3128 -j DROP']),
    ]);
    expect(decider(ask(program, { ...SSH, oif: 'eth0' }, 'output'))).toBe('filter INPUT 0');
  });
});

describe('translation', () => {
  const nat = (priority: number, ...rules: readonly string[]): string =>
    `table ip n${Math.abs(priority)} {\nchain c {\ntype nat hook prerouting priority ${priority}\n${rules.join('\n')}\n}\n}\n`;
  const forwardDrop = iptables(['-A FORWARD -d 10.0.0.5 -j DROP', '-A FORWARD -d 10.0.0.6 -j REJECT']);

  it('is done by the first nat chain that says so, and by no other', () => {
    const program = joinPrograms([
      compileNft(nat(-90, 'dnat to 10.0.0.6') + nat(-110, 'dnat to 10.0.0.5')),
      forwardDrop,
    ]);
    expect(ask(program, SSH, 'forward', { addresses: [], routes: [] }).verdict).toBe('drop');
  });

  it('that may have been done by one chain leaves the next in doubt', () => {
    const program = compileNft(nat(-110, 'limit rate 1/second dnat to 10.0.0.6') + nat(-90, 'counter'));
    expect(ask(program, SSH, 'forward', { addresses: [], routes: [] }).trace.at(-1)).toMatchObject({
      place: { table: 'n90' },
      certain: false,
    });
  });

  it('happens at -100, whatever the chain says of its priority', () => {
    const early = `table ip e {\nchain c {\ntype filter hook prerouting priority -90\nip daddr 10.0.0.5 drop\n}\n}\n`;
    expect(ask(compileNft(nat(300, 'dnat to 10.0.0.5') + early), SSH).verdict).toBe('drop');
  });

  it('is not asked for a packet of a known flow', () => {
    const program = joinPrograms([compileNft(nat(-100, 'dnat to 10.0.0.5')), forwardDrop]);
    expect(ask(program, { ...SSH, ctState: 'established' }, 'forward').verdict).toBe('accept');
    const { ctState: _, ...unknown } = SSH;
    expect(ask(program, unknown, 'forward', { addresses: [], routes: [] }).verdict).toBe('depends');
  });

  it('that conntrack remembers is undone for the answer', () => {
    const program = iptables(['-A FORWARD -d 192.168.122.50/32 -m conntrack --ctstate ESTABLISHED -j DROP']);
    const answer = { ...SSH, dst: '192.0.2.1', ctState: 'established' as const, rewrite: { dst: '192.168.122.50' } };
    expect(ask(program, answer, 'forward').verdict).toBe('drop');
  });

  it('is not undone for an answer that is not tracked: it stays with the host', () => {
    const raw = iptables(['-A PREROUTING -j CT --notrack'], { table: 'raw' });
    const answer = { ...SSH, dst: '192.0.2.1', ctState: 'established' as const, rewrite: { dst: '192.168.122.50' } };
    const program = joinPrograms([raw, iptables(['-A INPUT -j REJECT', '-A FORWARD -j DROP'])]);
    expect(ask(program, answer, 'forward', HOST).verdict).toBe('reject');
  });

  it('leaves unknown what it chooses itself', () => {
    const snat = iptables(['-A POSTROUTING -j SNAT --to-source 10.0.0.1-10.0.0.9:1024-2000'], { table: 'nat' });
    const last = ask(snat, { ...SSH, oif: 'eth1' }, 'forward').endings.at(-1)?.packet;
    expect([last?.saddr, last?.sport]).toEqual([undefined, undefined]);
    const masquerade = iptables(['-A POSTROUTING -o eth0 -j MASQUERADE'], { table: 'nat' });
    const known = ask(masquerade, { ...SSH, oif: 'eth0' }, 'forward', HOST).endings.at(-1)?.packet;
    expect(known?.saddr === undefined ? undefined : addressText('ip', known.saddr)).toBe('192.0.2.1');
  });

  it.each([
    ['192.168.122.50', '192.168.122.50', 22],
    ['192.168.122.50:2222', '192.168.122.50', 2222],
    [':2222', '192.0.2.1', 2222],
    ['192.168.122.50-192.168.122.60', undefined, 22],
  ])('to %s gives %s, %s', (to, address, port) => {
    for (const program of [
      iptables([`-A PREROUTING -p tcp -j DNAT --to-destination ${to}`], { table: 'nat' }),
      compileNft(nat(-100, `meta l4proto tcp counter dnat to ${to}`)),
    ]) {
      const packet = ask(program, SSH, 'forward').endings.find(({ translated }) => translated)?.packet;
      expect(packet?.daddr === undefined ? undefined : addressText('ip', packet.daddr)).toBe(address);
      expect(packet?.dport).toBe(port);
    }
  });

  it('of IPv6 reads addresses in brackets', () => {
    const program = iptables(['-A PREROUTING -p tcp -j DNAT --to-destination [fd00::5]:2222'], {
      table: 'nat',
      family: 'ip6',
    });
    const packet = ask(program, SSH6, 'forward').endings.find(({ translated }) => translated)?.packet;
    expect([addressText('ip6', packet?.daddr ?? 0n), packet?.dport]).toEqual(['fd00::5', 2222]);
  });
});
