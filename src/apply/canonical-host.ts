// What a typed text names and the host has: sets and neighbours' chains. Made empty in the throw-away namespace.

import type { Host } from '../host/host.ts';
import type { Family } from '../ruleset/types.ts';
import { readLines, setsOf, type RuleLine } from './canonical-input.ts';
import type { StubSet } from './canonical-namespace.ts';

/** The host's sets by name, terse: no members. Not asked when no rule names one; none when there is no ipset. */
export async function presentSets(host: Host, rules: readonly RuleLine[]): Promise<Map<string, StubSet>> {
  if (rules.every((rule) => setsOf(rule).length === 0)) return new Map();
  const { stdout } = await host.exec({ file: 'ipset', args: ['list', '-terse'] });
  const found = new Map<string, StubSet>();
  for (const block of stdout.split('\n\n')) {
    const name = /^Name: (\S+)$/m.exec(block)?.[1]; // Name: blocklist
    const isV6 = /^Header: .*\bfamily inet6\b/m.test(block); // Header: family inet6 hashsize 1024 maxelem 65536
    if (name !== undefined) found.set(name, { name, family: isV6 ? 'inet6' : 'inet' });
  }
  return found;
}

/** Stubs for the sets the rules name: of the host's family, else of the rules'. Odd names are left for iptables to refuse. */
export function stubSets(rules: readonly RuleLine[], present: ReadonlyMap<string, StubSet>, family: Family): StubSet[] {
  const names = [...new Set(rules.flatMap(setsOf))].filter((name) => /^[\w.:][\w.:-]{0,30}$/.test(name)); // blocklist-v4
  return names.map((name) => present.get(name) ?? { name, family: family === 'ip' ? 'inet' : 'inet6' });
}

/** Chains that somebody made on the host, as `table chain`. */
export async function liveChains(host: Host, family: Family): Promise<Set<string>> {
  const { stdout } = await host.exec({ file: family === 'ip' ? 'iptables-save' : 'ip6tables-save', args: [] });
  const own = readLines(stdout).lines.filter((line) => line.kind === 'chain' && line.text.includes(' - '));
  return new Set(own.map((line) => ('chain' in line ? `${line.table} ${line.chain}` : '')));
}
