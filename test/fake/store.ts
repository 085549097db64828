// What the fake kernel holds: tables of chains of rules, and how iptables-save prints them.
// The same shapes serve both engines; what differs stands in nft-engine.ts and legacy-engine.ts.

import type { Family } from '../../src/ruleset/types.ts';

export type Engine = 'nft' | 'legacy';

/** A rule in the kernel. `handle` is undefined while it only stands in a batch that was not committed yet. */
export interface FakeRule {
  handle: number | undefined;
  /** What follows `-A CHAIN `, in saved form. */
  readonly spec: string;
  packets: number;
  bytes: number;
}

export interface FakeChain {
  readonly name: string;
  handle: number;
  /** Built-in chains only; `-` for others. */
  policy: string;
  packets: number;
  bytes: number;
  rules: FakeRule[];
}

export interface FakeTable {
  readonly name: string;
  /** nft: only the built-in chains that were used. legacy: always all of them. */
  chains: Map<string, FakeChain>;
  /** Chains and rules of a table share one counter in the kernel; a new table starts again at 1. */
  nextHandle: number;
}

export type FakeTables = Map<string, FakeTable>;

const HOOKS = {
  prerouting: 'PREROUTING',
  input: 'INPUT',
  forward: 'FORWARD',
  output: 'OUTPUT',
  postrouting: 'POSTROUTING',
} as const;

/** Built-in chains of each table, in hook order, as both engines print them. */
export const BUILTIN_CHAINS: Readonly<Record<string, readonly string[]>> = {
  filter: [HOOKS.input, HOOKS.forward, HOOKS.output],
  nat: [HOOKS.prerouting, HOOKS.input, HOOKS.output, HOOKS.postrouting],
  mangle: Object.values(HOOKS),
  raw: [HOOKS.prerouting, HOOKS.output],
  security: [HOOKS.input, HOOKS.forward, HOOKS.output],
};

/** iptables-nft-save prints tables in this fixed order, whatever was created first (measured, 1.8.9). */
export const NFT_TABLE_ORDER: readonly string[] = ['mangle', 'security', 'raw', 'filter', 'nat'];

export const isBuiltinName = (table: string, chain: string): boolean => BUILTIN_CHAINS[table]?.includes(chain) ?? false;

export const emptyChain = (name: string, policy: string): FakeChain => ({
  name,
  handle: 0,
  policy,
  packets: 0,
  bytes: 0,
  rules: [],
});

export const emptyTable = (name: string): FakeTable => ({ name, chains: new Map(), nextHandle: 1 });

/** A copy that can be thrown away when a transaction fails. Rules are shared until a commit replaces them. */
export function copyTable(table: FakeTable): FakeTable {
  const chains = new Map<string, FakeChain>();
  for (const [name, chain] of table.chains) chains.set(name, { ...chain, rules: [...chain.rules] });
  return { ...table, chains };
}

/** Chains as both engines print them: built-in ones by hook, then the others by byte order of their name. */
export function printedChains(table: FakeTable): FakeChain[] {
  const builtin = BUILTIN_CHAINS[table.name] ?? [];
  const own = [...table.chains.values()].filter((chain) => !builtin.includes(chain.name));
  own.sort((a, b) => (a.name < b.name ? -1 : 1));
  return [...builtin.map((name) => table.chains.get(name) ?? emptyChain(name, 'ACCEPT')), ...own];
}

/** `-A CHAIN` and the rule, as iptables-save prints it. */
export const ruleLine = (chain: string, rule: FakeRule): string =>
  rule.spec === '' ? `-A ${chain}` : `-A ${chain} ${rule.spec}`;

/** One table as iptables-save prints it, without the comment lines around it. */
export function printTable(table: FakeTable, withCounters: boolean): string {
  const chains = printedChains(table);
  const lines = [`*${table.name}`];
  for (const chain of chains) lines.push(`:${chain.name} ${chain.policy} ${chainCounters(chain)}`);
  for (const chain of chains) for (const rule of chain.rules) lines.push(printRule(chain.name, rule, withCounters));
  lines.push('COMMIT');
  return `${lines.join('\n')}\n`;
}

const chainCounters = (chain: FakeChain): string =>
  chain.policy === '-' ? '[0:0]' : `[${chain.packets}:${chain.bytes}]`;

const printRule = (chain: string, rule: FakeRule, withCounters: boolean): string =>
  (withCounters ? `[${rule.packets}:${rule.bytes}] ` : '') + ruleLine(chain, rule);

/** What `iptables -S [chain]` prints: policies and `-N` lines first, then the rules. */
export function listRules(table: FakeTable, only: string | undefined): string {
  const chains = printedChains(table).filter((chain) => only === undefined || chain.name === only);
  const heads = chains.map((c) => (c.policy === '-' ? `-N ${c.name}` : `-P ${c.name} ${c.policy}`));
  const rules = chains.flatMap((chain) => chain.rules.map((rule) => ruleLine(chain.name, rule)));
  return [...heads, ...rules].map((line) => `${line}\n`).join('');
}

/** The chain a rule jumps or goes to, when it is a chain and not a target extension. */
export function jumpsTo(spec: string): string | undefined {
  const found = /(?:^| )-[jg] (\S+)/.exec(withoutQuoted(spec))?.[1]; // "-i virbr0 -j LIBVIRT_INP"
  return found === undefined || TARGETS.has(found) ? undefined : found;
}

/** A comment that holds "-j X" must not count as a jump. The length stays. */
export const withoutQuoted = (spec: string): string =>
  spec.includes('"') ? spec.replace(/"(?:[^"\\]|\\.)*"/g, (text) => `"${'_'.repeat(text.length - 2)}"`) : spec; // "a \"b\""

/** The rule with its jump to a chain led to another one. */
export function redirected(spec: string, to: string): string {
  const found = /(?:^| )-[jg] (\S+)/.exec(withoutQuoted(spec)); // "-i virbr0 -j LIBVIRT_INP"
  if (found === null) return spec;
  const end = found.index + found[0].length;
  return `${spec.slice(0, end - found[1]!.length)}${to}${spec.slice(end)}`;
}

/** Targets that exist as extensions or verdicts; every other word after -j is the name of a chain. */
export const TARGETS: ReadonlySet<string> = new Set(
  (
    'ACCEPT DROP RETURN QUEUE REJECT LOG NFLOG ULOG AUDIT MARK CONNMARK CONNSECMARK SECMARK DSCP TOS TTL HL ECN TCPMSS TCPOPTSTRIP ' +
    'CLASSIFY CHECKSUM CT NOTRACK TRACE TEE TPROXY NFQUEUE IDLETIMER RATEEST SET SYNPROXY LED ' +
    'DNAT SNAT MASQUERADE REDIRECT NETMAP'
  ).split(' '),
);

/** Families with their tables, of one engine. */
export type FakeStore = Record<Family, FakeTables>;
export const emptyStore = (): FakeStore => ({ ip: new Map(), ip6: new Map() });

/** Chains that rules of the table jump to, with the number of such rules. */
export function references(table: FakeTable): Map<string, number> {
  const counts = new Map<string, number>();
  for (const chain of table.chains.values()) {
    for (const rule of chain.rules) {
      const to = jumpsTo(rule.spec);
      if (to !== undefined) counts.set(to, (counts.get(to) ?? 0) + 1);
    }
  }
  return counts;
}
