// A rule's guards, read from the front of its text: none of them may fail for a packet that the rule matches.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { holds } from '../../src/explain/expression.ts';
import { compileContext } from '../../src/explain/facts.ts';
import { compileIptablesRule } from '../../src/explain/iptables-rule.ts';
import { packetOf } from '../../src/explain/packet.ts';
import { parseRuleset } from '../../src/ruleset/iptables/parse.ts';
import { explainWorld } from '../generate/explain.ts';

const context = compileContext('ip');

function guardsOf(text: string): unknown[] {
  const guards: unknown[] = [];
  compileIptablesRule(text, context).someGuard?.((guard) => void guards.push(guard) as unknown as false);
  return guards;
}

describe('the guards of a rule', () => {
  it.each([
    ['-A INPUT -s 10.0.0.1/32 -i eth0 -p tcp -m tcp --dport 22 -j ACCEPT', 4],
    ['-A INPUT -p tcp -m comment --comment "-s 10.0.0.1/32 x" -m tcp --dport 22 -j ACCEPT', 1],
    ['-A INPUT ! -s 10.0.0.1/32 -p tcp -j ACCEPT', 0],
    ['-A INPUT -p udp -m multiport ! --dports 53,67 -j ACCEPT', 1],
    ['-A "a -s 10.0.0.1/32 b" -p tcp -j ACCEPT', 0],
    ['-A INPUT -m conntrack --ctstate NEW -m limit --limit 1/sec -j ACCEPT', 1],
    ['-A INPUT -s no.such.host -j ACCEPT', 0],
    ['-A INPUT -j ACCEPT', 0],
    ['-A INPUT', 0],
  ])('of %s are %i', (text, count) => {
    expect(guardsOf(text)).toHaveLength(count);
  });

  it('fail only where a match of the rule fails', () => {
    let failed = 0;
    fc.assert(
      fc.property(explainWorld(30), ({ iptables, packets }) => {
        const ruleset = parseRuleset(iptables.ip, 'ip');
        const rules = [...ruleset.tables.values()]
          .flatMap(({ chains }) => [...chains.values()])
          .flatMap((chain) => chain.rules.map(({ text }) => compileIptablesRule(text, context)));
        for (const packet of packets.map((sent) => packetOf(sent.packet)).filter(({ family }) => family === 'ip'))
          for (const rule of rules) {
            if (rule.someGuard?.((guard) => holds(guard, packet) === false) !== true) continue;
            failed++;
            const misses = rule.steps.some((step) => step.kind === 'match' && holds(step.test, packet) === false);
            expect(misses, rule.text).toBe(true);
          }
      }),
      { numRuns: 30 },
    );
    expect(failed).toBeGreaterThan(100);
  });
});
