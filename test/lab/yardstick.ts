// The tests' own measure of a sound firewall, independent of the guard's classification: which rules must stand, in which
// order, each how often. Right only for the admin's rules of user-rules.ts.

import { expectedNftRules } from '../../src/owners/libvirt-nft-rules.ts';
import { expectedLibvirtRules } from '../../src/owners/libvirt-rules.ts';
import { parseNetworkXml } from '../../src/observe/network-xml.ts';
import { FAMILIES } from '../../src/ruleset/types.ts';
import type { Network } from '../../src/ruleset/network.ts';
import type { Ending } from './deeds.ts';
import type { Hypervisor } from './host.ts';
import type { Backend } from './libvirt.ts';
import { editionsFor, userLines, type RulesFiles } from './user-rules.ts';

/**
 * By place, `ip filter FORWARD`: the rules in order, and the policy (`-` for a chain somebody made). `native inet filter` is a
 * table of the user's, its lines; `ip libvirt_network guest_nat` a chain of libvirt's, its rules without counts.
 */
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

const LIBVIRTS_PLACE = / LIBVIRT_|libvirt-|[FH][IO]-vnet| libvirt_network /;

/** The user's part: places that hold rules or a policy other than ACCEPT, and the user's chains. */
export function usersOf(wall: Wall): Wall {
  const rules = new Map<string, readonly string[]>();
  const policies = new Map<string, string>();
  for (const [place, lines] of wall.rules) {
    if (LIBVIRTS_PLACE.test(place)) continue;
    const mine = isNative(place) ? lines : userLines(lines.join('\n'));
    const policy = wall.policies.get(place) ?? '-';
    if (mine.length > 0 || policy !== 'ACCEPT') rules.set(place, mine);
    if (policy !== 'ACCEPT') policies.set(place, policy);
  }
  return { rules, policies };
}

const isNative = (place: string): boolean => place.startsWith('native ');

/** The places of `native` as they are in it, all others as in `wall`. */
function withNative(wall: Wall, native: Wall): Wall {
  const mixed = <T>(ours: ReadonlyMap<string, T>, theirs: ReadonlyMap<string, T>): ReadonlyMap<string, T> =>
    new Map([...[...ours].filter(([place]) => !isNative(place)), ...[...theirs].filter(([place]) => isNative(place))]);
  return { rules: mixed(wall.rules, native.rules), policies: mixed(wall.policies, native.policies) };
}

/** What the user's part must be after a deed that ends so; `asLeft` is what was seen when the deed had ended. */
export function usersAfter(ending: Ending, before: Wall, asLeft: Wall, backend: Backend = 'iptables'): Wall {
  const { first, changed } = editionsFor(backend);
  switch (ending) {
    case 'before':
      return usersOf(before);
    case 'as-left':
      return usersOf(asLeft);
    case 'native-as-left':
      return usersOf(withNative(before, asLeft));
    default:
      return usersOf(withNative(wallOf(ending === 'user-rules' ? first : changed), before));
  }
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

type Jumps = readonly (readonly [table: string, chain: string, targets: readonly string[]])[];

const JUMPS: Jumps = [
  ['filter', 'INPUT', ['LIBVIRT_INP']],
  ['filter', 'OUTPUT', ['LIBVIRT_OUT']],
  ['filter', 'FORWARD', ['LIBVIRT_FWX', 'LIBVIRT_FWI', 'LIBVIRT_FWO']],
  ['nat', 'POSTROUTING', ['LIBVIRT_PRT']],
  ['mangle', 'POSTROUTING', ['LIBVIRT_PRT']],
];

/** Everything wrong with a wall, in words; empty: the user's rules and libvirt's are whole, each once and in order. */
export function faultsOf(
  now: Wall,
  users: Wall,
  networks: readonly Network[],
  backend: Backend = 'iptables',
): string[] {
  return [...builtinFaults(now, users, backend), ...libvirtFaults(now, networks, backend)];
}

/**
 * Built-in chains as a whole: libvirt's jumps on top, but in FORWARD above the last rule, the admin's catch-all. With the
 * nftables backend there are none.
 */
function builtinFaults(now: Wall, users: Wall, backend: Backend): string[] {
  const wanted = new Map([...users.rules].map(([place, rules]) => [place, [...rules]]));
  for (const family of FAMILIES) {
    for (const [table, chain, targets] of backend === 'iptables' ? JUMPS : []) {
      const place = `${family} ${table} ${chain}`;
      const rules = wanted.get(place) ?? [];
      const at = chain === 'FORWARD' ? Math.max(0, rules.length - 1) : 0;
      wanted.set(place, rules.toSpliced(at, 0, ...targets.map((target) => `-A ${chain} -j ${target}`)));
    }
  }
  const places = new Set([...wanted.keys(), ...[...now.rules.keys()].filter((place) => !isLibvirts(place))]);
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

/**
 * What a neighbour's rules beside it do not excuse: the user's rules, each there, in their order. Others may stand between,
 * and a neighbour may have a rule of the same text.
 */
export function userFaults(now: Wall, users: Wall): string[] {
  return [...users.rules].flatMap(([place, wanted]) => {
    const live = now.rules.get(place) ?? [];
    let at = 0;
    for (const text of live) if (text === wanted[at]) at++;
    if (at === wanted.length) return [];
    const missing = wanted.filter((text) => !live.includes(text));
    return missing.length > 0 ? missing.map((text) => `missing in ${place}: ${text}`) : [`out of order: ${place}`];
  });
}

/** libvirt's jumps, each once where it belongs. */
export function libvirtJumpFaults(now: Wall): string[] {
  return FAMILIES.flatMap((family) =>
    JUMPS.flatMap(([table, chain, targets]) => {
      const live = now.rules.get(`${family} ${table} ${chain}`) ?? [];
      return targets
        .map((target) => ({ target, count: live.filter((text) => text === `-A ${chain} -j ${target}`).length }))
        .filter(({ count }) => count !== 1)
        .map(({ target, count }) => `jump to ${target} in ${family} ${table} ${chain}: ${count} times`);
    }),
  );
}

/** `ip filter LIBVIRT_FWO`, `ip libvirt_network guest_nat` */
const isLibvirts = (place: string): boolean => / LIBVIRT_| libvirt_network /.test(place);

/** libvirt's chains hold exactly what its active networks need; a network's own rules stand in libvirt's order. */
export function libvirtFaults(now: Wall, networks: readonly Network[], backend: Backend = 'iptables'): string[] {
  const faults: string[] = [];
  const left = new Map(
    [...now.rules].filter(([place]) => isLibvirts(place)).map(([place, rules]) => [place, [...rules]]),
  );
  const expected = networks.map((network) => ({ network, rules: expectedOf(network, backend) }));
  for (const family of FAMILIES) {
    const forward = `${family} libvirt_network forward`;
    const isNeeded = expected.some(({ rules }) =>
      rules.some(({ place }) => place.startsWith(`${family} libvirt_network`)),
    );
    if (!isNeeded && !left.has(forward)) continue;
    const jumps = left.get(forward)?.splice(0) ?? [];
    if (jumps.join() !== NATIVE_JUMPS.join()) faults.push(`the jumps of ${forward} are ${jumps.join(', ')}`);
  }
  for (const { network, rules } of expected) faults.push(...networkFaults(network, rules, left));
  for (const [place, rules] of left) for (const rule of rules) faults.push(`one too many in ${place}: ${rule}`);
  return faults;
}

const NATIVE_JUMPS = ['cross', 'input', 'output'].map((name) => `counter jump guest_${name}`);

/** What libvirt writes for a network, in the order of each chain. */
function expectedOf(network: Network, backend: Backend): Placed[] {
  if (backend === 'nftables')
    return expectedNftRules(network).map(({ family, chain, text }) => ({
      place: `${family} libvirt_network ${chain}`,
      text,
    }));
  return FAMILIES.flatMap((family) =>
    [...(expectedLibvirtRules(network).get(family) ?? [])].flatMap(([table, rules]) =>
      rules.map(({ chain, text }) => ({ place: `${family} ${table} ${chain}`, text })),
    ),
  );
}

interface Placed {
  readonly place: string;
  readonly text: string;
}

/** Takes the network's rules out of `left`. */
function networkFaults({ name }: Network, expected: readonly Placed[], left: Map<string, string[]>): string[] {
  const faults: string[] = [];
  const lastAt = new Map<string, number>();
  const standing = new Map([...left].map(([place, rules]) => [place, [...rules]]));
  for (const { place, text } of expected) {
    const at = standing.get(place)?.indexOf(text) ?? -1;
    if (at === -1) faults.push(`missing in ${place} for network ${name}: ${text}`);
    else if (at < (lastAt.get(place) ?? -1)) faults.push(`out of order in ${place} for network ${name}: ${text}`);
    if (at !== -1) lastAt.set(place, at);
    const rest = left.get(place) ?? [];
    if (rest.includes(text)) rest.splice(rest.indexOf(text), 1);
  }
  return faults;
}
