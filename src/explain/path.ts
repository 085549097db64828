// One packet's whole way through the host: which hooks, with translations and the routing that follows them; and the
// verdict at the end.
//
// Guarantees: the verdict is definite only when every way that what is unknown leaves open leads to it. The deciding
// rule is one that was really reached.
// Does not: route by itself. Where a packet goes is asked of the host's view, or said by the caller. Pure.

import { subnetContains } from '../ruleset/subnet.ts';
import type { Dependency, Ending, Explanation, Verdict } from './explanation.ts';
import { packetOf, type Packet, type PacketSpec } from './packet.ts';
import type { Hook, Program } from './program.ts';
import type { AddressOf } from './translate.ts';
import { addressRange, addressValue, type Value } from './values.ts';
import { walkHook } from './walk.ts';
import { gather, type Flow, type Gathered } from './walk-chain.ts';

/** `forward`: through the host; `input`: to it; `output`: from it. */
export type Journey = 'forward' | 'input' | 'output';

/** What is known of the host's addresses and routes. Left out: not known, then a changed destination may go anywhere. */
export interface HostView {
  readonly addresses?: readonly { readonly address: string; readonly dev: string }[];
  /** The longest prefix wins. With routes given, a destination outside all of them is unreachable: "not known". */
  readonly routes?: readonly { readonly cidr: string; readonly dev: string }[];
}

export interface Question {
  readonly packet: PacketSpec;
  /** Left out: the destination decides, by the host's view. */
  readonly journey?: Journey;
}

/** Evaluates one packet. Throws RangeError for a packet that cannot be read (see `packetOf`). */
export function explain(program: Program, { packet: spec, journey }: Question, host: HostView = {}): Explanation {
  const packet = packetOf(spec);
  const gathered = gather();
  const run: Run = { program, gathered, host, addressOf: addressOfHost(host) };
  const flow: Flow = { packet, certain: true };
  const ends = journey === 'output' ? fromHost(run, flow) : fromOutside(run, flow, journey);
  return verdictOf(program, gathered, ends);
}

interface Run {
  readonly program: Program;
  readonly gathered: Gathered;
  readonly host: HostView;
  readonly addressOf: AddressOf;
}

const pass = (run: Run, hook: Hook, flow: Flow | undefined): Flow | undefined =>
  flow === undefined ? undefined : walkHook(run.program, hook, flow, run.gathered, run.addressOf);

const withNames = (flow: Flow, names: Pick<Packet, 'iif' | 'oif'>): Flow => ({
  ...flow,
  packet: { ...flow.packet, ...names },
});

/** True when some way leads out at the end. */
function fromOutside(run: Run, start: Flow, journey: Journey | undefined): boolean {
  const { oif } = start.packet;
  const routed = pass(run, 'prerouting', pass(run, 'ingress', withNames(start, { oif: '' })));
  if (routed === undefined) return false;
  // A journey that was said is that of the destination the flow is known to have.
  const known = start.packet.rewrite?.daddr ?? start.packet.daddr;
  const moved = routed.packet.daddr !== known || routed.packet.redirected === true;
  const way: Way = journey === undefined || moved ? wayTo(run.host, routed.packet) : declared(journey, oif);
  return followWay(run, routed, way);
}

type Way = { readonly kind: 'local' } | { readonly kind: 'dev'; readonly dev: string | undefined } | { kind: 'any' };

const declared = (journey: Journey, oif: string | undefined): Way =>
  journey === 'input' ? { kind: 'local' } : { kind: 'dev', dev: oif };

function followWay(run: Run, flow: Flow, way: Way): boolean {
  if (way.kind === 'local') return pass(run, 'input', withNames(flow, { oif: '' })) !== undefined;
  if (way.kind === 'dev') {
    const out = withNames(flow, { oif: way.dev });
    return pass(run, 'postrouting', pass(run, 'forward', out)) !== undefined;
  }
  run.gathered.depends.push({ why: 'it is not known where the destination is routed' });
  const either: Flow = { ...flow, certain: false };
  const toHost = followWay(run, either, { kind: 'local' });
  const through = followWay(run, either, { kind: 'dev', dev: undefined });
  return toHost || through;
}

function fromHost(run: Run, start: Flow): boolean {
  const flow = withNames(start, { iif: '' });
  const sent = pass(run, 'output', flow);
  if (sent === undefined) return false;
  const moved = sent.packet.daddr !== flow.packet.daddr;
  const way: Way = moved ? wayTo(run.host, sent.packet) : { kind: 'dev', dev: flow.packet.oif };
  if (way.kind !== 'any') return leave(run, sent, way.kind === 'local' ? 'lo' : way.dev);
  run.gathered.depends.push({ why: 'it is not known where the destination is routed' });
  const either: Flow = { ...sent, certain: false };
  const toHost = leave(run, either, 'lo');
  return leave(run, either, undefined) || toHost;
}

/** What leaves by `lo` comes in again. */
function leave(run: Run, flow: Flow, oif: string | undefined): boolean {
  const out = pass(run, 'postrouting', withNames(flow, { oif }));
  if (out === undefined || oif !== 'lo') return out !== undefined;
  const back: Flow = { ...out, packet: { ...out.packet, iif: 'lo', oif: '', looped: true } };
  return pass(run, 'input', pass(run, 'prerouting', back)) !== undefined;
}

/** Where a destination leads, as far as the view says. */
function wayTo(host: HostView, packet: Packet): Way {
  if (packet.redirected === true) return { kind: 'local' };
  if (packet.daddr === undefined || host.addresses === undefined) return { kind: 'any' };
  const { daddr, family } = packet;
  if (host.addresses.some(({ address }) => addressValue(family, address) === daddr)) return { kind: 'local' };
  return { kind: 'dev', dev: routeOf(host, family, daddr) };
}

function routeOf({ routes = [] }: HostView, family: Packet['family'], daddr: Value): string | undefined {
  let best: { readonly dev: string; readonly length: number } | undefined;
  for (const { cidr, dev } of routes) {
    const range = addressRange(family, cidr);
    if (range === undefined || daddr < range.first || daddr > range.last) continue;
    const length = Number(cidr.slice(cidr.indexOf('/') + 1));
    if (best === undefined || length > best.length) best = { dev, length };
  }
  return best?.dev;
}

function addressOfHost({ addresses = [] }: HostView): AddressOf {
  return (dev, family) => {
    const found = addresses
      .filter((each) => each.dev === dev && each.address.includes(':') === (family === 'ip6'))
      .filter(({ address }) => family === 'ip' || !subnetContains('ip6', 'fe80::/10', address));
    return found.length === 1 ? addressValue(family, found[0]?.address ?? '') : undefined;
  };
}

// ---- the verdict

function verdictOf({ unseen }: Program, { trace, endings, depends }: Gathered, arrives: boolean): Explanation {
  const stops = endings.filter(({ kind }) => kind !== 'accept');
  const kinds = new Set<Verdict>([...stops.map(({ kind }) => kind), ...(arrives ? (['accept'] as const) : [])]);
  const verdict: Verdict = kinds.size === 1 ? ([...kinds][0] as Verdict) : 'depends';
  const deciding = verdict === 'depends' ? undefined : verdict === 'accept' ? lastAccept(endings) : stops[0];
  return { verdict, deciding, endings, trace, depends: onlyOnce(depends), unseen };
}

/** An accept is the work of every chain; shown is the last rule that said so, else the filter table's policy, else the last one. */
function lastAccept(endings: readonly Ending[]): Ending | undefined {
  const filtered = endings.filter(({ translated }) => translated !== true);
  const isFilters = ({ place }: Ending): boolean => place.engine === 'iptables' && place.table === 'filter';
  return (
    filtered.findLast(({ place }) => place.index !== undefined) ??
    filtered.findLast(isFilters) ??
    filtered.at(-1) ??
    endings.at(-1)
  );
}

function onlyOnce(depends: readonly Dependency[]): readonly Dependency[] {
  const seen = new Map<string, Dependency>();
  for (const dependency of depends) {
    const { engine, family, table, chain, index } = dependency.place ?? {};
    const key = [dependency.why, engine, family, table, chain, index].join('\n');
    if (!seen.has(key)) seen.set(key, dependency);
  }
  return [...seen.values()];
}
