import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatAddress, netmaskToPrefix, parseAddress, subnetContains, subnetOf } from '../../src/ruleset/subnet.ts';

describe('an address', () => {
  it.each([
    ['ip6', 'fd00:123::1', 'fd00:123::1'],
    ['ip6', 'FD00:0:0:21:0:0:0:1', 'fd00:0:0:21::1'],
    ['ip6', '2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['ip6', '1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
    ['ip6', '0:0:0:0:0:0:0:0', '::'],
    ['ip6', '::1', '::1'],
    ['ip6', 'ff02::', 'ff02::'],
    ['ip6', '::ffff:c0a8:7a01', '::ffff:192.168.122.1'],
    ['ip6', '::192.168.122.1', '::192.168.122.1'],
    ['ip6', '64:ff9b::1.2.3.4', '64:ff9b::102:304'],
    ['ip', '192.168.122.1', '192.168.122.1'],
  ] as const)('of family %s, %s, is printed as inet_ntop does: %s', (family, text, printed) => {
    const bytes = parseAddress(family, text);
    expect(bytes && formatAddress(bytes)).toBe(printed);
  });

  it.each([
    ['ip', '192.168.122'],
    ['ip', '192.168.122.256'],
    ['ip', '192.168.122.01'],
    ['ip', '192.168.122.1/24'],
    ['ip', ''],
    ['ip6', ''],
    ['ip6', '1::2::3'],
    ['ip6', '1:2:3:4:5:6:7'],
    ['ip6', '1:2:3:4:5:6:7:8:9'],
    ['ip6', '1:2:3:4:5:6:7::8'],
    ['ip6', 'fe80::1%eth0'],
    ['ip6', '12345::'],
    ['ip6', '1.2.3.4::'],
    ['ip6', ':::'],
  ] as const)('of family %s is not: %j', (family, text) => {
    expect(parseAddress(family, text)).toBeUndefined();
  });

  it('is read back from its own printing, whatever its bytes', () => {
    // many zero bytes, or `::` would hardly occur
    const byte = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 255 }));
    for (const [family, length] of [
      ['ip', 4],
      ['ip6', 16],
    ] as const) {
      fc.assert(
        fc.property(fc.array(byte, { minLength: length, maxLength: length }), (bytes) => {
          expect(parseAddress(family, formatAddress(bytes))).toEqual(bytes);
        }),
      );
    }
  });
});

describe('a subnet', () => {
  it.each([
    ['ip', '192.168.122.1', 24, '192.168.122.0/24'],
    ['ip', '10.21.99.129', 26, '10.21.99.128/26'],
    ['ip', '10.21.0.1', 20, '10.21.0.0/20'],
    ['ip', '1.2.3.4', 32, '1.2.3.4/32'],
    ['ip', '1.2.3.4', 0, '0.0.0.0/0'],
    ['ip6', 'fd00:123::1', 64, 'fd00:123::/64'],
    ['ip6', 'fd00:22:1:2:8:0:0:1', 72, 'fd00:22:1:2::/72'],
    ['ip6', 'fd00::ffff', 121, 'fd00::ff80/121'],
    ['ip', '1.2.3.4', 33, undefined],
    ['ip', '1.2.3.4', -1, undefined],
    ['ip', '1.2.3.4', 1.5, undefined],
    ['ip6', '1.2.3.4', 24, undefined],
  ] as const)('of %s %s/%d is %s', (family, address, prefix, subnet) => {
    expect(subnetOf(family, address, prefix)).toBe(subnet);
  });

  it.each([
    ['255.255.255.0', 24],
    ['255.255.255.192', 26],
    ['0.0.0.0', 0],
    ['255.255.255.255', 32],
    ['255.0.255.0', undefined],
    ['24', undefined],
  ])('has the prefix length of its netmask: %s is %s', (netmask, prefix) => {
    expect(netmaskToPrefix('ip', netmask)).toBe(prefix);
  });

  it.each([
    ['ip', '192.168.122.0/24', '192.168.122.255', true],
    ['ip', '192.168.122.0/24', '192.168.123.0', false],
    ['ip', '0.0.0.0/0', '8.8.8.8', true],
    ['ip6', 'fd00:123::/64', 'fd00:123::ffff', true],
    ['ip6', 'fd00:123::/64', 'fd00:123:0:1::', false],
    ['ip6', 'fd00:123::/64', '192.168.122.1', false],
    ['ip', '192.168.122.0', '192.168.122.0', false],
  ] as const)('%s %s contains %s: %s', (family, cidr, address, contains) => {
    expect(subnetContains(family, cidr, address)).toBe(contains);
  });
});
