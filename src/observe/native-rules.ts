// Native nft rules in iptables' own tables that iptables-save prints as something else.
// Measured with iptables 1.8.9: of `tcp dport { 80, 443 } accept` it prints `-p tcp -j ACCEPT`, of `ip saddr @set drop` it prints
// `-j DROP`, of `ip saddr 10.2.2.1-10.2.2.9 accept` it prints `-s 10.2.2.9/32 -j ACCEPT`; exit code 0, no warning. Written back
// from that text such a rule lets everybody in, or nobody. (`ct state`, `log`, `reject` make the table "incompatible", `ip dscp`
// and `meta skuid` end it with 3: both are heard. Plain ports, addresses and interfaces are printed right.)
// Goal: such a text never enters a snapshot. What tells them apart for sure: iptables writes no set lookup, no verdict map, no
// address range and no header field but those of PRINTED; its multiport, iprange, set and length matches are `xt` in `nft -j`.
// Not told: one field matched twice (`tcp dport 5 tcp dport 6`, of which the second is printed); iptables writes such, too.
// Does not: look in the fast lane, which goes by the last look (native-look.ts).

import type { Host } from '../host/host.ts';
import { countTexts } from '../ruleset/multiset.ts';
import type { Family, Ruleset } from '../ruleset/types.ts';
import { asListed, field, findMisprints, type PrintedChains, rulesIn } from './native-look.ts';

/** Why what iptables-save printed of this family is not what stands; undefined when nothing speaks against it. */
export async function misprintedRule(host: Host, ruleset: Ruleset, fast: boolean): Promise<string | undefined> {
  const looking = { isMisprinted: (rule: readonly unknown[]) => rule.some(isMisprinted), fast };
  const [first] = await findMisprints(host, ruleset.family, rulesByChain(ruleset), looking);
  if (first === undefined) return undefined;
  const { table, chain, text } = first;
  return `table ${table} holds a native nft rule in chain ${chain}, which iptables-save shows as another: ${text}; move it into a table of its own`;
}

/**
 * The rule in one of these chains for which iptables-save leaves the whole table out; undefined when none is found. (What iptables
 * 1.8.9 and 1.8.11 know: STATEMENTS and KEYS, and `xt`.)
 */
export async function incompatibleRule(
  host: Host,
  family: Family,
  table: string,
  chains: ReadonlySet<string>,
): Promise<{ readonly chain: string; readonly text: string } | undefined> {
  const { exitCode, stdout } = await host.exec({ file: 'nft', args: ['-j', 'list', 'table', family, table] });
  const rules = exitCode === 0 ? rulesIn(stdout).filter(({ chain }) => chains.has(chain)) : [];
  const rule = rules.find(({ expr }) => expr.some(isIncompatible));
  return rule && { chain: rule.chain, text: await asListed(host, family, rule) };
}

/** Statements that come from what iptables has words for: payload, meta, cmp, bitwise, counter, immediate, lookup, range, limit. */
const STATEMENTS = ['counter', 'accept', 'drop', 'return', 'continue', 'jump', 'goto', 'vmap', 'limit', 'xt', 'mangle'];
const KEYS = ['payload', 'meta', '&', '|', '^', '<<', '>>', 'concat'];

/** `{"match":{"left":{"ct":{"key":"state"}},...}}`, `{"log":null}`, `{"reject":{...}}` */
function isIncompatible(expression: unknown): boolean {
  const [statement] = Object.keys(expression ?? {});
  const match = field(expression, 'match');
  if (statement === 'log') return field(field(expression, 'log'), 'group') === undefined; // NFLOG has one
  if (match === undefined) return statement !== undefined && !STATEMENTS.includes(statement);
  const [left] = Object.keys(field(match, 'left') ?? {});
  return left !== undefined && !KEYS.includes(left);
}

function rulesByChain({ tables }: Ruleset): PrintedChains {
  const chains = new Map<string, ReadonlyMap<string, number>>();
  for (const table of tables.values())
    for (const { name, rules } of table.chains.values())
      if (rules.length > 0) chains.set(`${table.name} ${name}`, countTexts(rules.map((rule) => rule.text)));
  return chains;
}

/**
 * What iptables-save prints right of these headers. The rest it leaves out (measured, 1.8.9): of `udp length 40 drop` it prints
 * `-p udp -j DROP`, of `icmp code 3 drop` `--icmp-type any -j DROP`.
 */
const PRINTED: Readonly<Record<string, readonly string[]>> = {
  tcp: ['sport', 'dport', 'flags'],
  udp: ['sport', 'dport'],
  icmp: ['type'],
  icmpv6: ['type'],
};
/** Ranges, and `<` or `>`, it prints of these only. */
const RANGED = ['sport', 'dport', 'ttl', 'hoplimit'];

/** One expression of a rule: `{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":{"set":[80,443]}}}` */
function isMisprinted(expression: unknown): boolean {
  if (field(expression, 'vmap') !== undefined || field(expression, 'map') !== undefined) return true;
  if (field(field(field(expression, 'mangle'), 'key'), 'payload') !== undefined) return true; // ip ttl set 5
  const match = field(expression, 'match');
  const [left, right, op] = [field(match, 'left'), field(match, 'right'), field(match, 'op')];
  if (field(right, 'set') !== undefined || (typeof right === 'string' && right.startsWith('@'))) return true;
  const payload = field(left, 'payload') ?? maskedPayload(left);
  if (field(payload, 'base') === 'ih') return true; // @ih,0,8 6
  const [protocol, name] = [field(payload, 'protocol'), field(payload, 'field')];
  if (typeof protocol !== 'string' || typeof name !== 'string') return false;
  if (PRINTED[protocol]?.includes(name) === false) return true;
  const ordered = field(right, 'range') !== undefined || (typeof op === 'string' && /^[<>]=?$/.test(op)); // saddr < 10.0.0.5
  return ordered && !RANGED.includes(name);
}

/** `{"&":[{"payload":{"protocol":"tcp","field":"flags"}},"syn"]}` */
function maskedPayload(left: unknown): unknown {
  const parts = field(left, '&');
  return Array.isArray(parts) ? field(parts[0], 'payload') : undefined;
}
