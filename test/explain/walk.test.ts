// A packet through hooks: order of base chains, jumps, what depends, translation.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileNft } from '../../src/explain/nft-ruleset.ts';
import { joinPrograms } from '../../src/explain/program.ts';
import { ask, decider, iptables, nft, PING, SSH } from './sketch.ts';

const traceOf = (explanation: ReturnType<typeof ask>): string[] =>
  explanation.trace.map(({ place }) => `${place.chain} ${place.index}`);

const table = (name: string, ...chains: readonly string[]): string => `table inet ${name} {\n${chains.join('\n')}\n}\n`;
const chain = (name: string, head: string, ...rules: readonly string[]): string =>
  `chain ${name} {\n${head}\n${rules.join('\n')}\n}`;

describe('a chain', () => {
  it('is left by the first rule with a verdict', () => {
    const answer = ask(
      iptables(['-A INPUT -p udp -j DROP', '-A INPUT -p tcp -j REJECT --reject-with tcp-reset', '-A INPUT -j DROP']),
      SSH,
    );
    expect(answer.verdict).toBe('reject');
    expect(answer.deciding?.how).toBe('tcp-reset');
    expect(decider(answer)).toBe('filter INPUT 1');
    expect(answer.deciding?.place.text).toBe('-A INPUT -p tcp -j REJECT --reject-with tcp-reset');
  });

  it('falls to its policy', () => {
    const answer = ask(iptables([], { policies: { INPUT: 'DROP' } }), SSH);
    expect([answer.verdict, decider(answer)]).toEqual(['drop', 'filter INPUT policy']);
  });

  it('comes back from a jump, not from a goto', () => {
    const rules = ['-A INPUT -j web', '-A INPUT -g end', '-A INPUT -j DROP', '-A web -p udp -j DROP', '-A end -j LOG'];
    const answer = ask(iptables(rules), SSH);
    expect(traceOf(answer)).toEqual(['INPUT 0', 'INPUT 1', 'end 0']);
    expect(decider(answer)).toBe('filter INPUT policy');
  });

  it('that returns goes on behind the jump; a base chain that returns falls to its policy', () => {
    const rules = [
      '-A INPUT -j web',
      '-A INPUT -p tcp -j RETURN',
      '-A INPUT -j ACCEPT',
      '-A web -j RETURN',
      '-A web -j ACCEPT',
    ];
    const answer = ask(iptables(rules, { policies: { INPUT: 'DROP' } }), SSH);
    expect([answer.verdict, decider(answer)]).toEqual(['drop', 'filter INPUT policy']);
  });

  it('in a circle, or missing, depends and ends', () => {
    expect(ask(iptables(['-A INPUT -j a', '-A a -j b', '-A b -j a']), SSH).verdict).toBe('depends');
    expect(
      ask(iptables(['-A INPUT -j b', '-A INPUT -j DROP', '-A b -j c', '-A b -j c', '-A c -j b', '-A c -j b']), SSH)
        .verdict,
    ).toBe('depends');
    const missing = ask(iptables(['-A INPUT -j NOWHERE']), SSH);
    expect([missing.verdict, missing.depends[0]?.why]).toEqual(['depends', 'chain NOWHERE is not in the ruleset']);
  });

  it('with a target nobody knows depends, unless it cannot be reached', () => {
    expect(ask(iptables(['-A INPUT -j STEAL --all']), SSH).verdict).toBe('depends');
    expect(ask(iptables(['-A INPUT -p udp -j STEAL --all']), SSH).verdict).toBe('accept');
    expect(ask(nft(['tproxy to :50080']), SSH).verdict).toBe('depends');
    expect(ask(nft(['queue to 3']), SSH).verdict).toBe('depends');
  });
});

describe('what depends', () => {
  it('is said with its rule', () => {
    const { verdict, depends, deciding } = ask(
      iptables(['-A INPUT -m limit --limit 5/min -j ACCEPT', '-A INPUT -j DROP']),
      SSH,
    );
    expect(verdict).toBe('depends');
    expect(deciding).toBeUndefined();
    expect(depends).toMatchObject([{ why: '-m limit --limit 5/min', place: { chain: 'INPUT', index: 0 } }]);
  });

  it('does not matter where every way ends the same', () => {
    const answer = ask(iptables(['-A INPUT -m limit --limit 5/min -j DROP', '-A INPUT -j DROP']), SSH);
    expect([answer.verdict, decider(answer)]).toEqual(['drop', 'filter INPUT 0']);
  });

  it('does not matter where it only logs', () => {
    const answer = ask(iptables(['-A INPUT -m limit --limit 5/min -j LOG', '-A INPUT -j DROP']), SSH);
    expect([answer.verdict, answer.depends, answer.deciding?.certain]).toEqual(['drop', [], true]);
  });

  it('follows into a chain that may be jumped to', () => {
    const rules = ['-A INPUT -m recent --rcheck -j maybe', '-A INPUT -j ACCEPT', '-A maybe -j DROP'];
    expect(ask(iptables(rules), SSH).verdict).toBe('depends');
    expect(ask(iptables(rules.with(2, '-A maybe -j RETURN')), SSH).verdict).toBe('accept');
  });

  it('covers a mark that may have been set', () => {
    const rules = [
      '-A INPUT -m recent --rcheck -j MARK --set-xmark 0x1/0xffffffff',
      '-A INPUT -m mark --mark 0x1 -j DROP',
    ];
    expect(ask(iptables(rules), SSH).verdict).toBe('depends');
    expect(ask(iptables(['-A INPUT -j MARK --set-xmark 0x1/0xffffffff', rules[1]!]), SSH).verdict).toBe('drop');
    expect(
      ask(iptables(['-A INPUT -j MARK --set-xmark 0x6/0x2', '-A INPUT -m mark --mark 0x6 -j DROP']), {
        ...SSH,
        mark: 2,
      }).verdict,
    ).toBe('drop');
  });

  it('leaves the rules behind it in doubt, when it may have ended the chain', () => {
    const answer = ask(iptables(['-A INPUT -m limit --limit 5/min -j ACCEPT', '-A INPUT -j LOG']), SSH);
    expect(answer.trace.map(({ certain }) => certain)).toEqual([false, false]);
  });

  it('is an nft match only as far as the next statement: a mark set behind it is not swallowed', () => {
    const marked = nft(['numgen random mod 2 0 meta mark set 0x1', 'meta mark 0x1 drop']);
    expect(ask(marked, SSH).verdict).toBe('depends');
    expect(ask(nft(['numgen random mod 2 0 meta mark set 0x1', 'meta mark 0x2 drop']), SSH).verdict).toBe('depends');
    expect(ask(nft(['numgen random mod 2 0 meta mark set 0x1', 'tcp dport 22 drop']), SSH).verdict).toBe('drop');
  });

  it('takes no more than a visit of each rule', () => {
    const unsure = Array.from({ length: 2000 }, (_, at) => `-A INPUT -m recent --rcheck --name n${at} -j DROP`);
    const answer = ask(iptables(unsure), SSH);
    expect(answer.verdict).toBe('depends');
    expect(answer.trace).toHaveLength(2000);
  });
});

describe('base chains of one hook', () => {
  const drops = (name: string, priority: string, rule = 'tcp dport 22 drop'): string =>
    table(name, chain('in', `type filter hook input priority ${priority}; policy accept;`, rule));

  it('run by priority, and an accept ends only its own', () => {
    const program = joinPrograms([
      iptables(['-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT']),
      compileNft(drops('late', '10') + drops('early', '-10', 'accept')),
    ]);
    const answer = ask(program, SSH);
    expect([answer.verdict, decider(answer)]).toEqual(['drop', 'late in 0']);
    expect(answer.endings.map(({ place }) => place.table)).toEqual(['early', 'filter', 'late']);
  });

  it.each([
    ['filter - 5', -5],
    ['filter', 0],
    ['mangle + 10', -140],
    ['raw', -300],
    ['-150', -150],
    ['security', 50],
    ['srcnat', 100],
    ['dstnat', -100],
  ])('have priority %s = %i', (text, number) => {
    expect(compileNft(drops('t', text)).baseChains[0]?.priority).toBe(number);
  });

  it('a drop in any of them is final, a reject before it too', () => {
    const program = compileNft(drops('a', '0', 'drop') + drops('b', '-1', 'reject'));
    expect(decider(ask(program, SSH))).toBe('b in 0');
  });

  it('of one priority: the one made later runs first, and where they disagree on how to stop, it depends', () => {
    const same = ask(compileNft(drops('a', '0', 'drop') + drops('b', '0', 'drop')), SSH);
    expect([same.verdict, decider(same)]).toEqual(['drop', 'b in 0']);
    const differ = ask(compileNft(drops('a', '0', 'drop') + drops('b', '0', 'reject')), SSH);
    expect(differ.verdict).toBe('depends');
    const oneOnly = ask(compileNft(drops('a', '0', 'accept') + drops('b', '0', 'reject')), SSH);
    expect(oneOnly.verdict).toBe('reject');
  });

  it('see their own family only', () => {
    expect(ask(iptables(['-A INPUT -j DROP'], { family: 'ip6' }), SSH).verdict).toBe('accept');
    expect(
      ask(compileNft('table ip6 t {\nchain c {\ntype filter hook input priority 0\ndrop\n}\n}\n'), SSH).verdict,
    ).toBe('accept');
  });

  it('of ingress see their devices', () => {
    const ingress = (dev: string): string =>
      `table netdev t {\nchain c {\ntype filter hook ingress device "${dev}" priority 0; policy accept;\nip saddr 198.51.100.7 drop\n}\n}\n`;
    expect(ask(compileNft(ingress('eth0')), SSH).verdict).toBe('drop');
    expect(ask(compileNft(ingress('eth1')), SSH).verdict).toBe('accept');
  });

  it('of bridge tables are named as not seen', () => {
    const bridge = 'table bridge filter {\nchain c {\ntype filter hook forward priority 0; policy drop;\n}\n}\n';
    expect(ask(compileNft(bridge), SSH).unseen).toEqual(['bridge filter']);
  });
});

describe('conntrack', () => {
  const early = (...rules: readonly string[]): string =>
    table('raw', chain('pre', 'type filter hook prerouting priority -300; policy accept;', ...rules));

  it('has not seen a packet before priority -200', () => {
    expect(ask(compileNft(early('ct state new drop')), SSH).verdict).toBe('accept');
    expect(ask(compileNft(early('ct state invalid drop')), SSH).verdict).toBe('drop');
  });

  it('leaves alone what notrack names', () => {
    const rules =
      early('tcp dport 22 notrack') +
      table('t', chain('in', 'type filter hook input priority 0', 'ct state untracked drop'));
    expect(ask(compileNft(rules), SSH).verdict).toBe('drop');
    expect(ask(compileNft(rules), PING).verdict).toBe('accept');
    const maybe = rules.replace('notrack', 'limit rate 1/second notrack');
    expect(ask(compileNft(maybe), SSH).verdict).toBe('depends');
  });

  it('without an entry has no mark to read or to set', () => {
    const untracked = { ...SSH, ctState: 'untracked' as const, mark: 7 };
    expect(
      ask(iptables(['-A INPUT -j CONNMARK --restore-mark', '-A INPUT -m mark --mark 0x7 -j DROP']), untracked).verdict,
    ).toBe('drop');
    expect(ask(nft(['meta mark set ct mark drop']), untracked).verdict).toBe('accept');
    expect(ask(nft(['meta mark set ct mark drop']), SSH).verdict).toBe('drop');
  });

  it('keeps an entry that is there: notrack is too late then', () => {
    const late = table('t', chain('in', 'type filter hook input priority 0', 'notrack', 'ct state untracked drop'));
    expect(ask(compileNft(late), SSH).verdict).toBe('accept');
  });
});

describe('an nft verdict map', () => {
  it('acts by the first case that holds, and goes on without one', () => {
    const rest = 'chain ssh {\ndrop\n}';
    expect(ask(nft(['tcp dport vmap { 80 : accept, 22 : jump ssh }'], undefined, rest), SSH).verdict).toBe('drop');
    expect(ask(nft(['iifname vmap { "lo" : drop, "virbr0" : drop }']), SSH).verdict).toBe('accept');
    expect(ask(nft(['ct state vmap { established : accept, invalid : drop, new : drop }']), SSH).verdict).toBe('drop');
    expect(ask(nft(['ip saddr . tcp dport vmap { 198.51.100.7 . 22 : drop }']), SSH).verdict).toBe('drop');
    expect(
      ask(
        nft(
          ['tcp dport vmap @ports'],
          undefined,
          'map ports { type inet_service : verdict; elements = { 22 : drop } }',
        ),
        SSH,
      ).verdict,
    ).toBe('drop');
    expect(ask(nft(['tcp dport vmap @elsewhere']), SSH).verdict).toBe('depends');
  });
});

describe('laws', () => {
  const target = fc.constantFrom('ACCEPT', 'DROP', 'RETURN');
  const match = fc.constantFrom('', '-p tcp ', '-p udp ', '-i eth0 ', '-m limit --limit 1/s ', '-s 10.0.0.0/8 ');
  const rules = fc.array(
    fc.tuple(match, target).map(([said, to]) => `-A INPUT ${said}-j ${to}`),
    { maxLength: 8 },
  );

  it('a verdict that holds for an unknown packet holds for every packet', () => {
    fc.assert(
      fc.property(rules, fc.constantFrom('DROP', 'ACCEPT'), (lines, policy) => {
        const program = iptables(lines, { policies: { INPUT: policy } });
        const vague = ask(program, { family: 'ip' });
        if (vague.verdict === 'depends') return;
        for (const packet of [SSH, PING, { ...SSH, src: '10.1.1.1', iif: 'eth1' }]) {
          expect(ask(program, packet).verdict).toBe(vague.verdict);
        }
      }),
      { seed: 20261121, numRuns: 300 },
    );
  });

  it('a base chain that accepts all changes no verdict', () => {
    fc.assert(
      fc.property(rules, fc.integer({ min: -400, max: 400 }), (lines, priority) => {
        const program = iptables(lines);
        const idle = compileNft(
          table('idle', chain('c', `type filter hook input priority ${priority}; policy accept;`)),
        );
        expect(ask(joinPrograms([program, idle]), SSH).verdict).toBe(ask(program, SSH).verdict);
      }),
      { seed: 20261121, numRuns: 100 },
    );
  });
});
