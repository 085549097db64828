// The lab's host of today: libvirt 11 with its nftables backend, and a user who writes native tables and iptables' at once.
// Goals: a stage to wipe, load and edit; a measure of soundness that owes nothing to the guard's own code.
// Does not: judge what is the user's wish; each test says what must stand.

import { expect } from 'vitest';

import { type GuardProcess, initGuard, mendwall, startGuard, writeConfig } from './guard-process.ts';
import { type Hypervisor, upHypervisor } from './host.ts';
import type { NetworkSpec } from './networks.ts';
import { GUEST_TRAFFIC, traffic } from './probes.ts';
import { USER_NATIVE } from './user-native.ts';

/** Beside them, by iptables-nft: nothing that stops a guest, since libvirt opens nothing there with this backend. */
const USER_IP = `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:ADMIN - [0:0]
-A INPUT -p tcp -m tcp --dport 25 -j DROP
-A INPUT -j ADMIN
-A FORWARD -s 198.51.100.99/32 -j DROP
-A ADMIN -s 198.51.100.77/32 -j DROP
COMMIT
`;
const USER_IP6 = USER_IP.replace('198.51.100.99/32', '2001:db8:99::/64').replace(
  '198.51.100.77/32',
  '2001:db8:77::/64',
);

export interface NativeStage {
  readonly hypervisor: Hypervisor;
  readonly guard: GuardProcess;
}

/** A hypervisor with these networks and one guest, the user's rules on both engines, a snapshot, and a guard at rest. */
export async function upNativeStage(networks: readonly NetworkSpec[], config = ''): Promise<NativeStage> {
  const hypervisor = await upHypervisor({ name: 'mwn', libvirt: '11', backend: 'nftables', networks });
  try {
    await hypervisor.addGuest(networks[0]);
    await installNative(hypervisor);
    await initGuard(hypervisor);
    await writeConfig(hypervisor, config);
    return { hypervisor, guard: await startGuard(hypervisor) };
  } catch (error) {
    await hypervisor.down();
    throw error;
  }
}

async function installNative(hypervisor: Hypervisor): Promise<void> {
  await hypervisor.sh('nft -f -', { input: USER_NATIVE });
  await hypervisor.sh('iptables-restore -n', { input: USER_IP });
  await hypervisor.sh('ip6tables-restore -n', { input: USER_IP6 });
}

/** Everything of the user's that stands, as the programs print it. */
export interface Standing {
  /** By `inet filter`: as nft lists the table, without counts and without what packets put into sets. */
  readonly native: Readonly<Record<string, string>>;
  /** The rules of iptables and ip6tables. */
  readonly iptables: readonly string[];
}

const OTHERS = /^(?:ip|ip6) (?:libvirt_network|mendwall|filter|nat|mangle|raw|security)$|^(?:bridge|arp) /;

/** The user's native tables by `inet filter`; one that goes in between is not there. */
export async function nativeTables(hypervisor: Hypervisor): Promise<Record<string, string>> {
  const keys = (await hypervisor.sh('nft list tables'))
    .split('\n')
    .flatMap((line) => /^table (\S+ \S+)/.exec(line)?.[1] ?? [])
    .filter((key) => !OTHERS.test(key))
    .toSorted();
  const native: Record<string, string> = {};
  for (const key of keys) {
    const listed = (await hypervisor.exec('nft', ['-s', 'list', 'table', ...key.split(' ')])).stdout;
    native[key] = listed.replace(/(flags dynamic,timeout\n\t\ttimeout 1m\n)\t\telements = \{[^}]*\}\n/, '$1');
  }
  return native;
}

/** Reads it all. */
export async function standing(hypervisor: Hypervisor): Promise<Standing> {
  const native = await nativeTables(hypervisor);
  const { ip, ip6 } = await hypervisor.save();
  const iptables = `${ip}${ip6}`.split('\n').filter((line) => line.startsWith('-A '));
  return { native, iptables };
}

/** libvirt's own rules of both families: each listed rule of its two tables, sorted, without counts and handles. */
export async function libvirtRules(hypervisor: Hypervisor): Promise<string[]> {
  const listed = await hypervisor.sh('for f in ip ip6; do nft list table $f libvirt_network 2>/dev/null || :; done');
  const rules = listed.split('\n').filter((line) => line.startsWith('\t\t') && !line.includes(' hook '));
  return rules.map((line) => line.trim().replace(/ packets \d+ bytes \d+/, '')).toSorted(); // counter packets 3 bytes 137 accept
}

/** Both as places of a `Wall`: the user's native tables line by line, and libvirt's chains. */
export async function nativePlaces(hypervisor: Hypervisor): Promise<Map<string, string[]>> {
  const tables = Object.entries(await nativeTables(hypervisor));
  const places = new Map(tables.map(([key, text]) => [`native ${key}`, text.split('\n')]));
  const listed = await hypervisor.sh('for f in ip ip6; do nft list table $f libvirt_network 2>/dev/null || :; done');
  let [family, chain] = ['', ''];
  for (const line of listed.split('\n')) {
    family = /^table (\S+)/.exec(line)?.[1] ?? family; // table ip libvirt_network {
    chain = /^\tchain (\S+)/.exec(line)?.[1] ?? chain;
    if (!line.startsWith('\t\t') || line.includes(' hook ')) continue;
    const place = `${family} libvirt_network ${chain}`;
    const text = line.trim().replace(/ packets \d+ bytes \d+/, ''); // counter packets 3 bytes 137 accept
    places.set(place, [...(places.get(place) ?? []), text]);
  }
  return places;
}

/**
 * What libvirt's own removal records and its tables say differently: a handle it will delete that does not stand, or stands
 * for two networks; a rule of a bridge that no record names. Empty: each network's rules are its own.
 */
export async function recordFaults(hypervisor: Hypervisor): Promise<string[]> {
  const records = await hypervisor.sh('grep -h "<item>" /run/libvirt/network/*.xml || :');
  const listed = await hypervisor.sh('for f in ip ip6; do nft -a list table $f libvirt_network 2>/dev/null || :; done');
  const recorded = recordedHandles(records);
  const live = liveHandles(listed);
  return [
    ...recorded.filter((rule) => !live.includes(rule)).map((rule) => `recorded, not there: ${rule}`),
    ...recorded.filter((rule, at) => recorded.indexOf(rule) !== at).map((rule) => `recorded twice: ${rule}`),
    ...live.filter((rule) => !recorded.includes(rule)).map((rule) => `there, not recorded: ${rule}`),
  ];
}

/** `ip guest_nat 14`; a record holds one `<item>` a word of `nft delete rule ip libvirt_network guest_nat handle 14`. */
function recordedHandles(records: string): string[] {
  const words = [...records.matchAll(/<item>([^<]*)<\/item>/g)].map(([, word]) => word);
  return words.flatMap((word, at) => (word === 'handle' ? [`${words[at - 3]} ${words[at - 1]} ${words[at + 1]}`] : []));
}

function liveHandles(listed: string): string[] {
  const found: string[] = [];
  let [family, chain] = ['', ''];
  for (const line of listed.split('\n')) {
    family = /^table (\S+)/.exec(line)?.[1] ?? family;
    chain = /^\tchain (\S+)/.exec(line)?.[1] ?? chain;
    const handle = /^\t\t.* # handle (\d+)$/.exec(line)?.[1]; // iif "virbr0" counter reject # handle 9
    if (handle !== undefined && chain.startsWith('guest_')) found.push(`${family} ${chain} ${handle}`);
  }
  return found;
}

/** Waits, bounded, until the user's rules stand so and libvirt's are these; then the guest's traffic flows. */
export async function expectStands(
  stage: NativeStage,
  users: Standing,
  libvirt: readonly string[],
  what: string,
): Promise<void> {
  const { hypervisor, guard } = stage;
  const look = async (): Promise<unknown> => ({
    ...(await standing(hypervisor)),
    libvirt: await libvirtRules(hypervisor),
  });
  const wanted = { ...users, libvirt };
  let seen = await look();
  for (const endMs = performance.now() + 20_000; !isSame(seen, wanted) && performance.now() < endMs;) {
    await guard.idle();
    seen = await look();
  }
  const log = guard.logSince(Math.max(0, guard.logMark() - 20)).join('\n');
  expect(seen, `after ${what}\n${log}`).toEqual(wanted);
  expect(await recordFaults(hypervisor), `after ${what}\n${log}`).toEqual([]);
  await expect.poll(() => traffic(hypervisor), { timeout: 10_000, message: what }).toEqual(GUEST_TRAFFIC);
}

export const isSame = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** Drift as `status --json` has it, e.g. `pending inet filter input tcp dport 81 accept`; but for the port forward that libvirt refuses. */
export async function driftOf({ hypervisor }: Pick<NativeStage, 'hypervisor'>): Promise<string[]> {
  const status = await mendwall(hypervisor, 'status', '--json');
  const { drift } = JSON.parse(status.stdout) as {
    drift: Record<'kind' | 'family' | 'table' | 'chain' | 'text', string>[];
  };
  return drift
    .filter(({ kind }) => kind !== 'blocked')
    .map(({ kind, family, table, chain, text }) => [kind, family, table, chain, text].filter(Boolean).join(' '));
}

/** Milliseconds from now until the table stands as given. */
export async function msUntilTable(hypervisor: Hypervisor, key: string, text: string): Promise<number> {
  const startMs = performance.now();
  while ((await standing(hypervisor)).native[key] !== text)
    if (performance.now() - startMs > 20_000) throw new Error(`table ${key} is not back after 20 s`);
  return Math.round(performance.now() - startMs);
}

/** Milliseconds from now until libvirt's rules are these; what it takes longer than 40 s for is left to the caller to see. */
export async function msUntilLibvirt(hypervisor: Hypervisor, rules: readonly string[]): Promise<number> {
  const startMs = performance.now();
  while (!isSame(await libvirtRules(hypervisor), rules) && performance.now() - startMs < 40_000);
  return Math.round(performance.now() - startMs);
}

/** Runs one verb; throws what it said when it ended with anything but 0 or 1. */
export async function verb(hypervisor: Hypervisor, ...args: readonly string[]): Promise<string> {
  const result = await mendwall(hypervisor, ...args);
  expect([0, 1], `mendwall ${args.join(' ')}: ${result.stderr}${result.stdout}`).toContain(result.exitCode);
  return result.stdout;
}
