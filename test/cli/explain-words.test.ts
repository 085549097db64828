// The words of `explain` as a packet, and what is said of words that are none.

import { describe, expect, it } from 'vitest';
import { packetOfWords, type PacketOptions } from '../../src/cli/explain-words.ts';
import { EXIT, Stop } from '../../src/cli/exit-codes.ts';

const words = (line: string, options: PacketOptions = {}): ReturnType<typeof packetOfWords> =>
  packetOfWords(
    line.split(' ').filter((word) => word !== ''),
    options,
  );

function refusal(line: string, options: PacketOptions = {}): string {
  try {
    words(line, options);
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    expect(error.exitCode).toBe(EXIT.usage);
    return error.message;
  }
  return 'a packet';
}

const SSH = {
  family: 'ip',
  iif: 'eth0',
  src: '203.0.113.9',
  dst: '192.168.122.10',
  dport: 22,
  protocol: 'tcp',
  ctState: 'new',
  tcpFlags: ['syn'],
};

describe('words', () => {
  it('are the packet they say, in any order, and the same as options', () => {
    expect(words('tcp from 203.0.113.9 to 192.168.122.10:22 in eth0')).toEqual(SSH);
    expect(words('tcp in eth0 to 192.168.122.10:ssh state new from 203.0.113.9')).toEqual(SSH);
    expect(words('', { proto: 'tcp', from: '203.0.113.9', to: '192.168.122.10', dport: '22', in: 'eth0' })).toEqual(
      SSH,
    );
    expect(words('to 192.168.122.10:22 in eth0', { proto: 'TCP', from: '203.0.113.9', ctstate: 'NEW' })).toEqual(SSH);
  });

  it('leave out what they do not say', () => {
    expect(words('udp to 10.0.0.1')).toEqual({ family: 'ip', dst: '10.0.0.1', protocol: 'udp', ctState: 'new' });
    expect(words('tcp to 10.0.0.1 state any')).toEqual({ family: 'ip', dst: '10.0.0.1', protocol: 'tcp' });
  });

  it.each([
    ['tcp to 2001:db8::1', { dst: '2001:db8::1' }],
    ['tcp to [2001:db8::1]', { dst: '2001:db8::1' }],
    [
      'tcp from [2001:db8::7]:40000 to [2001:db8::1]:22',
      { src: '2001:db8::7', sport: 40000, dst: '2001:db8::1', dport: 22 },
    ],
    ['icmp to ::1 type echo-request', { protocol: 'icmpv6', icmpType: 'echo-request' }],
  ])('%s is IPv6', (line, packet) => {
    expect(words(line)).toMatchObject({ family: 'ip6', ...packet });
  });

  it('of an established connection carry an ACK and no SYN', () => {
    expect(words('tcp to 10.0.0.1 state established mark 0x1')).toMatchObject({ tcpFlags: ['ack'], mark: 1 });
    expect(words('tcp to 10.0.0.1 state related').tcpFlags).toBeUndefined();
  });
});

describe('what is no packet is refused with 2, where, what was expected, and the nearest word:', () => {
  it.each([
    ['', 'the packet: expected a protocol, as in tcp, udp, icmp, 47, found nothing'],
    ['tpc to 10.0.0.1', 'word 1: expected a protocol, as in tcp, udp, icmp, 47, found "tpc" (did you mean "tcp"?)'],
    [
      'tcp form 10.0.0.2 to 10.0.0.1',
      'word 2: expected one of from, to, sport, dport, in, out, state, type, mark, found "form" (did you mean "from"?)',
    ],
    ['tcp from 10.0.0.2', 'the packet: expected to ADDRESS[:PORT], found nothing'],
    ['tcp to', 'word 3: expected a value for to, found nothing'],
    ['tcp to 10.0.0', 'word 3: expected an address, as in 192.168.122.10:22 or [2001:db8::1]:22, found "10.0.0"'],
    ['tcp to guest:22', 'word 3: expected an address, as in 192.168.122.10:22 or [2001:db8::1]:22, found "guest:22"'],
    ['tcp to 10.0.0.1:htpp', 'word 3: expected a port, as in 22 or ssh, found "htpp" (did you mean "http"?)'],
    ['tcp to 10.0.0.1:70000', 'word 3: expected a port, as in 22 or ssh, found "70000"'],
    ['tcp to 10.0.0.1:', 'word 3: expected a port, as in 22 or ssh, found nothing'],
    ['tcp to 10.0.0.1:22 dport 23', 'word 5: expected one port, found "23"'],
    ['tcp to 10.0.0.1 to 10.0.0.2', 'word 5: expected to only once, found "10.0.0.2"'],
    ['icmp to 10.0.0.1:22', 'word 3: expected no port with icmp, found "22"'],
    ['tcp from ::1 to 10.0.0.1', 'word 3: expected an address of the same family as "10.0.0.1", found "::1"'],
    ['tcp to 10.0.0.1 in a/b', 'word 5: expected the name of an interface, found "a/b"'],
    [
      'tcp to 10.0.0.1 state nwe',
      'word 5: expected one of new, established, related, invalid, untracked, any, found "nwe" (did you mean "new"?)',
    ],
    ['tcp to 10.0.0.1 mark x', 'word 5: expected a mark, as in 1 or 0x1, found "x"'],
    [
      'icmp to 10.0.0.1 type echo-requst',
      'word 5: expected an ICMP type, as in echo-request or 8, found "echo-requst" (did you mean "echo-request"?)',
    ],
  ])('%s', (line, message) => {
    expect(refusal(line)).toBe(`${message}; see mendwall explain --help`);
  });

  it('an option is named as it was typed', () => {
    expect(refusal('tcp to 10.0.0.1', { ctstate: 'x' })).toMatch(/^--ctstate: expected one of new, /);
    expect(refusal('tcp to 10.0.0.1', { dport: 'x' })).toMatch(/^--dport: expected a port/);
    expect(refusal('tcp to 10.0.0.1', { proto: 'udp' })).toMatch(/^word 1: expected one of from/);
  });
});
