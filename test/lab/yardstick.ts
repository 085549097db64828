// The tests' own measure of a sound firewall, independent of the guard's classification: which rules must stand, in which
// order, each how often. Right only for the admin's rules of user-rules.ts.

import { expectedLibvirtRules } from '../../src/owners/libvirt-rules.ts';
import { parseNetworkXml } from '../../src/observe/network-xml.ts';
import { FAMILIES, type Family } from '../../src/ruleset/types.ts';
import type { Network } from '../../src/ruleset/network.ts';
import type { Ending } from './deeds.ts';
import type { Hypervisor } from './host.ts';
import { CHANGED_USER_RULES, USER_RULES, userLines, type RulesFiles } from './user-rules.ts';

/** By place, `ip filter FORWARD`: the rules in order, and the policy (`-` for a chain somebody made). */
export interface Wall {
  readonly rules: ReadonlyMap<string, readonly string[]>;
  readonly policies: ReadonlyMap<string, string>;
}

/** iptables-save text of both families as chains; the guard's own empty lock chains are left out. */
export function wallOf(saved: RulesFiles): Wall {
  const rules = new Map<string, string[]>();
  const policies = new Map<string, string>();
  for (const family of FAMILIES) {
    let table = '';
    for (const line of saved[family].split('\n')) {
      if (line.startsWith('*')) table = line.slice(1);
      const chain = /^:(\S+) (\S+)/.exec(line); // :FORWARD DROP [0:0]
      if (chain !== null && !chain[1]!.startsWith('mw-')) {
        rules.set(`${family} ${table} ${chain[1]}`, []);
        policies.set(`${family} ${table} ${chain[1]}`, chain[2]!);
      }
      if (line.startsWith('-A ')) rules.get(`${family} ${table} ${line.split(' ')[1]}`)?.push(line);
    }
  }
  return { rules, policies };
}

/** The user's part: places that hold rules or a policy other than ACCEPT, and the user's chains. */
export function usersOf(wall: Wall): Wall {
  const rules = new Map<string, readonly string[]>();
  const policies = new Map<string, string>();
  for (const [place, lines] of wall.rules) {
    if (/LIBVIRT_|libvirt-|[FH][IO]-vnet/.test(place)) continue;
    const mine = userLines(lines.join('\n'));
    const policy = wall.policies.get(place) ?? '-';
    if (mine.length > 0 || policy !== 'ACCEPT') rules.set(place, mine);
    if (policy !== 'ACCEPT') policies.set(place, policy);
  }
  return { rules, policies };
}

/** What the user's part must be after a deed that ends so; `asLeft` is what was seen when the deed had ended. */
export function usersAfter(ending: Ending, before: Wall, asLeft: Wall): Wall {
  if (ending === 'before') return usersOf(before);
  if (ending === 'as-left') return usersOf(asLeft);
  return usersOf(wallOf(ending === 'user-rules' ? USER_RULES : CHANGED_USER_RULES));
}

/** libvirt's running networks, from libvirt's own word. */
export async function activeNetworks(hypervisor: Hypervisor): Promise<Network[]> {
  const names = (await hypervisor.virsh('net-list', '--name')).split('\n').filter((name) => name.trim() !== '');
  return Promise.all(
    names.map(async (name) => {
      const parsed = await parseNetworkXml(await hypervisor.virsh('net-dumpxml', name.trim()), name);
      if (!('network' in parsed)) throw new Error(`network ${name}: ${JSON.stringify(parsed)}`);
      return parsed.network;
    }),
  );
}

const JUMPS: readonly (readonly [table: string, chain: string, targets: readonly string[]])[] = [
  ['filter', 'INPUT', ['LIBVIRT_INP']],
  ['filter', 'OUTPUT', ['LIBVIRT_OUT']],
  ['filter', 'FORWARD', ['LIBVIRT_FWX', 'LIBVIRT_FWI', 'LIBVIRT_FWO']],
  ['nat', 'POSTROUTING', ['LIBVIRT_PRT']],
  ['mangle', 'POSTROUTING', ['LIBVIRT_PRT']],
];

/** Everything wrong with a wall, in words; empty: the user's rules and libvirt's are whole, each once and in order. */
export function faultsOf(now: Wall, users: Wall, networks: readonly Network[]): string[] {
  return [...builtinFaults(now, users), ...libvirtFaults(now, networks)];
}

/** Built-in chains as a whole: libvirt's jumps on top, but in FORWARD above the last rule, the admin's catch-all. */
function builtinFaults(now: Wall, users: Wall): string[] {
  const wanted = new Map([...users.rules].map(([place, rules]) => [place, [...rules]]));
  for (const family of FAMILIES) {
    for (const [table, chain, targets] of JUMPS) {
      const place = `${family} ${table} ${chain}`;
      const rules = wanted.get(place) ?? [];
      const at = chain === 'FORWARD' ? Math.max(0, rules.length - 1) : 0;
      wanted.set(place, rules.toSpliced(at, 0, ...targets.map((target) => `-A ${chain} -j ${target}`)));
    }
  }
  const places = new Set([...wanted.keys(), ...[...now.rules.keys()].filter((place) => !place.includes(' LIBVIRT_'))]);
  return [...places].flatMap((place) => {
    const [is, must] = [now.rules.get(place) ?? [], wanted.get(place) ?? []];
    const policies = [now.policies.get(place) ?? 'ACCEPT', users.policies.get(place) ?? 'ACCEPT'];
    return [
      ...(is.join('\n') === must.join('\n')
        ? []
        : [`${place} is\n  ${is.join('\n  ')}\nand must be\n  ${must.join('\n  ')}`]),
      ...(policies[0] === policies[1] ? [] : [`policy of ${place} is ${policies[0]} and must be ${policies[1]}`]),
    ];
  });
}

/** libvirt's chains hold exactly what its active networks need; a network's own rules stand in libvirt's order. */
function libvirtFaults(now: Wall, networks: readonly Network[]): string[] {
  return FAMILIES.flatMap((family) => {
    const faults: string[] = [];
    const left = new Map(
      [...now.rules]
        .filter(([place]) => place.startsWith(`${family} `) && place.includes(' LIBVIRT_'))
        .map(([place, rules]) => [place, [...rules]]),
    );
    for (const network of networks) faults.push(...networkFaults(family, network, left));
    for (const [place, rules] of left) for (const rule of rules) faults.push(`one too many in ${place}: ${rule}`);
    return faults;
  });
}

/** Takes the network's rules out of `left`. */
function networkFaults(family: Family, network: Network, left: Map<string, string[]>): string[] {
  const faults: string[] = [];
  const lastAt = new Map<string, number>();
  const standing = new Map([...left].map(([place, rules]) => [place, [...rules]]));
  for (const [table, rules] of expectedLibvirtRules(network).get(family) ?? []) {
    for (const { chain, text } of rules) {
      const place = `${family} ${table} ${chain}`;
      const at = standing.get(place)?.indexOf(text) ?? -1;
      if (at === -1) faults.push(`missing in ${place} for network ${network.name}: ${text}`);
      else if (at < (lastAt.get(place) ?? -1))
        faults.push(`out of order in ${place} for network ${network.name}: ${text}`);
      if (at !== -1) lastAt.set(place, at);
      const rest = left.get(place) ?? [];
      if (rest.includes(text)) rest.splice(rest.indexOf(text), 1);
    }
  }
  return faults;
}
