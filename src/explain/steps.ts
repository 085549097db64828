// An explanation as steps a person can follow: hook by hook, each base chain with the rules that matched and how the
// packet left it. Pure; plain data, ready for JSON.

import type { Classified } from '../classify/classify.ts';
import type { OwnerId } from '../ruleset/user-part.ts';
import type { Ending, Explanation } from './explanation.ts';
import { ownerAt } from './owner.ts';
import { packetOf, type Packet, type PacketSpec } from './packet.ts';
import type { ChainFamily, Engine, Hook, Place } from './program.ts';
import { addressText, type Value } from './values.ts';

/** A rule, or a chain's policy. */
export interface Seat {
  readonly engine: Engine;
  readonly family: ChainFamily;
  readonly table: string;
  readonly chain: string;
  /** From 1, as `iptables -L --line-numbers` counts; absent for a policy. */
  readonly number?: number;
  /** In its own language: `-A INPUT ...`, `tcp dport 22 accept`, `-P INPUT DROP`, `policy drop`. */
  readonly text: string;
  /** Absent where nobody is known to own it. */
  readonly owner?: OwnerId;
}

export interface StepRule extends Seat {
  /** False: it matches only if something unknown turns out so. */
  readonly certain: boolean;
}

export interface StepEnd extends Seat {
  readonly kind: 'accept' | 'drop' | 'reject';
  readonly how?: string;
  readonly certain: boolean;
  /** What NAT made of the packet: `to 192.168.122.10:22`. */
  readonly translated?: string;
}

/** One base chain that the packet comes through. */
export interface Step {
  readonly hook: Hook;
  readonly in?: string;
  readonly out?: string;
  readonly engine: Engine;
  readonly family: ChainFamily;
  readonly table: string;
  readonly chain: string;
  readonly rules: readonly StepRule[];
  readonly ends: readonly StepEnd[];
}

export function seatOf(place: Place, policy: string, classified: readonly Classified[]): Seat {
  const { engine, family, table, chain, index, text } = place;
  const owner = ownerAt(classified, place);
  const said = engine === 'nft' ? `policy ${policy}` : `-P ${chain} ${policy.toUpperCase()}`;
  return {
    engine,
    family,
    table,
    chain,
    ...(index !== undefined && { number: index + 1 }),
    text: text ?? said,
    ...(owner !== undefined && { owner }),
  };
}

/** Every base chain that was passed, in the packet's order. */
export function stepsOf(explanation: Explanation, spec: PacketSpec, classified: readonly Classified[]): Step[] {
  const steps = new Map<string, Step & { rules: StepRule[]; ends: StepEnd[] }>();
  const keyOf = (hook: Hook, { engine, family, table, base }: Place): string =>
    [hook, engine, family, table, base].join('\n');
  let before = packetOf(spec);
  for (const { hook, place, certain, kind, how, translated, packet } of explanation.endings) {
    const { engine, family, table, base } = place;
    const key = keyOf(hook, place);
    const step = steps.get(key) ?? {
      hook,
      ...namesOf(packet),
      engine,
      family,
      table,
      chain: base,
      rules: [],
      ends: [],
    };
    steps.set(key, step);
    step.ends.push({
      ...seatOf(place, kind, classified),
      kind,
      ...(how !== undefined && { how }),
      certain,
      ...(translated && { translated: changeOf(hook, before, packet) }),
    });
    before = packet;
  }
  for (const { hook, place, certain } of explanation.trace)
    steps.get(keyOf(hook, place))?.rules.push({ ...seatOf(place, '', classified), certain });
  return [...steps.values()];
}

const namesOf = ({ iif, oif }: Packet): { in?: string; out?: string } => ({
  ...(iif !== undefined && iif !== '' && { in: iif }),
  ...(oif !== undefined && oif !== '' && { out: oif }),
});

/** `to 192.168.122.10:22`, `from 198.51.100.1` */
function changeOf(hook: Ending['hook'], before: Packet, after: Packet): string {
  const ofDestination = hook === 'prerouting' || hook === 'output';
  const [address, port, oldPort] = ofDestination
    ? [after.daddr, after.dport, before.dport]
    : [after.saddr, after.sport, before.sport];
  const shownPort = port === undefined || (port === oldPort && !ofDestination) ? '' : portSuffix(after, port);
  return `${ofDestination ? 'to' : 'from'} ${addressName(after, address)}${shownPort}`;
}

const addressName = ({ family }: Packet, address: Value | undefined): string =>
  address === undefined ? 'an address that is not known' : addressText(family, address);

const portSuffix = ({ family }: Packet, port: number): string => (family === 'ip' ? `:${port}` : ` port ${port}`);
