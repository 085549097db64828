// The values that matches compare, as numbers: an IPv4 address is a number, an IPv6 address a bigint, so that both
// compare with < and >. A set of values is a sorted list of ranges that do not touch. Pure.

import { formatAddress, parseAddress } from '../ruleset/subnet.ts';
import type { Family } from '../ruleset/types.ts';

export type Value = number | bigint;

/** Both ends belong to it. */
export interface Range {
  readonly first: Value;
  readonly last: Value;
}

/** An address as a value, or undefined when the text is none. */
export function addressValue(family: Family, text: string): Value | undefined {
  if (family === 'ip') return v4Value(text);
  return parseAddress(family, text)?.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

/** As parseAddress reads IPv4, without its lists: a blocklist has one for each of its ten thousand rules. */
function v4Value(text: string): number | undefined {
  let value = 0;
  let octet = -1;
  let dots = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 46 && octet >= 0) {
      value = value * 256 + octet;
      octet = -1;
      dots++;
    } else if (code >= 48 && code <= 57 && octet !== 0) {
      octet = (octet < 0 ? 0 : octet * 10) + code - 48;
      if (octet > 255) return undefined;
    } else return undefined;
  }
  return dots === 3 && octet >= 0 ? value * 256 + octet : undefined;
}

/** The address as iptables prints it. */
export function addressText(family: Family, value: Value): string {
  const length = family === 'ip' ? 4 : 16;
  const wide = BigInt(value);
  return formatAddress(Array.from({ length }, (_, at) => Number((wide >> BigInt(8 * (length - 1 - at))) & 255n)));
}

/** The addresses of a prefix: `10.1.2.3/8` -> 10.0.0.0 to 10.255.255.255. `prefix` must be valid for the family. */
export function prefixRange(family: Family, address: Value, prefix: number): Range {
  if (family === 'ip') {
    const size = 2 ** (32 - prefix);
    const first = Math.floor(Number(address) / size) * size;
    return { first, last: first + size - 1 };
  }
  const host = BigInt(128 - prefix);
  const first = (BigInt(address) >> host) << host;
  return { first, last: first + (1n << host) - 1n };
}

/** `192.168.122.0/24`, `10.0.0.1`, `10.0.0.1-10.0.0.9` as one range; undefined for anything else (a name, an odd mask). */
export function addressRange(family: Family, text: string): Range | undefined {
  const dash = text.indexOf('-');
  if (dash > 0) return rangeOf(addressValue(family, text.slice(0, dash)), addressValue(family, text.slice(dash + 1)));
  const slash = text.indexOf('/');
  const address = addressValue(family, slash < 0 ? text : text.slice(0, slash));
  if (address === undefined) return undefined;
  if (slash < 0) return { first: address, last: address };
  const prefix = numberOf(text.slice(slash + 1));
  return prefix === undefined || prefix > (family === 'ip' ? 32 : 128)
    ? undefined
    : prefixRange(family, address, prefix);
}

export function rangeOf(first: Value | undefined, last: Value | undefined): Range | undefined {
  return first === undefined || last === undefined || first > last ? undefined : { first, last };
}

/** A number as people write it: `53`, `0x10`. Undefined for anything else. */
export function numberOf(text: string): number | undefined {
  return /^(?:\d+|0x[0-9a-fA-F]+)$/.test(text) ? Number(text) : undefined;
}

/** Sorted by their first value, overlapping ones joined. */
export function sortRanges(ranges: readonly Range[]): readonly Range[] {
  if (ranges.length < 2) return ranges;
  const joined: Range[] = [];
  for (const range of [...ranges].sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0))) {
    const before = joined.at(-1);
    if (before === undefined || before.last < range.first) joined.push(range);
    else if (before.last < range.last) joined[joined.length - 1] = { first: before.first, last: range.last };
  }
  return joined;
}

/** Whether one of the sorted ranges holds the value; in log time, for blocklists of many addresses. */
export function inRanges(ranges: readonly Range[], value: Value): boolean {
  let low = 0;
  let high = ranges.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const range = ranges[middle] as Range;
    if (value < range.first) high = middle - 1;
    else if (value > range.last) low = middle + 1;
    else return true;
  }
  return false;
}

/** The value with only the bits of the mask, as an unsigned number; of a bigint, a bigint. */
export function maskValue(value: Value, mask: Value): Value {
  if (typeof value === 'bigint') return value & BigInt(mask);
  return (value & Number(mask)) >>> 0;
}
