// What each nft match says of a packet.

import { describe, expect, it } from 'vitest';
import type { PacketSpec } from '../../src/explain/packet.ts';
import { nft, PING, PING6, said, SSH, SSH6, type Said } from './sketch.ts';

type Row = readonly [match: string, packet: PacketSpec, said: Said];

const SETS = `set hosts { type ipv4_addr; flags interval; elements = { 198.51.100.0/28,
  10.0.0.1 timeout 1h expires 59m }; }
set none { type ipv4_addr; }
set pairs { type ipv4_addr . inet_service; elements = { 198.51.100.7 . 22 counter packets 3 bytes 180 } }`;

const ROWS: readonly Row[] = [
  ['tcp dport 22', SSH, 'yes'],
  ['tcp dport ssh', SSH, 'yes'],
  ['tcp dport != 22', SSH, 'no'],
  ['tcp dport { 22, 80 }', SSH, 'yes'],
  ['tcp dport != { 22, 80 }', SSH, 'no'],
  ['tcp dport 20-25', SSH, 'yes'],
  ['tcp dport { 1-10, 1000-2000 }', SSH, 'no'],
  ['tcp dport < 23', SSH, 'yes'],
  ['tcp dport >= 23', SSH, 'no'],
  ['tcp sport 40000', SSH, 'yes'],
  ['udp dport 22', SSH, 'no'],
  ['udp dport != 22', SSH, 'no'],
  ['th dport 22', SSH, 'yes'],
  ['th dport 22', PING, 'depends'],
  ['ip saddr 198.51.100.0/24', SSH, 'yes'],
  ['ip saddr != 198.51.100.0/24', SSH, 'no'],
  ['ip saddr != 198.51.100.0/24', SSH6, 'no'],
  ['ip saddr 198.51.100.1-198.51.100.9', SSH, 'yes'],
  ['ip saddr @hosts', SSH, 'yes'],
  ['ip saddr != @hosts', SSH, 'no'],
  ['ip saddr @none', SSH, 'no'],
  ['ip saddr @missing', SSH, 'depends'],
  ['ip saddr . tcp dport @pairs', SSH, 'yes'],
  ['ip saddr . tcp dport { 198.51.100.7 . 23, 198.51.100.8 . 22 }', SSH, 'no'],
  ['meta l4proto . th dport { tcp . 22, udp . 53 }', SSH, 'yes'],
  ['ip6 saddr 2001:db8::/32', SSH6, 'yes'],
  ['ip6 daddr { 2001:db8:1::1, 2001:db8:2::/64 }', SSH6, 'yes'],
  ['ip6 saddr 2001:db8::/32', SSH, 'no'],
  ['ip protocol tcp', SSH, 'yes'],
  ['ip6 nexthdr tcp', SSH6, 'yes'],
  ['meta l4proto tcp', SSH, 'yes'],
  ['meta l4proto { icmp, ipv6-icmp }', PING6, 'yes'],
  ['meta l4proto != tcp', SSH, 'no'],
  ['meta nfproto ipv4', SSH, 'yes'],
  ['meta nfproto ipv6', SSH, 'no'],
  ['meta protocol ip6', SSH6, 'yes'],
  ['meta mark 0x1', { ...SSH, mark: 1 }, 'yes'],
  ['meta mark 0x00000001', SSH, 'no'],
  ['meta mark & 0x3 == 0x1', { ...SSH, mark: 5 }, 'yes'],
  ['iifname "eth0"', SSH, 'yes'],
  ['iifname "eth*"', SSH, 'yes'],
  ['iifname != "eth0"', SSH, 'no'],
  ['iifname { "lo", "eth0" }', SSH, 'yes'],
  ['iif "eth0"', SSH, 'yes'],
  ['iif 73', SSH, 'depends'],
  ['meta iifname "lo"', SSH, 'no'],
  // an input packet has no outgoing interface
  ['oifname "eth0"', SSH, 'no'],
  ['oifname != "eth0"', SSH, 'yes'],
  ['ct state new', SSH, 'yes'],
  ['ct state established,related', SSH, 'no'],
  ['ct state { established, new }', SSH, 'yes'],
  ['ct state != new', SSH, 'no'],
  ['ct state invalid', { ...SSH, ctState: 'invalid' }, 'yes'],
  ['ct status dnat', SSH, 'no'],
  ['ct mark 0x1', { ...SSH, ctMark: 1 }, 'yes'],
  ['ct mark != 0x1', { ...SSH, ctState: 'untracked' }, 'no'],
  ['ct original ip daddr 192.0.2.1', SSH, 'yes'],
  ['ct direction original', SSH, 'yes'],
  ['ct helper "ftp"', SSH, 'depends'],
  ['icmp type echo-request', PING, 'yes'],
  ['icmp type { echo-reply, echo-request }', PING, 'yes'],
  ['icmp type != echo-request', PING, 'no'],
  ['icmpv6 type nd-neighbor-solicit', PING6, 'no'],
  ['icmpv6 type echo-request', PING6, 'yes'],
  ['icmp type echo-request', PING6, 'no'],
  ['tcp flags syn', SSH, 'yes'],
  ['tcp flags syn,rst', { ...SSH, tcpFlags: ['rst', 'ack'] }, 'yes'],
  ['tcp flags == syn', { ...SSH, tcpFlags: ['syn', 'ack'] }, 'no'],
  ['tcp flags & (fin | syn | rst | ack) == syn', SSH, 'yes'],
  ['tcp flags & (syn | ack) == syn | ack', SSH, 'no'],
  ['tcp flags & (fin | syn) != syn', SSH, 'no'],
  ['tcp flags syn / fin,syn,rst,ack', SSH, 'yes'],
  ['tcp flags ! ack', SSH, 'yes'],
  ['tcp flags != syn', { ...SSH, tcpFlags: ['ack'] }, 'yes'],
  ['fib daddr type local', { ...SSH, dst: '127.0.0.1' }, 'yes'],
  ['fib daddr type local', SSH, 'depends'],
  ['fib saddr . mark . iif oif missing', SSH, 'depends'],
  ['limit rate 10/second burst 5 packets', SSH, 'depends'],
  ['limit rate over 1 mbytes/second', SSH, 'depends'],
  ['ct count over 10', SSH, 'depends'],
  ['meta skuid 0', SSH, 'depends'],
  ['ether saddr 52:54:00:00:00:01', SSH, 'depends'],
  ['xt match "string"', SSH, 'depends'],
  ['counter packets 5 bytes 300 ip saddr { 198.51.100.7 } log prefix "drop or accept " level info', SSH, 'yes'],
  ['add @hosts { ip saddr timeout 1h } counter', SSH, 'yes'],
  ['update @hosts { ip saddr limit rate over 1/second }', SSH, 'depends'],
  ['meta nftrace set 1', SSH, 'yes'],
  // what does not hold anyway does not depend
  ['udp dport 53 limit rate 1/second', SSH, 'no'],
];

describe('an nft match', () => {
  it.each(ROWS)('%s of %o says %s', (match, packet, expected) => {
    expect(said(nft([`${match} drop comment "accept"`], undefined, SETS), packet)).toBe(expected);
  });

  it('of a packet without the field that is needed depends', () => {
    expect(said(nft(['tcp dport 22 drop']), { ...SSH, protocol: 'udp' })).toBe('no');
    expect(said(nft(['tcp dport 22 drop']), { family: 'ip', iif: 'eth0', dport: 22 })).toBe('depends');
  });
});
