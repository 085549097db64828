// Bytes of IPv4 and IPv6 packets with TCP, UDP or ICMP, checksums right: conntrack calls wrong ones invalid.

import { parseAddress } from '../../src/ruleset/subnet.ts';
import type { PacketSpec } from '../../src/explain/packet.ts';
import { protocolNumber, TCP_FLAGS } from '../../src/explain/protocols.ts';

const PAYLOAD = Buffer.from('mendwall lab');

/** The whole packet. `id` makes an ICMP flow its own. */
export function rawPacket(spec: PacketSpec, id: number): Buffer {
  const source = bytesOf(spec, spec.src);
  const target = bytesOf(spec, spec.dst);
  const protocol = protocolNumber(spec.protocol ?? '') ?? 0;
  const transport = transportOf(spec, id);
  const place = checksumPlace(spec.protocol);
  const pseudo = spec.protocol === 'icmp' ? Buffer.alloc(0) : pseudoHeader(source, target, protocol, transport.length);
  transport.writeUInt16BE(checksum(Buffer.concat([pseudo, transport])), place);
  return Buffer.concat([
    spec.family === 'ip'
      ? v4(source, target, protocol, transport.length)
      : v6(source, target, protocol, transport.length),
    transport,
  ]);
}

function bytesOf({ family }: PacketSpec, text = ''): Buffer {
  return Buffer.from(parseAddress(family, text) ?? []);
}

function v4(source: Buffer, target: Buffer, protocol: number, length: number): Buffer {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(20 + length, 2);
  header.set([64, protocol], 8);
  header.set(source, 12);
  header.set(target, 16);
  header.writeUInt16BE(checksum(header), 10);
  return header;
}

function v6(source: Buffer, target: Buffer, protocol: number, length: number): Buffer {
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(length, 4);
  header.set([protocol, 64], 6);
  header.set(source, 8);
  header.set(target, 24);
  return header;
}

function transportOf(spec: PacketSpec, id: number): Buffer {
  if (spec.protocol === 'tcp') return tcp(spec);
  if (spec.protocol === 'udp') return udp(spec);
  const header = Buffer.alloc(8);
  header.set([Number(spec.icmpType), spec.icmpCode ?? 0], 0);
  header.writeUInt16BE(id & 0xffff, 4);
  return Buffer.concat([header, PAYLOAD]);
}

function tcp({ sport = 0, dport = 0, tcpFlags = [] }: PacketSpec): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt16BE(sport, 0);
  header.writeUInt16BE(dport, 2);
  const flags = tcpFlags.reduce((bits, name) => bits | (TCP_FLAGS[name] ?? 0), 0);
  // A reply must acknowledge the first packet's sequence number, which is 1, or conntrack takes it for invalid.
  header.writeUInt32BE(1, 4);
  if (tcpFlags.includes('ack')) header.writeUInt32BE(2, 8);
  header.set([0x50, flags, 0x20, 0], 12);
  return header;
}

function udp({ sport = 0, dport = 0 }: PacketSpec): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(sport, 0);
  header.writeUInt16BE(dport, 2);
  header.writeUInt16BE(8 + PAYLOAD.length, 4);
  return Buffer.concat([header, PAYLOAD]);
}

const checksumPlace = (protocol: string | undefined): number => (protocol === 'tcp' ? 16 : protocol === 'udp' ? 6 : 2);

function pseudoHeader(source: Buffer, target: Buffer, protocol: number, length: number): Buffer {
  const tail = Buffer.alloc(source.length === 4 ? 4 : 8);
  if (source.length === 4) {
    tail[1] = protocol;
    tail.writeUInt16BE(length, 2);
  } else {
    tail.writeUInt32BE(length, 0);
    tail[7] = protocol;
  }
  return Buffer.concat([source, target, tail]);
}

/** RFC 1071 */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  const result = ~sum & 0xffff;
  return result === 0 ? 0xffff : result;
}
