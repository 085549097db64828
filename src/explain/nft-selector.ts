// The left side of an nft match: which field it looks at, what has to be true for it to be there (tcp dport needs tcp),
// and how a constant of it is read. Pure. Source: nft(8) 1.0.6, "EXPRESSIONS".

import { addressTypes } from './address-type.ts';
import {
  all,
  ALWAYS,
  equals,
  inField,
  nameIs,
  TRACKED,
  unknown,
  type Predicate,
  type ValueField,
} from './expression.ts';
import type { TokenReader } from './nft-lex.ts';
import type { AddressField, NameField } from './packet.ts';
import {
  CT_STATES,
  CT_STATUS,
  ICMP,
  ICMPV6,
  ICMP_TYPES,
  ICMPV6_TYPES,
  portNumber,
  protocolNumber,
  TCP,
  TCP_FLAGS,
  UDP,
  type IcmpType,
} from './protocols.ts';
import type { Family } from '../ruleset/types.ts';
import { addressRange, numberOf, rangeOf } from './values.ts';

export interface Selector {
  /** Holds for the packets that have the field; a packet without it does not match, whatever the comparison. */
  readonly needs: Predicate;
  /** What one constant says of the packet; undefined when it cannot be read. */
  readonly constant: (text: string) => Predicate | undefined;
  /** Bits: constants joined by "," ask for any of them. */
  readonly bits?: { readonly field: ValueField; readonly names: Readonly<Record<string, number>> };
  /** A plain number, for <, > and masks. */
  readonly field?: ValueField;
}

export interface SelectorContext {
  readonly localAddresses: readonly string[] | undefined;
}

const need = (...parts: readonly Predicate[]): Predicate => all(parts);
const isFamily = (family: Family): Predicate => ({ kind: 'family', family });
const isProtocol = (number: number): Predicate => equals('protocol', number);

/** Numbers of a field: single values and ranges of what `read` understands. */
function numbers(field: ValueField, read: (text: string) => number | undefined): Selector['constant'] {
  return (text) => {
    const single = read(text);
    if (single !== undefined) return equals(field, single);
    const dash = text.indexOf('-', 1);
    const range = rangeOf(read(text.slice(0, dash)), read(text.slice(dash + 1)));
    return dash < 0 || range === undefined ? undefined : inField(field, [range]);
  };
}

function addresses(field: AddressField, family: Family): Selector {
  return {
    needs: isFamily(family),
    constant: (text) => {
      const range = addressRange(family, text);
      return range === undefined ? undefined : inField(field, [range]);
    },
  };
}

const ofFlow = (selector: Selector): Selector => ({ ...selector, needs: all([TRACKED, selector.needs]) });

const port = (field: 'sport' | 'dport', needs: Predicate): Selector => ({
  needs,
  field,
  constant: numbers(field, portNumber),
});

const names = (field: NameField): Selector => ({ needs: ALWAYS, constant: (text) => nameIs(field, text, '*') });

/** By index: `nft list` says the name of an interface that exists, else the bare number. */
const byIndex = (field: NameField): Selector => ({
  needs: ALWAYS,
  constant: (text) =>
    numberOf(text) === undefined ? nameIs(field, text, '+') : unknown(`which interface has index ${text}`),
});

function icmpTypes(field: 'icmpType', types: ReadonlyMap<string, IcmpType>): Selector['constant'] {
  return numbers(field, (text) => numberOf(text) ?? types.get(text)?.type);
}

const protocol = (needs: Predicate = ALWAYS): Selector => ({
  needs,
  field: 'protocol',
  constant: numbers('protocol', protocolNumber),
});

function bitField(field: ValueField, namesOf: Readonly<Record<string, number>>, needs: Predicate = ALWAYS): Selector {
  const read = (text: string): number | undefined => namesOf[text] ?? numberOf(text);
  return { needs, field, bits: { field, names: namesOf }, constant: numbers(field, read) };
}

const plain = (field: ValueField, needs: Predicate = ALWAYS): Selector => ({
  needs,
  field,
  constant: numbers(field, numberOf),
});

const FAMILIES: Readonly<Record<string, Family>> = { ipv4: 'ip', ipv6: 'ip6', ip: 'ip', ip6: 'ip6' };

const families: Selector = {
  needs: ALWAYS,
  constant: (text) => {
    const family = FAMILIES[text] ?? ({ '0x0800': 'ip', '0x86dd': 'ip6', '2': 'ip', '10': 'ip6' } as const)[text];
    return family === undefined ? undefined : isFamily(family);
  },
};

const HAS_PORTS = inField(
  'protocol',
  [TCP, UDP, 33, 132, 136].map((number) => ({ first: number, last: number })),
);
const ports = (field: 'sport' | 'dport'): Selector => ({
  ...port(field, ALWAYS),
  // Of other protocols th reads whatever stands there.
  constant: (text) => {
    const said = numbers(field, portNumber)(text);
    return said === undefined ? undefined : all([said, anyOf(HAS_PORTS, unknown('what stands where ports would be'))]);
  },
});
const anyOf = (a: Predicate, b: Predicate): Predicate => ({ kind: 'any', of: [a, b] });

function transport(name: string, number: number): [string, Selector][] {
  return [
    [`${name} sport`, port('sport', isProtocol(number))],
    [`${name} dport`, port('dport', isProtocol(number))],
  ];
}

const V4 = isFamily('ip');
const V6 = isFamily('ip6');

const SELECTORS: ReadonlyMap<string, Selector> = new Map<string, Selector>([
  ...transport('tcp', TCP),
  ...transport('udp', UDP),
  ...transport('sctp', 132),
  ...transport('dccp', 33),
  ...transport('udplite', 136),
  ['th sport', ports('sport')],
  ['th dport', ports('dport')],
  ['tcp flags', bitField('tcpFlags', TCP_FLAGS, isProtocol(TCP))],
  ['ip saddr', addresses('saddr', 'ip')],
  ['ip daddr', addresses('daddr', 'ip')],
  ['ip6 saddr', addresses('saddr', 'ip6')],
  ['ip6 daddr', addresses('daddr', 'ip6')],
  ['ip protocol', protocol(V4)],
  ['ip6 nexthdr', protocol(V6)],
  ['ip length', plain('length', V4)],
  ['icmp type', { needs: need(V4, isProtocol(ICMP)), field: 'icmpType', constant: icmpTypes('icmpType', ICMP_TYPES) }],
  ['icmp code', plain('icmpCode', need(V4, isProtocol(ICMP)))],
  [
    'icmpv6 type',
    { needs: need(V6, isProtocol(ICMPV6)), field: 'icmpType', constant: icmpTypes('icmpType', ICMPV6_TYPES) },
  ],
  ['icmpv6 code', plain('icmpCode', need(V6, isProtocol(ICMPV6)))],
  ['meta l4proto', protocol()],
  ['meta nfproto', families],
  ['meta protocol', families],
  ['meta mark', plain('mark')],
  ['meta length', plain('length')],
  ['meta iifname', names('iif')],
  ['meta oifname', names('oif')],
  ['meta iif', byIndex('iif')],
  ['meta oif', byIndex('oif')],
  ['ct state', bitField('ctState', CT_STATES)],
  ['ct status', bitField('ctStatus', CT_STATUS, TRACKED)],
  ['ct mark', plain('ctMark', TRACKED)],
  [
    'ct direction',
    {
      needs: TRACKED,
      constant: (text) =>
        text === 'original' || text === 'reply' ? equals('ctDirection', Number(text === 'reply')) : undefined,
    },
  ],
  ['ct original ip saddr', ofFlow(addresses('origSaddr', 'ip'))],
  ['ct original ip daddr', ofFlow(addresses('origDaddr', 'ip'))],
  ['ct original ip6 saddr', ofFlow(addresses('origSaddr', 'ip6'))],
  ['ct original ip6 daddr', ofFlow(addresses('origDaddr', 'ip6'))],
  ['ct original proto-src', plain('origSport', TRACKED)],
  ['ct original proto-dst', plain('origDport', TRACKED)],
]);

/** `iifname` is `meta iifname`. */
const SHORT = new Set(['iif', 'oif', 'iifname', 'oifname', 'mark', 'nfproto', 'l4proto']);

/** First word -> the rest of the name -> selector: one look a word. */
const BY_FIRST = new Map<string, Map<string, Selector>>();
for (const [name, selector] of SELECTORS) {
  const [first = '', ...rest] = name.split(' ');
  const found = BY_FIRST.get(first) ?? new Map<string, Selector>();
  BY_FIRST.set(first, found.set(rest.join(' '), selector));
}

/** Reads a selector at the reader's place; undefined, and the reader not moved, when it is none of these. */
export function readSelector(reader: TokenReader, context: SelectorContext): Selector | undefined {
  if (reader.quoted()) return undefined;
  const first = reader.peek();
  if (SHORT.has(first)) {
    reader.next();
    return BY_FIRST.get('meta')?.get(first);
  }
  const rest = BY_FIRST.get(first);
  const short = rest?.get(reader.peek(1));
  if (short !== undefined) return (reader.moveTo(reader.at() + 2), short);
  if (first !== 'fib' && reader.peek(1) !== 'original') return undefined;
  for (const length of [4, 3]) {
    const name = Array.from({ length: length - 1 }, (_, ahead) => reader.peek(ahead + 1)).join(' ');
    const found = rest?.get(name) ?? (first === 'fib' ? fibType(`fib ${name}`, context) : undefined);
    if (found !== undefined) return (reader.moveTo(reader.at() + length), found);
  }
  return undefined;
}

/** `fib daddr type`; other forms of fib ask the routes. */
function fibType(name: string, { localAddresses }: SelectorContext): Selector | undefined {
  const field = name === 'fib daddr type' ? 'daddr' : name === 'fib saddr type' ? 'saddr' : undefined;
  if (field === undefined) return undefined;
  const inFamily = (family: Family, type: string): Predicate =>
    all([isFamily(family), addressTypes(field, family, [type], localAddresses)]);
  return { needs: ALWAYS, constant: (type) => anyOf(inFamily('ip', type), inFamily('ip6', type)) };
}

/** `established,related`: at least one of the bits; undefined when a name is not known. */
export function bitsOf({ bits }: Selector, texts: readonly string[]): number | undefined {
  if (bits === undefined) return undefined;
  const values = texts.map((text) => bits.names[text] ?? numberOf(text));
  return values.every((value) => value !== undefined) ? values.reduce((sum, bit) => (sum | bit) >>> 0, 0) : undefined;
}
