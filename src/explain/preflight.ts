// Would new rules cut those who manage the host? Each management flow is asked of the rules before and after.
// Guarantee: a cut is named only where the old rules let the packet through, or may have, and the new ones certainly stop it.
// Does not: know the host's routes; what leaves the host goes out where it came in. Pure.

import type { Explanation } from './explanation.ts';
import type { PacketSpec } from './packet.ts';
import { explain, type HostView, type Journey } from './path.ts';
import type { Place, Program } from './program.ts';

/** A packet that must go on being accepted. */
export interface MustPass {
  readonly packet: PacketSpec;
  readonly journey: Journey;
  /** For people: `your session from 203.0.113.9`. */
  readonly what: string;
}

/** What the new rules would cut, and where. */
export interface Cut {
  readonly what: string;
  readonly packet: PacketSpec;
  readonly verdict: 'drop' | 'reject';
  /** The rule that stops it; without an index it is the policy. */
  readonly place: Place | undefined;
}

export function findCuts(
  before: Program,
  after: Program,
  asked: readonly MustPass[],
  host: HostView = {},
): readonly Cut[] {
  return asked.flatMap(({ packet, journey, what }) => {
    const now = explain(after, { packet, journey }, host);
    if (!isStopped(now) || isStopped(explain(before, { packet, journey }, host))) return [];
    return [{ what, packet, verdict: now.verdict as Cut['verdict'], place: now.deciding?.place }];
  });
}

const isStopped = ({ verdict }: Explanation): boolean => verdict === 'drop' || verdict === 'reject';

/** A flow as the host sees it, and the way in that it uses. */
export interface Flow {
  readonly family: PacketSpec['family'];
  readonly client: string;
  readonly clientPort: number;
  readonly server: string;
  readonly serverPort: number;
  /** The interface its packets come by; undefined: not known. */
  readonly dev?: string;
}

/** Both directions of a flow as it runs, and a new connection of the same client to the same port. */
export function packetsOfFlow(flow: Flow, label: string): MustPass[] {
  const { family, client, clientPort, server, serverPort, dev } = flow;
  const tcp = { family, protocol: 'tcp' } as const;
  const iif = dev === undefined ? {} : { iif: dev };
  const oif = dev === undefined ? {} : { oif: dev };
  const towards = { ...tcp, ...iif, src: client, dst: server, dport: serverPort };
  const back = { ...tcp, ...oif, src: server, dst: client, sport: serverPort, dport: clientPort };
  return [
    { packet: { ...towards, sport: clientPort, ctState: 'established' }, journey: 'input', what: label },
    { packet: { ...back, ctState: 'established' }, journey: 'output', what: `answers to ${label}` },
    { packet: { ...towards, ctState: 'new' }, journey: 'input', what: `a new connection like ${label}` },
  ];
}

/** A new connection to a port by `dev` from wherever: cut only where nobody at all gets in any more. */
export function packetToPort(family: PacketSpec['family'], port: number, dev: string | undefined): MustPass {
  return {
    packet: { family, protocol: 'tcp', dport: port, ctState: 'new', ...(dev === undefined ? {} : { iif: dev }) },
    journey: 'input',
    what: `new connections to sshd, port ${port}, from anywhere`,
  };
}
