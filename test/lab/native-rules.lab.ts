// Native nft rules in a table of iptables', on the real kernel: what iptables-save makes of them, and that they are found.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { misprintedRule } from '../../src/observe/native-rules.ts';
import { readFamily } from '../../src/observe/rulesets.ts';
import { openNetns, type NetnsHost } from './netns-host.ts';

let netns: NetnsHost;
beforeAll(async () => void (netns = await openNetns()));
afterAll(() => netns.close());

async function foundWith(commands: string): Promise<{ text: string; found: string | undefined }> {
  await netns.sh(
    `nft flush ruleset; iptables -A INPUT -s 10.0.0.1 -j DROP; nft add set ip filter foo '{ type ipv4_addr; }' 2>&1; ${commands}`,
  );
  const read = await readFamily(netns.host, 'ip');
  if (read.kind === 'unreadable') return { text: read.why, found: read.why };
  const why = await misprintedRule(netns.host, read.ruleset, false);
  return { text: read.text, found: why };
}

describe('a native nft rule', () => {
  it.each([
    ['tcp dport { 80, 443 } accept', '-A INPUT -p tcp -j ACCEPT'],
    ['ip saddr @foo drop', '-A INPUT -j DROP'],
    ['ip saddr { 10.1.1.1, 10.1.1.2 } counter drop', '-A INPUT -j DROP'],
    ['ip saddr 10.2.2.1-10.2.2.9 accept', '-A INPUT -s 10.2.2.9/32 -j ACCEPT'],
    ['iifname { eth0, eth1 } accept', '-A INPUT -j ACCEPT'],
    ['tcp dport vmap { 22 : accept, 23 : drop }', '-A INPUT -p tcp'],
  ])('%s is printed by iptables-save as `%s`, and found', async (rule, printed) => {
    const { text, found } = await foundWith(`nft add rule ip filter INPUT '${rule}'`);
    expect(text.replace(/\[\d+:\d+\] /g, '')).toContain(`${printed}\n`);
    expect(found?.replaceAll('"', '')).toContain(rule);
  });

  it('is not seen in what iptables itself writes', async () => {
    const { found } = await foundWith(`
      iptables -A INPUT -p tcp -m multiport --dports 1,2,3 -j ACCEPT
      iptables -A INPUT -m iprange --src-range 10.0.0.1-10.0.0.9 -j ACCEPT
      iptables -A INPUT -m conntrack --ctstate NEW -j LOG --log-prefix 'a { @b'
      iptables -A INPUT -p tcp --dport 80:90 -m mark --mark 5/7 -j REJECT
      iptables -A INPUT -m addrtype --dst-type LOCAL -j DROP
      iptables -A OUTPUT -m owner --uid-owner 0-1000 -j ACCEPT
      iptables -A INPUT -p tcp --tcp-flags SYN,RST SYN -m comment --comment '{ 1 } @foo vmap' -j ACCEPT
      iptables -t nat -A PREROUTING -p tcp -j DNAT --to-destination 10.0.0.1-10.0.0.5:80
      iptables -A FORWARD -j NFQUEUE --queue-balance 0:3
      nft add rule ip filter INPUT tcp dport 22 accept`);
    expect(found).toBeUndefined();
  });
});
