// Addresses and subnets in the spelling iptables-save prints: IPv4 dotted, IPv6 as inet_ntop(3) writes it, host bits
// cleared, prefix length always there. Pure.

import type { Family } from './types.ts';

const BYTES: Readonly<Record<Family, number>> = { ip: 4, ip6: 16 };

/**
 * The 4 or 16 bytes of an address, or undefined when the text is not one. IPv4 takes four decimal numbers only (no
 * leading zero, which libc reads as octal); IPv6 takes `::` once and an IPv4 tail; no zone (`%eth0`).
 */
export function parseAddress(family: Family, text: string): readonly number[] | undefined {
  return family === 'ip' ? parseV4(text) : parseV6(text);
}

function parseV4(text: string): number[] | undefined {
  const parts = text.split('.');
  // one part: `0`, `122`, `255`
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part))) return undefined;
  const bytes = parts.map(Number);
  return bytes.every((byte) => byte <= 255) ? bytes : undefined;
}

function parseV6(text: string): number[] | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map((half, index) => groupsToBytes(half, index === halves.length - 1));
  if (head === undefined) return undefined;
  if (halves.length === 1) return head.length === 16 ? head : undefined;
  // `::` stands for at least one group
  if (tail === undefined || head.length + tail.length > 14) return undefined;
  return [...head, ...new Array<number>(16 - head.length - tail.length).fill(0), ...tail];
}

/** `endsAddress`: only the last group of the whole address may be written as IPv4. */
function groupsToBytes(text: string, endsAddress: boolean): number[] | undefined {
  if (text === '') return [];
  const groups = text.split(':');
  const bytes: number[] = [];
  for (const [index, group] of groups.entries()) {
    const v4 = endsAddress && index === groups.length - 1 ? parseV4(group) : undefined;
    if (v4 !== undefined) bytes.push(...v4);
    // one group: `0`, `fd00`, `1FF`
    else if (/^[0-9a-fA-F]{1,4}$/.test(group)) bytes.push(parseInt(group, 16) >> 8, parseInt(group, 16) & 255);
    else return undefined;
  }
  return bytes;
}

/** The address as iptables-save prints it. */
export function formatAddress(bytes: readonly number[]): string {
  return bytes.length === 4 ? bytes.join('.') : formatV6(bytes);
}

// glibc's inet_ntop: lower case, the first longest run of two or more zero groups as `::`, an IPv4 tail for
// `::a.b.c.d` and `::ffff:a.b.c.d`.
function formatV6(bytes: readonly number[]): string {
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0));
  const run = longestZeroRun(groups);
  const embedsV4 = run.start === 0 && (run.length === 6 || (run.length === 5 && groups[5] === 0xffff));
  const words = groups.map((group) => group.toString(16));
  if (embedsV4) words.splice(6, 2, bytes.slice(12).join('.'));
  if (run.length < 2) return words.join(':');
  return `${words.slice(0, run.start).join(':')}::${words.slice(run.start + run.length).join(':')}`;
}

function longestZeroRun(groups: readonly number[]): { readonly start: number; readonly length: number } {
  let best = { start: 0, length: 0 };
  let length = 0;
  for (const [index, group] of groups.entries()) {
    length = group === 0 ? length + 1 : 0;
    if (length > best.length) best = { start: index - length + 1, length };
  }
  return best;
}

/** The prefix length of a netmask (`255.255.255.0` -> 24), or undefined when it is not one (`255.0.255.0`). */
export function netmaskToPrefix(family: Family, netmask: string): number | undefined {
  const bits = parseAddress(family, netmask)
    ?.map((byte) => byte.toString(2).padStart(8, '0'))
    .join('');
  // all ones first: `11111111111111111111111100000000`
  return bits !== undefined && /^1*0*$/.test(bits) ? bits.lastIndexOf('1') + 1 : undefined;
}

/**
 * The subnet an address lies in, as iptables prints it: `('ip', '192.168.122.1', 24)` -> `192.168.122.0/24`.
 * Undefined when the address or the prefix length is none.
 */
export function subnetOf(family: Family, address: string, prefix: number): string | undefined {
  const bytes = parseAddress(family, address);
  if (bytes === undefined || !Number.isInteger(prefix) || prefix < 0 || prefix > 8 * BYTES[family]) return undefined;
  return `${formatAddress(maskBytes(bytes, prefix))}/${prefix}`;
}

/** Whether the address lies in the subnet (`192.168.122.0/24`). A text that is neither lies nowhere. */
export function subnetContains(family: Family, cidr: string, address: string): boolean {
  const slash = cidr.lastIndexOf('/');
  const prefix = Number(cidr.slice(slash + 1));
  const net = slash < 0 ? undefined : subnetOf(family, cidr.slice(0, slash), prefix);
  return net !== undefined && net === subnetOf(family, address, prefix);
}

function maskBytes(bytes: readonly number[], prefix: number): number[] {
  return bytes.map((byte, index) => byte & (0xff00 >> Math.min(8, Math.max(0, prefix - 8 * index))) & 255);
}
