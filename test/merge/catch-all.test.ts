import { describe, expect, it } from 'vitest';
import { catchAllPlace, isCatchAll } from '../../src/merge/catch-all.ts';

const isGuestBridge = (name: string): boolean => name === 'virbr0';

describe('a catch-all', () => {
  it.each([
    '-A FORWARD -j DROP',
    '-A FORWARD -j REJECT --reject-with icmp-host-prohibited',
    '-A INPUT -j ACCEPT',
    '-A INPUT -j RETURN',
    '-A FORWARD -g audit',
    '-A FORWARD -i eth0 -j DROP',
    '-A FORWARD ! -i eth0 -o eth1 -j REJECT --reject-with tcp-reset',
    '-A FORWARD -m comment --comment "admin fwd" -j REJECT --reject-with icmp-host-prohibited',
    '-A FORWARD -m comment --comment end -j DROP',
    '-A FORWARD -j DROP -m comment --comment "-s 1.2.3.4"',
  ])('ends the chain for most packets: %s', (text) => {
    expect(isCatchAll(text, isGuestBridge)).toBe(true);
  });

  it.each([
    '-A FORWARD -i virbr0 -j ACCEPT',
    '-A FORWARD -o virbr0 -j DROP',
    '-A FORWARD -s 10.0.0.0/8 -j DROP',
    '-A FORWARD ! -s 10.0.0.0/8 -j DROP',
    '-A FORWARD -p tcp -j DROP',
    '-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
    '-A FORWARD -m state --state INVALID -j DROP',
    '-A FORWARD -m comment --comment "ssh" -p tcp -j ACCEPT',
    '-A FORWARD -j LOG --log-prefix "drop: "',
    '-A FORWARD -j web',
    '-A FORWARD -j LIBVIRT_FWX',
    '-A FORWARD -f -j DROP',
    '-A FORWARD',
  ])('is not: %s', (text) => {
    expect(isCatchAll(text, isGuestBridge)).toBe(false);
  });

  it('takes the LOG and NFLOG rules directly before it along', () => {
    const texts = [
      '-A F -s 1.1.1.1/32 -j LOG',
      '-A F -p tcp -j ACCEPT',
      '-A F -j NFLOG --nflog-group 2',
      '-A F -j LOG --log-prefix "x y"',
      '-A F -j DROP',
      '-A F -j ACCEPT',
    ];
    expect(catchAllPlace(texts, isGuestBridge)).toBe(2);
    expect(catchAllPlace(texts.slice(0, 4), isGuestBridge)).toBe(4);
    expect(catchAllPlace([], isGuestBridge)).toBe(0);
  });
});
