// What nat targets and mark targets do to a packet. Pure.

import { holds, TRACKED } from './expression.ts';
import { commonPacket, type Packet } from './packet.ts';
import type { Hook, SetField, Translate } from './program.ts';
import { CT_STATUS } from './protocols.ts';
import { maskValue, type Value } from './values.ts';

/** The host's one address on an interface; undefined when it has several or it is not known. */
export type AddressOf = (dev: string | undefined, family: Packet['family']) => Value | undefined;

/** The packet with its new source or destination. The flow's own fields (`orig*`) keep what was first. */
export function translate(packet: Packet, action: Translate, hook: Hook, addressOf: AddressOf): Packet {
  switch (action.how) {
    case 'dnat':
      return withDestination(packet, newAddress(action, packet.daddr), newPort(action, packet.dport));
    case 'redirect': {
      const loopback = packet.family === 'ip' ? 0x7f000001 : 1n;
      const address = hook === 'output' ? loopback : addressOf(packet.iif, packet.family);
      return { ...withDestination(packet, address, newPort(action, packet.dport)), redirected: true };
    }
    case 'snat':
      return withSource(packet, newAddress(action, packet.saddr), action);
    case 'masquerade':
      return withSource(packet, addressOf(packet.oif, packet.family), action);
  }
}

function newAddress(action: Translate, address: Value | undefined): Value | undefined {
  return action.address === 'kept' ? address : action.address;
}

function newPort(action: Translate, port: number | undefined): number | undefined {
  return action.port === 'kept' ? port : action.port;
}

function withDestination(packet: Packet, daddr: Value | undefined, dport: number | undefined): Packet {
  return { ...packet, daddr, dport, ctStatus: withStatus(packet, 'dnat', daddr, packet.daddr, dport !== packet.dport) };
}

// The kernel takes another port when the old one is in use with the new address, so a port without order is not known.
function withSource(packet: Packet, saddr: Value | undefined, { port }: Translate): Packet {
  const sport = port === 'kept' ? undefined : port;
  return { ...packet, saddr, sport, ctStatus: withStatus(packet, 'snat', saddr, packet.saddr, false) };
}

// nf_nat_setup_info sets the bit only where the tuple changes.
function withStatus(
  { ctStatus }: Packet,
  bit: 'snat' | 'dnat',
  after: Value | undefined,
  before: Value | undefined,
  changed: boolean,
): number | undefined {
  if (ctStatus === undefined || after === undefined || before === undefined) return undefined;
  return after !== before || changed ? ctStatus | (CT_STATUS[bit] ?? 0) : ctStatus;
}

/** A later packet of a translated flow: destinations change where DNAT does, sources where SNAT does. Untracked, neither. */
export function rewriteKnown(packet: Packet, hook: Hook): Packet {
  const { rewrite } = packet;
  const tracked = rewrite === undefined ? false : holds(TRACKED, packet);
  if (rewrite === undefined || tracked === false) return packet;
  const changed =
    hook === 'prerouting' || hook === 'output'
      ? { ...packet, daddr: rewrite.daddr ?? packet.daddr, dport: rewrite.dport ?? packet.dport }
      : { ...packet, saddr: rewrite.saddr ?? packet.saddr, sport: rewrite.sport ?? packet.sport };
  return tracked === true ? changed : commonPacket(packet, changed);
}

/** The packet with its mark or its flow's mark changed; without a conntrack entry there is no flow's mark to change or copy. */
export function setField(packet: Packet, action: SetField): Packet {
  const ofFlow = action.field === 'ctMark' || action.source === 'ctMark';
  const tracked = ofFlow ? holds(TRACKED, packet) : true;
  if (tracked === false) return packet;
  const value = newMark(packet, action);
  return { ...packet, [action.field]: tracked === true || value === packet[action.field] ? value : undefined };
}

function newMark(packet: Packet, { field, clear, source, sourceMask }: SetField): number | undefined {
  const from = typeof source === 'string' ? packet[source] : source;
  const before = clear === 0xffffffff ? 0 : packet[field];
  if (from === undefined || before === undefined) return undefined;
  const kept = Number(maskValue(before, ~clear >>> 0));
  return (kept ^ Number(maskValue(from, sourceMask))) >>> 0;
}
