// What each iptables match says of a packet.

import { describe, expect, it } from 'vitest';
import type { Facts } from '../../src/explain/facts.ts';
import type { PacketSpec } from '../../src/explain/packet.ts';
import { iptables, PING, PING6, said, SSH, SSH6, type Said } from './sketch.ts';

type Row = readonly [match: string, packet: PacketSpec, said: Said];

const UDP: PacketSpec = { ...SSH, protocol: 'udp', dport: 53, tcpFlags: [] };
const without = (packet: PacketSpec, ...fields: readonly (keyof PacketSpec)[]): PacketSpec =>
  Object.fromEntries(
    Object.entries(packet).filter(([name]) => !fields.includes(name as keyof PacketSpec)),
  ) as unknown as PacketSpec;

const V4: readonly Row[] = [
  ['-p tcp', SSH, 'yes'],
  ['! -p tcp', SSH, 'no'],
  ['-p 6', SSH, 'yes'],
  ['-p all', SSH, 'yes'],
  ['-p udp', without(SSH, 'protocol'), 'depends'],
  ['-p nonsense', SSH, 'depends'],
  ['-s 198.51.100.0/24', SSH, 'yes'],
  ['-s 198.51.100.8/29', SSH, 'no'],
  ['! -s 198.51.100.7/32', SSH, 'no'],
  ['-s ! 198.51.100.7', SSH, 'no'],
  ['-s 192.0.0.7/255.0.0.255', { ...SSH, src: '192.9.9.7' }, 'yes'],
  ['-s 192.0.0.7/255.0.0.255', { ...SSH, src: '192.9.9.8' }, 'no'],
  ['-s gateway.example.org', SSH, 'depends'],
  ['! -s gateway.example.org', SSH, 'depends'],
  ['-d 192.0.2.1', SSH, 'yes'],
  ['-d 0.0.0.0/0', without(SSH, 'dst'), 'depends'],
  ['-i eth0', SSH, 'yes'],
  ['-i eth+', SSH, 'yes'],
  ['-i eth', SSH, 'no'],
  ['-i +', SSH, 'yes'],
  ['! -i eth+', SSH, 'no'],
  ['-i eth0', without(SSH, 'iif'), 'depends'],
  ['-f', SSH, 'no'],
  ['! -f', SSH, 'yes'],
  ['-f', { ...SSH, fragment: true }, 'yes'],
  ['-p tcp -m tcp --dport 22', SSH, 'yes'],
  ['-p tcp --dport ssh', SSH, 'yes'],
  ['-p tcp -m tcp --dport 20:25', SSH, 'yes'],
  ['-p tcp -m tcp --dport :21', SSH, 'no'],
  ['-p tcp -m tcp --dport 23:', SSH, 'no'],
  ['-p tcp -m tcp ! --dport 22', SSH, 'no'],
  ['-p tcp -m tcp --dport ! 22', SSH, 'no'],
  ['-p tcp -m tcp --sport 40000', SSH, 'yes'],
  ['-p udp -m udp --dport 22', SSH, 'no'],
  ['-p tcp -m tcp --dport 22', without(SSH, 'dport'), 'depends'],
  ['-p udp -m udp --dport 22', without(SSH, 'dport'), 'no'],
  ['-p tcp -m tcp --syn', SSH, 'yes'],
  ['-p tcp -m tcp ! --syn', SSH, 'no'],
  ['-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN', SSH, 'yes'],
  ['-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN', { ...SSH, tcpFlags: ['syn', 'ack'] }, 'no'],
  ['-p tcp -m tcp --tcp-flags ALL NONE', { ...SSH, tcpFlags: [] }, 'yes'],
  ['-p tcp -m tcp ! --tcp-flags SYN SYN', { ...SSH, tcpFlags: ['ack'] }, 'yes'],
  ['-p tcp -m tcp --syn', without(SSH, 'tcpFlags'), 'depends'],
  ['-p tcp -m tcp --tcp-option 5', SSH, 'depends'],
  ['-p icmp', PING, 'yes'],
  ['-p icmp -m icmp --icmp-type 8', PING, 'yes'],
  ['-p icmp -m icmp --icmp-type 8/0', PING, 'yes'],
  ['-p icmp -m icmp --icmp-type 3/4', PING, 'no'],
  ['-p icmp -m icmp --icmp-type echo-request', PING, 'yes'],
  ['-p icmp -m icmp --icmp-type any', PING, 'yes'],
  ['-p icmp -m icmp ! --icmp-type 8', PING, 'no'],
  ['-p icmp -m icmp --icmp-type port-unreachable', PING, 'no'],
  ['-p tcp -m multiport --dports 22,80', SSH, 'yes'],
  ['-p tcp -m multiport --dports 80,1000:2000', SSH, 'no'],
  ['-p tcp -m multiport ! --dports 22,80', SSH, 'no'],
  ['-p tcp -m multiport --sports 30000:50000', SSH, 'yes'],
  ['-p tcp -m multiport --ports 40000', SSH, 'yes'],
  ['-p tcp -m multiport --ports 1,2', SSH, 'no'],
  ['-m conntrack --ctstate NEW', SSH, 'yes'],
  ['-m conntrack --ctstate RELATED,ESTABLISHED', SSH, 'no'],
  ['-m conntrack ! --ctstate NEW', SSH, 'no'],
  ['-m conntrack --ctstate INVALID', { ...SSH, ctState: 'invalid' }, 'yes'],
  ['-m conntrack --ctstate UNTRACKED', { ...SSH, ctState: 'untracked' }, 'yes'],
  ['-m conntrack --ctstate DNAT', SSH, 'no'],
  ['-m conntrack --ctstate DNAT', { ...SSH, ctState: 'established' }, 'depends'],
  ['-m conntrack --ctstate NEW', without(SSH, 'ctState'), 'depends'],
  ['-m conntrack --ctorigdst 192.0.2.1', SSH, 'yes'],
  // xt_conntrack without an entry: no match, negated or not, unless the state is asked
  ['-m conntrack ! --ctorigdst 192.0.2.9', { ...SSH, ctState: 'invalid' }, 'no'],
  ['-m conntrack --ctproto 17', SSH, 'no'],
  ['-m conntrack --ctstatus ASSURED', SSH, 'depends'],
  ['-m state --state NEW', SSH, 'yes'],
  ['-m state --state RELATED,ESTABLISHED', SSH, 'no'],
  ['-m mark --mark 0x1', { ...SSH, mark: 1 }, 'yes'],
  ['-m mark --mark 0x1/0x3', { ...SSH, mark: 5 }, 'yes'],
  ['-m mark ! --mark 0x1', { ...SSH, mark: 1 }, 'no'],
  ['-m mark --mark 0x1', SSH, 'no'],
  ['-m connmark --mark 0x1', { ...SSH, ctMark: 1 }, 'yes'],
  ['-m connmark ! --mark 0x1', { ...SSH, ctState: 'untracked' }, 'no'],
  ['-m iprange --src-range 198.51.100.5-198.51.100.9', SSH, 'yes'],
  ['-m iprange ! --src-range 198.51.100.5-198.51.100.9', SSH, 'no'],
  ['-m iprange --dst-range 192.0.2.2-192.0.2.9', SSH, 'no'],
  ['-m addrtype --dst-type LOCAL', SSH, 'depends'],
  ['-m addrtype --dst-type LOCAL', { ...SSH, dst: '127.0.0.1' }, 'yes'],
  ['-m addrtype --dst-type LOCAL', { ...SSH, dst: '224.0.0.1' }, 'no'],
  ['-m addrtype --dst-type MULTICAST', { ...SSH, dst: '224.0.0.1' }, 'yes'],
  ['-m addrtype --dst-type BROADCAST', { ...SSH, dst: '255.255.255.255' }, 'yes'],
  ['-m addrtype --dst-type BROADCAST', SSH, 'depends'],
  ['-m addrtype ! --dst-type MULTICAST', SSH, 'yes'],
  ['-m physdev --physdev-in vnet0', { ...SSH, physIn: 'vnet0' }, 'yes'],
  ['-m physdev --physdev-in vnet+', { ...SSH, physIn: 'vnet1' }, 'yes'],
  ['-m physdev --physdev-in vnet0', SSH, 'depends'],
  ['-m physdev --physdev-is-bridged', { ...SSH, bridged: true }, 'yes'],
  ['-m length --length 40:100', SSH, 'yes'],
  ['-m length --length 1500', SSH, 'no'],
  ['-m comment --comment "-j ACCEPT or not"', SSH, 'yes'],
  ['-m comment --comment "-j ACCEPT" -p udp', SSH, 'no'],
  ['-m set --match-set hosts src', SSH, 'depends'],
  ['-m limit --limit 5/min', SSH, 'depends'],
  ['-m hashlimit --hashlimit-upto 5/min --hashlimit-name x', SSH, 'depends'],
  ['-m recent --rcheck --name x', SSH, 'depends'],
  ['-m recent ! --rcheck --name x', SSH, 'depends'],
  ['-m time --timestart 08:00', SSH, 'depends'],
  ['-m owner --uid-owner 0', SSH, 'depends'],
  ['-m something-new --what 1 2 3', SSH, 'depends'],
  // what does not hold anyway does not depend
  ['-p udp -m limit --limit 5/min', SSH, 'no'],
  ['-p udp -m udp --dport 53', UDP, 'yes'],
];

const V6: readonly Row[] = [
  ['-p ipv6-icmp -m icmp6 --icmpv6-type 128', PING6, 'yes'],
  ['-p icmpv6 -m icmp6 --icmpv6-type echo-request', PING6, 'yes'],
  ['-p ipv6-icmp -m icmp6 ! --icmpv6-type 135', PING6, 'yes'],
  ['-s 2001:db8::/64', SSH6, 'yes'],
  ['-s 2001:db8::8/125', SSH6, 'no'],
  ['! -d 2001:db8:1::1/128', SSH6, 'no'],
  ['-s 2001:db8::7/ffff::ffff', { ...SSH6, src: '2001::7' }, 'yes'],
  ['-p tcp -m tcp --dport 22', SSH6, 'yes'],
];

describe('an iptables match', () => {
  it.each(V4)('%s of %o says %s', (match, packet, expected) => {
    expect(said(iptables([`-A INPUT ${match} -j DROP`]), packet)).toBe(expected);
  });

  it.each(V6)('in ip6tables %s of %o says %s', (match, packet, expected) => {
    expect(said(iptables([`-A INPUT ${match} -j DROP`], { family: 'ip6' }), packet)).toBe(expected);
  });

  it('on the outgoing interface asks where the packet leaves', () => {
    const program = iptables(['-A FORWARD -o virbr+ -j DROP']);
    expect(said(program, { ...SSH, oif: 'virbr0' }, 'forward')).toBe('yes');
    expect(said(program, { ...SSH, oif: 'eth1' }, 'forward')).toBe('no');
    expect(said(program, SSH, 'forward')).toBe('depends');
  });

  const facts: Facts = {
    ipsets: new Map([
      ['hosts', ['198.51.100.0/28', '10.0.0.1']],
      ['pairs', ['198.51.100.7,tcp:22']],
    ]),
    localAddresses: ['192.0.2.1'],
  };

  it.each<Row>([
    ['-m set --match-set hosts src', SSH, 'yes'],
    ['-m set ! --match-set hosts src', SSH, 'no'],
    ['-m set --match-set hosts dst', SSH, 'no'],
    ['-m set --match-set pairs src,dst', SSH, 'depends'],
    ['-m set --match-set others src', SSH, 'depends'],
    ['-m addrtype --dst-type LOCAL', SSH, 'yes'],
    ['-m addrtype ! --src-type LOCAL', SSH, 'yes'],
  ])('with sets and addresses given: %s of %o says %s', (match, packet, expected) => {
    expect(said(iptables([`-A INPUT ${match} -j DROP`], { facts }), packet)).toBe(expected);
  });
});
