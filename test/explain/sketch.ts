// Short ways to say a ruleset and a packet in tests.

import type { Explanation } from '../../src/explain/explanation.ts';
import type { Facts } from '../../src/explain/facts.ts';
import { compileIptables } from '../../src/explain/iptables-rule.ts';
import { compileNft } from '../../src/explain/nft-ruleset.ts';
import type { PacketSpec } from '../../src/explain/packet.ts';
import { explain, type HostView, type Journey } from '../../src/explain/path.ts';
import type { Program } from '../../src/explain/program.ts';
import { parseRuleset } from '../../src/ruleset/iptables/parse.ts';
import type { Family } from '../../src/ruleset/types.ts';

const CHAINS: Readonly<Record<string, string>> = {
  raw: 'PREROUTING OUTPUT',
  mangle: 'PREROUTING INPUT FORWARD OUTPUT POSTROUTING',
  nat: 'PREROUTING INPUT OUTPUT POSTROUTING',
  filter: 'INPUT FORWARD OUTPUT',
};

/** `-A INPUT ...` lines of one table as a whole ruleset; `policies` (`{ INPUT: 'DROP' }`), own chains by their rules. */
export function iptables(
  rules: readonly string[],
  { table = 'filter', family = 'ip' as Family, policies = {} as Record<string, string>, facts = {} as Facts } = {},
): Program {
  const builtin = (CHAINS[table] ?? '').split(' ');
  const own = new Set(rules.map((rule) => rule.split(' ')[1] ?? '').filter((name) => !builtin.includes(name)));
  const text = [
    `*${table}`,
    ...builtin.map((name) => `:${name} ${policies[name] ?? 'ACCEPT'} [0:0]`),
    ...[...own].map((name) => `:${name} - [0:0]`),
    ...rules,
    'COMMIT',
    '',
  ].join('\n');
  return compileIptables(parseRuleset(text, family), facts);
}

/** Rules of one base chain in `table inet t`. */
export function nft(
  rules: readonly string[],
  head = 'type filter hook input priority 0; policy accept;',
  rest = '',
): Program {
  return compileNft(`table inet t {\n${rest}\nchain c {\n${head}\n${rules.join('\n')}\n}\n}\n`);
}

/** A new ssh connection that comes in by eth0. */
export const SSH: PacketSpec = {
  family: 'ip',
  iif: 'eth0',
  src: '198.51.100.7',
  dst: '192.0.2.1',
  protocol: 'tcp',
  sport: 40000,
  dport: 22,
  tcpFlags: ['syn'],
  ctState: 'new',
  length: 60,
};

/** The same over IPv6. */
export const SSH6: PacketSpec = { ...SSH, family: 'ip6', src: '2001:db8::7', dst: '2001:db8:1::1' };

export const PING: PacketSpec = {
  family: 'ip',
  iif: 'eth0',
  src: '198.51.100.7',
  dst: '192.0.2.1',
  protocol: 'icmp',
  icmpType: 'echo-request',
  icmpCode: 0,
  ctState: 'new',
  length: 84,
};

export const PING6: PacketSpec = {
  ...PING,
  family: 'ip6',
  src: '2001:db8::7',
  dst: '2001:db8:1::1',
  protocol: 'icmpv6',
};

export function ask(program: Program, packet: PacketSpec, journey: Journey = 'input', host?: HostView): Explanation {
  return explain(program, { packet, journey }, host);
}

/** `filter INPUT 2`, or `filter INPUT policy`. */
export function decider({ deciding }: Explanation): string | undefined {
  const place = deciding?.place;
  return place && `${place.table} ${place.chain} ${place.index ?? 'policy'}`;
}

export type Said = 'yes' | 'no' | 'depends';

const SAID: Readonly<Record<string, Said>> = { drop: 'yes', accept: 'no', depends: 'depends' };

/** What a match says of a packet: the rule drops, everything else is accepted. */
export function said(program: Program, packet: PacketSpec, journey: Journey = 'input'): Said | string {
  const { verdict } = ask(program, packet, journey);
  return SAID[verdict] ?? verdict;
}
