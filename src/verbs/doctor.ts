// `doctor`: gathers what the checks of src/doctor judge. Works without a daemon, a snapshot and root, as far as each can be read.
// Guarantees: writes nothing, starts nothing, takes no lock; what could not be read is said, with the reason.

import { USER } from '../ruleset/user-part.ts';
import { examine, type NamedFinding } from '../doctor/checks.ts';
import type { DaemonFact, Facts, HookFact, OwnState, Read, Rules, Ways } from '../doctor/types.ts';
import { compileIptables } from '../explain/iptables-rule.ts';
import { compileNft } from '../explain/nft-ruleset.ts';
import { joinPrograms } from '../explain/program.ts';
import type { Bus } from '../host/host.ts';
import { readLibvirtTables } from '../observe/libvirt-tables.ts';
import { readNativeTables } from '../observe/native-tables.ts';
import { readLibvirtNetworks } from '../observe/networks.ts';
import { defaultDevice, readInterfaces } from '../observe/routes.ts';
import { readFamily } from '../observe/rulesets.ts';
import { libvirtNativeDrift } from '../pass/libvirt-native.ts';
import { PIN_TABLE } from '../plan/pin-text.ts';
import { FAMILIES } from '../ruleset/types.ts';
import { blockedNow } from './blocked.ts';
import { readBus, readFirewalld } from './doctor-bus.ts';
import {
  readBootRules,
  readBridges,
  readEnabled,
  readNftFiles,
  readProgramFiles,
  readPrograms,
  reading,
} from './doctor-files.ts';
import { readLive, type SeenRulesets } from './hand.ts';
import type { LogEntry } from './log.ts';
import { askingOnce, type DaemonStatus, status, type StatusResult } from './status.ts';
import type { Refusal, World } from './types.ts';

/** What only the command line knows. */
export interface DoctorAsk {
  /** Of a daemon that answers. */
  readonly status: DaemonStatus | undefined;
  readonly daemon: DaemonFact;
  /** Where the configuration is, or why it cannot be read (then its defaults hold). */
  readonly config: Read<string>;
  /** Why the state folder cannot be read. */
  readonly stateUnread: string | undefined;
  readonly hooks: Read<readonly HookFact[]>;
  /** Not connected yet; whoever made it closes it. */
  readonly bus: Bus;
  readonly uid: number;
}

export interface DoctorResult {
  readonly kind: 'doctor';
  readonly findings: readonly NamedFinding[];
}

export async function doctor(world: World, ask: DoctorAsk): Promise<DoctorResult> {
  return { kind: 'doctor', findings: examine(await gather(world, ask)) };
}

async function gather(asked: World, ask: DoctorAsk): Promise<Facts> {
  const context = { ...asked.context, host: askingOnce(asked.context.host) };
  const world = { ...asked, context };
  const { host } = context;
  // Without root even the engines cannot be asked, and status has nothing to say.
  const told = await reading(() => status(world, ask.status));
  const live = await seenRules(world, ask);
  const networks = (await readLibvirtNetworks(host.files)).networks;
  const [unreadable, programs] = await Promise.all([unreadableFamilies(world, ask), readPrograms(host)]);
  await ask.bus.connect();
  return {
    nowMs: host.clock.wallMs(),
    mode: told.kind === 'read' ? told.value.mode : world.config.mode,
    config: ask.config,
    daemon: ask.daemon,
    own: await ownState(world, ask, told),
    engines: await reading(async () => Object.values(await context.engines.read())),
    unreadable,
    rules: await rulesOf(world, live, networks),
    drift: driftOf(ask, told),
    libvirtNative: await nativeDrift(world, live, networks),
    blocked: await blockedOf(world, live, told),
    ways: await waysOf(world, live),
    bridges: await readBridges(host, networks),
    ipv6: await reading(async () => ((await host.files.read('/proc/net/if_inet6'))?.trim() ? isIpv6On(world) : false)),
    bootRules: await readBootRules(host),
    nftFiles: await readNftFiles(host),
    files: await readProgramFiles(host),
    enabled: await readEnabled(host),
    firewalld: await readFirewalld(ask.bus, programs),
    hooks: ask.hooks,
    bus: await readBus(ask.bus, programs),
  };
}

// ---- rules

const ROOT_ONLY = 'the live rules can be read by root only';

async function seenRules({ context }: World, { uid }: DoctorAsk): Promise<Read<SeenRulesets>> {
  const live = await reading(() => readLive(context));
  if (live.kind === 'read' && live.value.kind !== 'refused') return { kind: 'read', value: live.value };
  if (uid !== 0) return { kind: 'unread', why: ROOT_ONLY };
  return live.kind === 'unread' ? live : { kind: 'unread', why: (live.value as Refusal).message };
}

/** Without root nothing is known about a family that does not answer. */
async function unreadableFamilies({ context }: World, { uid }: DoctorAsk): Promise<Facts['unreadable']> {
  if (uid !== 0) return [];
  const reads = await Promise.all(FAMILIES.map((family) => readFamily(context.host, family)));
  return reads.flatMap((each) => (each.kind === 'unreadable' ? [{ family: each.family, why: each.why }] : []));
}

async function rulesOf(
  { context }: World,
  live: Read<SeenRulesets>,
  networks: Rules['networks'],
): Promise<Read<Rules>> {
  if (live.kind === 'unread') return live;
  const native = await readLibvirtTables(context.host);
  if (native.kind === 'unreadable') return { kind: 'unread', why: native.why };
  const families = live.value.families.map(({ classified }) => classified);
  return { kind: 'read', value: { families, networks, libvirtNative: native.tables.length > 0 } };
}

async function nativeDrift(
  { context }: World,
  live: Read<SeenRulesets>,
  networks: Rules['networks'],
): Promise<Facts['libvirtNative']> {
  if (live.kind === 'unread') return live;
  const found = await libvirtNativeDrift(context.host, networks);
  return found.kind === 'unreadable'
    ? { kind: 'unread', why: found.why ?? 'libvirt’s native tables cannot be read' }
    : { kind: 'read', value: found.drift };
}

type Told = Read<StatusResult>;

function driftOf({ stateUnread, uid }: DoctorAsk, told: Told): Facts['drift'] {
  if (stateUnread !== undefined) return { kind: 'unread', why: stateUnread };
  if (told.kind === 'unread') return told;
  const { unreadable, snapshot, drift } = told.value;
  if (unreadable !== undefined) return { kind: 'unread', why: uid === 0 ? unreadable : ROOT_ONLY };
  if (snapshot === undefined) return { kind: 'unread', why: 'without a snapshot nobody knows which rules are yours' };
  return { kind: 'read', value: drift.filter(({ kind }) => kind !== 'blocked') };
}

async function blockedOf(world: World, live: Read<SeenRulesets>, told: Told): Promise<Facts['blocked']> {
  if (live.kind === 'unread') return live;
  if (told.kind === 'unread') return told;
  const ways = await waysOf(world, live);
  if (ways.kind === 'unread') return ways;
  const drift = told.value.drift.filter(({ kind }) => kind !== 'blocked');
  return { kind: 'read', value: await blockedNow(world.context.host, live.value, Promise.resolve(drift)) };
}

/** Everything that a packet may meet; not with both engines, since only one of them can be read whole. */
async function waysOf({ context }: World, live: Read<SeenRulesets>): Promise<Read<Ways>> {
  if (live.kind === 'unread') return live;
  const { families, engine, mixed } = live.value;
  if (mixed !== undefined) return { kind: 'unread', why: mixed };
  const [native, interfaces, uplink] = await Promise.all([
    readNativeTables(context.host, engine.ip),
    readInterfaces(context.host),
    defaultDevice(context.host),
  ]);
  if (native.kind === 'unreadable') return { kind: 'unread', why: native.why };
  const addresses = interfaces?.addresses ?? [];
  const facts = interfaces === undefined ? {} : { localAddresses: addresses.map(({ address }) => address) };
  const classified = families.map((family) => family.classified);
  const pins = FAMILIES.map((family) => `${family} ${PIN_TABLE}`);
  const program = joinPrograms([
    ...classified.map(({ ruleset }) => compileIptables(ruleset, facts)),
    compileNft(native.text, { without: new Set([...native.without, ...pins]), ...facts }),
  ]);
  return { kind: 'read', value: { program, classified, uplink, addresses } };
}

async function isIpv6On({ context }: World): Promise<boolean> {
  return (await context.host.files.read('/proc/sys/net/ipv6/conf/all/disable_ipv6'))?.trim() !== '1';
}

// ---- mendwall's own state

/** As far back as the journal is looked through for the beginning of what is pending. */
const ENTRIES = 10_000;

async function ownState({ context }: World, ask: DoctorAsk, told: Told): Promise<Read<OwnState>> {
  if (ask.stateUnread !== undefined) return { kind: 'unread', why: ask.stateUnread };
  if (told.kind === 'unread') return told;
  const { snapshot, damagedSnapshots, pausedUntil, trial } = told.value;
  return reading(async () => ({
    snapshot,
    damaged: damagedSnapshots,
    pausedUntil,
    trial,
    pendingSince: pendingSince(await context.journal.last(ENTRIES)),
  }));
}

/** The first of the newest passes that all saw something pending. */
function pendingSince(entries: readonly LogEntry['entry'][]): string | undefined {
  const passes = entries.filter(({ event }) => event === 'pass');
  const lastWithout = passes.findLastIndex((entry) => !hasPending(entry['drift']));
  return passes[lastWithout + 1]?.at;
}

function hasPending(drift: unknown): boolean {
  return (
    Array.isArray(drift) &&
    drift.some((each: { kind?: unknown; owner?: unknown }) => each.owner === USER && each.kind === 'pending')
  );
}
