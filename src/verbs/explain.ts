// `explain`: one packet through the rules as they stand, or through those of a file. Where it is routed is asked of the
// host (`ip route get`), never guessed: what neither the command nor the host says is a dependency of the answer.
// Reading needs neither the daemon nor the lock. Writes nothing. Does not: read ipsets, follow NAT of known flows.

import { classify, type Classified } from '../classify/classify.ts';
import type { Dependency, Explanation, Verdict } from '../explain/explanation.ts';
import { compileIptables } from '../explain/iptables-rule.ts';
import { compileNft } from '../explain/nft-ruleset.ts';
import type { PacketSpec } from '../explain/packet.ts';
import { explain, type HostView, type Journey } from '../explain/path.ts';
import { joinPrograms, type Program } from '../explain/program.ts';
import { seatOf, stepsOf, type Seat, type Step } from '../explain/steps.ts';
import { addressText } from '../explain/values.ts';
import type { Host } from '../host/host.ts';
import { didYouMean } from '../nearest.ts';
import { misprintedRule } from '../observe/native-rules.ts';
import { readNativeTables } from '../observe/native-tables.ts';
import { readLibvirtNetworks } from '../observe/networks.ts';
import { askRoute, readInterfaces, type Interfaces, type Route } from '../observe/routes.ts';
import { readFamily } from '../observe/rulesets.ts';
import { subnetContains } from '../ruleset/subnet.ts';
import type { Family, Ruleset } from '../ruleset/types.ts';
import { type Refusal, refused, type World } from './types.ts';

export interface ExplainResult {
  readonly kind: 'explain';
  readonly packet: PacketSpec;
  /** Undefined where the packet may go several ways. */
  readonly journey: Journey | undefined;
  readonly verdict: Verdict;
  /** What stopped the packet, or the last to accept it; absent for `depends`. */
  readonly deciding?: Seat;
  readonly path: readonly Step[];
  readonly depends: readonly { readonly why: string; readonly at?: Seat }[];
  /** What may stop packets and was not looked at: `bridge filter`. */
  readonly unseen: readonly string[];
  /** What a person should know of how it was asked. */
  readonly notes: readonly string[];
}

/** Rules to ask, with their owners. */
interface Rules {
  readonly program: Program;
  readonly classified: readonly Classified[];
}

/** Through the live rules. */
export async function explainLive(world: World, asked: PacketSpec): Promise<ExplainResult | Refusal> {
  const { host } = world.context;
  const interfaces = await readInterfaces(host);
  const rules = await readRules(world, asked.family, interfaces);
  if ('code' in rules) return rules;
  const { packet, journey, refusal } = await routed(host, asked, interfaces);
  const notes = notesOn(asked, interfaces);
  const view: HostView = interfaces === undefined ? {} : { addresses: interfaces.addresses };
  const first = explain(rules.program, { packet, ...journey }, view);
  const routes = await routesOf(host, packet, first, view);
  const explanation = routes.length === 0 ? first : explain(rules.program, { packet, ...journey }, { ...view, routes });
  return resultOf(packet, refusal === undefined ? explanation : withRefusal(explanation, refusal), rules, notes);
}

/** Through the rules of a file. It may be another host's, so nothing is asked of this one. */
export function explainFile(ruleset: Ruleset, packet: PacketSpec): ExplainResult {
  const rules: Rules = { program: compileIptables(ruleset), classified: [classify(ruleset, undefined)] };
  const forward = packet.oif === undefined ? {} : { journey: 'forward' as const };
  return resultOf(packet, explain(rules.program, { packet, ...forward }), rules, notesOn(packet, undefined));
}

async function readRules(
  { context }: World,
  family: Family,
  interfaces: Interfaces | undefined,
): Promise<Rules | Refusal> {
  const { host, memory } = context;
  const unreadable = (why: string): Refusal => refused('unreadable-rules', `the live rules cannot be read: ${why}`);
  const [read, { networks }, engines] = await Promise.all([
    readFamily(host, family),
    readLibvirtNetworks(host.files),
    context.engines.read(),
  ]);
  if (read.kind === 'unreadable') return unreadable(read.why);
  const misprinted = await misprintedRule(host, read.ruleset, false);
  if (misprinted !== undefined) return unreadable(misprinted);
  const engine = engines[family];
  if (engine.other !== 'nothing') return mixedEngines(engine.evidence);
  const native = await readNativeTables(host, engine.engine === 'legacy' ? 'legacy' : 'nft');
  if (native.kind === 'unreadable') return unreadable(native.why);
  const localAddresses = interfaces?.addresses.map(({ address }) => address);
  const facts = localAddresses === undefined ? {} : { localAddresses };
  const program = joinPrograms([
    compileIptables(read.ruleset, facts),
    compileNft(native.text, { without: native.without, ...facts }),
  ]);
  const known = networks.length === 0 ? undefined : networks;
  return { program, classified: [classify(read.ruleset, known, memory.known[family])] };
}

export const mixedEngines = (evidence: readonly string[]): Refusal =>
  refused('mixed-engines', `packets pass the other engine's rules, too, which are not read: ${evidence.join('; ')}`);

// ---- routing

interface Routed {
  readonly packet: PacketSpec;
  readonly journey: { readonly journey?: Journey };
  /** The kernel's word, when it has no way for the packet. */
  readonly refusal?: string;
}

/** Taken by the host; whether a daemon has it forwarded, too, is not asked. */
const MULTICAST: Readonly<Record<Family, string>> = { ip: '224.0.0.0/4', ip6: 'ff00::/8' };

/** ip takes a foreign source only with its interface, and an interface only with the source (else: "Invalid argument"). */
const sourceOf = ({ src, iif }: PacketSpec): { from?: string; iif?: string } =>
  src === undefined || iif === undefined ? {} : { from: src, iif };

async function routed(host: Host, asked: PacketSpec, interfaces: Interfaces | undefined): Promise<Routed> {
  const { family, src, dst = '', iif, oif } = asked;
  if (interfaces === undefined) return { packet: asked, journey: oif === undefined ? {} : { journey: 'forward' } };
  const isHosts = (address: string | undefined): boolean =>
    interfaces.addresses.some((each) => each.address === address);
  const journey: Journey =
    iif === undefined && isHosts(src)
      ? 'output'
      : isHosts(dst) || subnetContains(family, MULTICAST[family], dst)
        ? 'input'
        : 'forward';
  const packet = await withPorts(host, asked, interfaces);
  if (journey === 'input' || oif !== undefined) return { packet, journey: { journey } };
  const named = journey === 'output' && src !== undefined ? { from: src } : sourceOf(asked);
  const route = await askRoute(host, { family, to: dst, ...named });
  return onRoute(packet, journey, isHosts(dst) ? { kind: 'out', dev: 'lo' } : route);
}

function onRoute(packet: PacketSpec, journey: Journey, route: Route): Routed {
  switch (route.kind) {
    case 'here':
      return { packet, journey: { journey: journey === 'output' ? 'output' : 'input' } };
    case 'out':
      return { packet: { ...packet, oif: route.dev }, journey: { journey } };
    case 'refused':
      return { packet, journey: { journey }, refusal: route.why };
    case 'unknown':
      return { packet, journey: {} };
  }
}

/** A routed packet crosses no bridge; whether it came by a bridge's port is known where its interface is no bridge. */
async function withPorts({ files }: Host, packet: PacketSpec, { names }: Interfaces): Promise<PacketSpec> {
  const { iif, oif } = packet;
  if (iif !== undefined && iif === oif) return packet;
  const noPort = iif !== undefined && names.includes(iif) && !(await files.exists(`/sys/class/net/${iif}/bridge`));
  return { ...packet, bridged: false, physOut: '', ...(noPort && { physIn: '' }) };
}

/** Where NAT sends it, asked of the kernel. */
async function routesOf(
  host: Host,
  packet: PacketSpec,
  { endings }: Explanation,
  { addresses = [] }: HostView,
): Promise<readonly { readonly cidr: string; readonly dev: string }[]> {
  const { family } = packet;
  const targets = new Set<string>();
  for (const { translated, hook, packet: after } of endings)
    if (translated && (hook === 'prerouting' || hook === 'output') && after.daddr !== undefined)
      targets.add(addressText(family, after.daddr));
  const found = [...targets].filter((target) => !addresses.some(({ address }) => address === target));
  const routes = await Promise.all(
    found.map(async (to) => {
      const route = await askRoute(host, { family, to, ...sourceOf(packet) });
      return route.kind === 'out' ? [{ cidr: `${to}/${family === 'ip' ? 32 : 128}`, dev: route.dev }] : [];
    }),
  );
  return routes.flat();
}

/** The rules may let through what the kernel has no way for. What NAT gave another destination, or a rule stopped, is no matter. */
function withRefusal(explanation: Explanation, refusal: string): Explanation {
  const { verdict, endings, depends } = explanation;
  const moved = endings.some(({ translated, hook }) => translated && (hook === 'prerouting' || hook === 'output'));
  if (verdict === 'drop' || verdict === 'reject' || moved) return explanation;
  const dependency: Dependency = { why: `the kernel's routing: ip route get says "${refusal}"` };
  return { ...explanation, verdict: 'depends', deciding: undefined, depends: [dependency, ...depends] };
}

// ---- the answer

function notesOn({ ctState, iif, oif }: PacketSpec, interfaces: Interfaces | undefined): string[] {
  const strange = [iif, oif].filter((name) => name !== undefined && interfaces?.names.includes(name) === false);
  const known = interfaces?.names ?? [];
  return [
    ...strange.map((name = '') => `there is no interface "${name}" on this host${didYouMean(name, known)}`),
    ...(ctState === 'established' || ctState === 'related'
      ? [`a ${ctState} packet passes no NAT rule; what NAT did to the first packet of its flow is not followed`]
      : []),
    ...(iif !== undefined && iif === oif
      ? ['between two ports of one bridge these rules are asked only with br_netfilter']
      : []),
  ];
}

function resultOf(
  packet: PacketSpec,
  explanation: Explanation,
  { classified }: Rules,
  notes: readonly string[],
): ExplainResult {
  const { verdict, deciding, depends, endings, unseen } = explanation;
  const hooks = new Set(endings.map(({ hook }) => hook));
  const ways = (['forward', 'input', 'output'] as const).filter((hook) => hooks.has(hook));
  return {
    kind: 'explain',
    packet,
    journey: ways.includes('output') ? 'output' : ways.length === 1 ? ways[0] : undefined,
    verdict,
    ...(deciding !== undefined && { deciding: seatOf(deciding.place, deciding.kind, classified) }),
    path: stepsOf(explanation, packet, classified),
    depends: depends.map(({ why, place }) => ({
      why,
      ...(place !== undefined && { at: seatOf(place, '', classified) }),
    })),
    unseen,
    notes,
  };
}
