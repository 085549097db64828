// Native nft rules that iptables-save prints as another rule. The JSON is what nft 1.0.6 printed.

import { describe, expect, it } from 'vitest';
import { misprintedRule } from '../../src/observe/native-rules.ts';
import { parseRuleset } from '../../src/ruleset/iptables/parse.ts';
import { createFakeHost } from '../fake/host.ts';

const FOREIGN = [
  '{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":{"set":[80,443]}}}',
  '{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":"@foo"}}',
  '{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":{"range":["10.2.2.1","10.2.2.9"]}}}',
  '{"vmap":{"key":{"payload":{"protocol":"tcp","field":"dport"}},"data":{"set":[[22,{"accept":null}],[23,{"drop":null}]]}}}',
  '{"match":{"op":"==","left":{"concat":[{"payload":{"protocol":"ip","field":"saddr"}}]},"right":{"set":[{"concat":["10.1.1.1"]}]}}}',
  '{"match":{"op":"==","left":{"payload":{"protocol":"udp","field":"length"}},"right":40}}',
  '{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"window"}},"right":5}}',
  '{"match":{"op":"==","left":{"payload":{"protocol":"icmp","field":"code"}},"right":"port-unreachable"}}',
  '{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"protocol"}},"right":{"range":[6,17]}}}',
  '{"match":{"op":"<","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":"10.0.0.5"}}',
  '{"match":{"op":"==","left":{"payload":{"base":"ih","offset":0,"len":8}},"right":6}}',
  '{"mangle":{"key":{"payload":{"protocol":"ip","field":"ttl"}},"value":5}}',
];
/** What iptables 1.8.9 itself makes of -m multiport, iprange, --dport 80:90, --mark 5/7, --tcp-flags. */
const OWN = [
  '{"xt":{"type":"match","name":"multiport"}}',
  '{"xt":{"type":"match","name":"iprange"}}',
  '{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":{"range":[80,90]}}}',
  '{"match":{"op":"==","left":{"&":[{"meta":{"key":"mark"}},7]},"right":5}}',
  '{"match":{"op":"==","left":{"&":[{"payload":{"protocol":"tcp","field":"flags"}},["syn","rst"]]},"right":"syn"}}',
  '{"match":{"op":"in","left":{"meta":{"key":"iifname"}},"right":"virbr*"}}',
  '{"match":{"op":"!=","left":{"&":[{"payload":{"protocol":"ip","field":"frag-off"}},8191]},"right":0}}',
  '{"match":{"op":"!=","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":{"range":[7,9]}}}',
  '{"match":{"op":"==","left":{"payload":{"protocol":"icmp","field":"type"}},"right":"echo-request"}}',
  '{"mangle":{"key":{"meta":{"key":"nftrace"}},"value":1}}',
];

const rulesetOf = (...rules: readonly string[]): ReturnType<typeof parseRuleset> =>
  parseRuleset(['*filter', ':INPUT ACCEPT [0:0]', ...rules, 'COMMIT', ''].join('\n'), 'ip');

/** A host on which INPUT holds a rule with this expression. */
function hostWith(expression: string) {
  const host = createFakeHost();
  const asked: string[] = [];
  const state = { expression };
  host.answer('nft', ({ args }) => {
    if (args.includes('-a')) return { stdout: '\t\ttcp dport { 80, 443 } accept # handle 4\n' };
    asked.push(args.join(' '));
    const rule = `{"rule":{"family":"ip","table":"filter","chain":"INPUT","handle":4,"expr":[${state.expression},{"accept":null}]}}`;
    return { stdout: `{"nftables":[{"metainfo":{"version":"1.0.6"}},${rule}]}\n` };
  });
  return { host, asked, state };
}

describe('a native rule in a table of iptables', () => {
  it.each(FOREIGN)('is told: %s', async (expression) => {
    const { host, asked } = hostWith(expression);
    const why = await misprintedRule(host, rulesetOf('-A INPUT -p tcp -j ACCEPT'), false);
    expect(why).toContain(
      'table filter holds a native nft rule in chain INPUT, which iptables-save shows as another: tcp dport { 80, 443 } accept;',
    );
    expect(asked).toEqual(['-j list chain ip filter INPUT']);
  });

  it.each(OWN)('is not made of what iptables writes: %s', async (expression) => {
    expect(await misprintedRule(hostWith(expression).host, rulesetOf('-A INPUT -j ACCEPT'), false)).toBeUndefined();
  });

  it('is looked for where a chain changed, only; a known one is looked at until it is gone', async () => {
    const { host, asked, state } = hostWith(OWN[0] ?? '');
    const [one, two] = [rulesetOf('-A INPUT -j ACCEPT'), rulesetOf('-A INPUT -j ACCEPT', '-A INPUT -p tcp -j ACCEPT')];
    for (const ruleset of [one, one, one]) await misprintedRule(host, ruleset, false);
    expect(asked).toHaveLength(1);
    state.expression = FOREIGN[0] ?? '';
    expect(await misprintedRule(host, two, true)).toBeUndefined();
    expect(await misprintedRule(host, two, false)).toBeDefined();
    expect(await misprintedRule(host, two, true)).toBeDefined();
    expect(asked).toHaveLength(2);
    await misprintedRule(host, rulesetOf(), false);
    state.expression = OWN[0] ?? '';
    expect(await misprintedRule(host, two, false)).toBeUndefined();
    expect(await misprintedRule(host, two, true)).toBeUndefined();
  });

  it('is looked for again when it comes back after it was gone, though the same text stood there before', async () => {
    const { host, state } = hostWith(FOREIGN[0] ?? '');
    const [without, withIt] = [
      rulesetOf('-A INPUT -j ACCEPT'),
      rulesetOf('-A INPUT -j ACCEPT', '-A INPUT -p tcp -j ACCEPT'),
    ];
    expect(await misprintedRule(host, withIt, false)).toBeDefined();
    state.expression = OWN[0] ?? '';
    expect(await misprintedRule(host, without, false)).toBeUndefined();
    state.expression = FOREIGN[0] ?? '';
    expect(await misprintedRule(host, withIt, false)).toBeDefined();
  });

  it('is not looked for among rules that come back after a flush, but in a second copy of one', async () => {
    const { host, asked } = hostWith(OWN[0] ?? '');
    const rules = ['-A INPUT -j ACCEPT', '-A INPUT -p tcp -j ACCEPT'];
    for (const ruleset of [rulesetOf(...rules), rulesetOf(), rulesetOf(...rules)])
      await misprintedRule(host, ruleset, false);
    expect(asked).toHaveLength(1);
    await misprintedRule(host, rulesetOf(...rules, '-A INPUT -p tcp -j ACCEPT'), false);
    expect(asked).toHaveLength(2);
  });

  it('is not looked for in empty chains, and an nft that fails or says nonsense is no finding', async () => {
    const { host, asked } = hostWith('');
    expect(await misprintedRule(host, rulesetOf(), false)).toBeUndefined();
    expect(asked).toEqual([]);
    expect(await misprintedRule(host, rulesetOf('-A INPUT -j DROP'), false)).toBeUndefined();
    const without = createFakeHost();
    without.answer('nft', () => ({ exitCode: 127, stderr: 'cannot start' }));
    expect(await misprintedRule(without, rulesetOf('-A INPUT -j DROP'), false)).toBeUndefined();
  });
});
