// Native nft rules in iptables' own tables that iptables-save prints as something else.
// Measured with iptables 1.8.9: of `tcp dport { 80, 443 } accept` it prints `-p tcp -j ACCEPT`, of `ip saddr @set drop` it prints
// `-j DROP`, of `ip saddr 10.2.2.1-10.2.2.9 accept` it prints `-s 10.2.2.9/32 -j ACCEPT`; exit code 0, no warning. Written back
// from that text such a rule lets everybody in, or nobody. (`ct state`, `log`, `reject` make the table "incompatible", `ip dscp`
// and `meta skuid` end it with 3: both are heard. Plain ports, addresses and interfaces are printed right.)
// Goal: such a text never enters a snapshot. What tells them apart for sure: iptables writes no set lookup, no verdict map, no
// address range and no header field but those of PRINTED; its multiport, iprange, set and length matches are `xt` in `nft -j`.
// Not told: one field matched twice (`tcp dport 5 tcp dport 6`, of which the second is printed); iptables writes such, too.
// Cost: one `nft -j list chain` (5 ms) for each chain with a rule that never stood there before, or one a table when there
// are many; a table of 1,000 rules 0.1 s. Does not: look in the fast lane, which goes by the last look.

import type { Host } from '../host/host.ts';
import { countTexts } from '../ruleset/multiset.ts';
import type { Family, Ruleset } from '../ruleset/types.ts';

interface Looked {
  /** How often each rule, as iptables-save prints it, has stood here and was looked at. */
  readonly seen: ReadonlyMap<string, number>;
  /** The native rule that was found there. */
  readonly found: string | undefined;
}

/** By host and family: chains (`filter INPUT`) as they were at the last look. */
const looked = new WeakMap<Host['exec'], Map<Family, ReadonlyMap<string, Looked>>>();
/** Beyond this many chains to look at, whole tables are listed. */
const MOST_CHAINS = 3;

/** Why what iptables-save printed of this family is not what stands; undefined when nothing speaks against it. */
export async function misprintedRule(host: Host, ruleset: Ruleset, fast: boolean): Promise<string | undefined> {
  const families = looked.get(host.exec) ?? new Map<Family, ReadonlyMap<string, Looked>>();
  looked.set(host.exec, families);
  const before = families.get(ruleset.family) ?? new Map<string, Looked>();
  if (fast) return firstFound(before);
  const chains = rulesByChain(ruleset);
  const changed = [...chains].filter(([place, rules]) => isNews(before.get(place), rules)).map(([place]) => place);
  const found = changed.length === 0 ? new Map<string, string>() : await nativeIn(host, ruleset.family, changed);
  const now = new Map(before);
  for (const [place, { found: native }] of before) if (native !== undefined && !chains.has(place)) now.delete(place);
  for (const place of changed) {
    const native = found.get(place);
    const seen = before.get(place)?.seen ?? new Map<string, number>();
    // What a native rule is printed as is not learnt: when it comes back it is looked at again.
    now.set(place, {
      seen: native === undefined ? mostOf(seen, chains.get(place) ?? new Map()) : seen,
      found: native,
    });
  }
  families.set(ruleset.family, now);
  return firstFound(now);
}

/** Rules that come back after a flush were looked at before: only one that never stood here, or not so often, is news. */
function isNews(before: Looked | undefined, rules: ReadonlyMap<string, number>): boolean {
  if (before === undefined || before.found !== undefined) return true;
  return [...rules].some(([text, count]) => count > (before.seen.get(text) ?? 0));
}

function mostOf(before: ReadonlyMap<string, number>, now: ReadonlyMap<string, number>): Map<string, number> {
  const most = new Map(before);
  for (const [text, count] of now) most.set(text, Math.max(count, most.get(text) ?? 0));
  return most;
}

function firstFound(chains: ReadonlyMap<string, Looked>): string | undefined {
  const [place, native] = [...chains].find(([, { found }]) => found !== undefined) ?? [];
  if (place === undefined) return undefined;
  const [table, chain] = place.split(' ');
  return `table ${table} holds a native nft rule in chain ${chain}, which iptables-save shows as another: ${native?.found}; move it into a table of its own`;
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

/** `filter INPUT` -> its rules' texts and how often each stands; chains without rules are left out. */
function rulesByChain({ tables }: Ruleset): Map<string, ReadonlyMap<string, number>> {
  const chains = new Map<string, ReadonlyMap<string, number>>();
  for (const table of tables.values())
    for (const { name, rules } of table.chains.values())
      if (rules.length > 0) chains.set(`${table.name} ${name}`, countTexts(rules.map((rule) => rule.text)));
  return chains;
}

/** The first native rule of each of these chains that iptables-save misprints, as nft lists it. */
async function nativeIn(host: Host, family: Family, places: readonly string[]): Promise<Map<string, string>> {
  const tables = new Set(places.map((place) => place.split(' ')[0] ?? ''));
  const lists =
    places.length > MOST_CHAINS
      ? [...tables].map((table) => ['list', 'table', family, table])
      : places.map((place) => ['list', 'chain', family, ...place.split(' ')]);
  const results = await Promise.all(lists.map((list) => host.exec({ file: 'nft', args: ['-j', ...list] })));
  const found = new Map<string, string>();
  // Without nft, or on the legacy engine, there is nothing native in iptables' tables.
  for (const { stdout } of results.filter(({ exitCode }) => exitCode === 0)) {
    for (const rule of rulesIn(stdout)) {
      const place = `${rule.table} ${rule.chain}`;
      if (!found.has(place) && rule.expr.some(isMisprinted)) found.set(place, await asListed(host, family, rule));
    }
  }
  return found;
}

/** `tcp dport { 80, 443 } accept`; nft's JSON when it cannot be had. */
async function asListed(host: Host, family: Family, { table, chain, expr, handle }: NftRule): Promise<string> {
  const { stdout } = await host.exec({ file: 'nft', args: ['-s', '-a', 'list', 'chain', family, table, chain] });
  const line = stdout.split('\n').find((text) => text.endsWith(` # handle ${handle}`));
  return line === undefined ? JSON.stringify(expr) : line.slice(0, line.lastIndexOf(' # handle')).trim();
}

interface NftRule {
  readonly table: string;
  readonly chain: string;
  readonly expr: readonly unknown[];
  readonly handle: unknown;
}

function rulesIn(json: string): NftRule[] {
  const entries = field(parseJson(json), 'nftables');
  return !Array.isArray(entries)
    ? []
    : entries.flatMap((entry: unknown) => {
        const rule = field(entry, 'rule');
        const [table, chain, expr] = [field(rule, 'table'), field(rule, 'chain'), field(rule, 'expr')];
        return typeof table === 'string' && typeof chain === 'string' && Array.isArray(expr)
          ? [{ table, chain, expr, handle: field(rule, 'handle') }]
          : [];
      });
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

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
