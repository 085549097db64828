// What the options of one iptables match say of a packet. A match or option that is not known here depends. Pure.
// Sources: iptables-extensions(8) 1.8.9; the kernel's net/netfilter/xt_*.c for what a negation covers.

import { addressTypes } from './address-type.ts';
import {
  all,
  ALWAYS,
  any,
  anyBit,
  equals,
  inField,
  nameIs,
  not,
  TRACKED,
  unknown,
  type Predicate,
  type ValueField,
} from './expression.ts';
import type { CompileContext } from './facts.ts';
import type { Option, Segment } from './iptables-words.ts';
import type { AddressField } from './packet.ts';
import { CT_STATES, CT_STATUS, ICMP_TYPES, ICMPV6_TYPES, portNumber, protocolNumber, TCP_FLAGS } from './protocols.ts';
import { addressRange, addressValue, numberOf, rangeOf, type Range, type Value } from './values.ts';

/** The meaning of one option without its "!", or undefined when it is not known. */
type Meaning = (args: readonly string[], context: CompileContext) => Predicate | undefined;

/** The predicate of one segment. */
export function matchOf(segment: Segment, context: CompileContext): Predicate {
  const match = segment.match;
  const meanings = match === '' ? OWN : (MATCHES.get(match) ?? MATCHES.get(protocolMatch(match)));
  if (meanings === undefined) {
    // `-p icmp` opens a segment that may stay empty.
    return segment.options.length === 0 && protocolNumber(match) !== undefined ? ALWAYS : unknown(describe(segment));
  }
  const options = segment.options.map((option) => optionOf(meanings, option, segment, context));
  if (match === 'connmark') return all([TRACKED, ...options]);
  return match === 'conntrack' ? conntrackOf(segment, options) : all(options);
}

/** conntrack_mt: without an entry, the state alone is asked, and without a state nothing matches. */
function conntrackOf({ options }: Segment, tests: readonly Predicate[]): Predicate {
  const states = tests.filter((_, at) => options[at]?.name === '--ctstate');
  const others = tests.filter((_, at) => options[at]?.name !== '--ctstate');
  if (others.length === 0) return all(states);
  return states.length === 0 ? all([TRACKED, ...others]) : all([...states, any([not(TRACKED), all(others)])]);
}

const protocolMatch = (name: string): string => (name === 'ipv6-icmp' || name === 'icmpv6' ? 'icmp6' : name);

function optionOf(meanings: Meanings, option: Option, segment: Segment, context: CompileContext): Predicate {
  const meaning = meaningOf(meanings, option, context);
  if (meaning === undefined) return unknown(describe({ ...segment, options: [option] }));
  return option.negated ? not(meaning) : meaning;
}

/** One option without "!" and with one argument, `-s 10.0.0.0/8`; undefined when it is none or cannot be read. */
export function guardOption(
  match: string,
  name: string,
  argument: string,
  context: CompileContext,
): Predicate | undefined {
  const meanings = match === '' ? OWN : MATCHES.get(match);
  return argument === '!' || meanings === undefined
    ? undefined
    : meaningOf(meanings, { name, args: [argument], negated: false }, context);
}

/** The same option stands in thousands of rules: one predicate serves them all. Addresses differ, they are not kept. */
function meaningOf(meanings: Meanings, { name, args }: Option, context: CompileContext): Predicate | undefined {
  const [argument = ''] = args;
  if (args.length > 1 || name === '-s' || name === '-d') return meanings[name]?.(args, context);
  let kept = context.kept.get(meanings);
  if (kept === undefined) context.kept.set(meanings, (kept = new Map()));
  let byArgument = kept.get(name);
  if (byArgument === undefined) kept.set(name, (byArgument = new Map()));
  let meaning = byArgument.get(argument);
  if (meaning === undefined) {
    meaning = meanings[name]?.(args, context);
    if (meaning !== undefined) byArgument.set(argument, meaning);
  }
  return meaning;
}

/** `-m limit --limit 5/min` */
function describe({ match, options }: Segment): string {
  const said = options.map(({ name, args, negated }) => [...(negated ? ['!'] : []), name, ...args].join(' '));
  return [...(match === '' ? [] : [`-m ${match}`]), ...said].join(' ');
}

type Meanings = Readonly<Record<string, Meaning>>;

const fixed =
  (predicate: Predicate): Meaning =>
  () =>
    predicate;

/** A comma list of items, each a range; undefined when one cannot be read. */
function listIn(
  field: ValueField,
  text: string | undefined,
  item: (text: string) => Range | undefined,
): Predicate | undefined {
  const ranges = (text ?? '').split(',').map(item);
  return ranges.every((range) => range !== undefined) ? inField(field, ranges) : undefined;
}

/** `22`, `ssh`, `1024:65535`, `:1023`, `1024:` */
function portRange(text: string): Range | undefined {
  const colon = text.indexOf(':');
  if (colon < 0) return rangeOf(portNumber(text), portNumber(text));
  const [first, last] = [text.slice(0, colon), text.slice(colon + 1)];
  return rangeOf(first === '' ? 0 : portNumber(first), last === '' ? 65535 : portNumber(last));
}

const port =
  (field: ValueField): Meaning =>
  ([text]) =>
    text === undefined || text.includes(',') ? undefined : listIn(field, text, portRange);

const ports =
  (field: ValueField): Meaning =>
  ([text]) =>
    listIn(field, text, portRange);

/** `10.0.0.0/8`, `10.0.0.5/255.0.0.255`, `::1/128`; a host's name is not resolved. */
const address =
  (field: AddressField): Meaning =>
  ([text], { family }) => {
    const parts = (text ?? '').split(',').map((each) => oneAddress(field, family, each));
    return parts.every((part) => part !== undefined) ? any(parts) : undefined;
  };

function oneAddress(field: AddressField, family: CompileContext['family'], text: string): Predicate | undefined {
  const range = text.includes('-') ? undefined : addressRange(family, text);
  if (range !== undefined) return inField(field, [range]);
  const slash = text.indexOf('/');
  const value = addressValue(family, text.slice(0, slash));
  const mask = addressValue(family, text.slice(slash + 1));
  if (slash < 0 || value === undefined || mask === undefined) return undefined;
  return equals(field, masked(value, mask), mask);
}

const masked = (value: Value, mask: Value): Value =>
  typeof value === 'bigint' ? value & BigInt(mask) : (value & Number(mask)) >>> 0;

const OWN: Meanings = {
  '-p': ([text], { family }) => {
    const number = protocolNumber(text ?? '');
    if (text === 'all' || (number === 0 && family === 'ip') || text === '0') return ALWAYS;
    return number === undefined ? undefined : equals('protocol', number);
  },
  '-s': address('saddr'),
  '-d': address('daddr'),
  '-i': ([text]) => nameIs('iif', text ?? '', '+'),
  '-o': ([text]) => nameIs('oif', text ?? '', '+'),
  '-f': fixed(not(equals('fragment', 0))),
};

const PORTS: Meanings = {
  '--sport': port('sport'),
  '--source-port': port('sport'),
  '--dport': port('dport'),
  '--destination-port': port('dport'),
};

function flagBits(text: string): number | undefined {
  if (text === 'NONE') return 0;
  if (text === 'ALL') return 0x3f;
  const bits = text.split(',').map((name) => TCP_FLAGS[name.toLowerCase() === 'ece' ? 'ecn' : name.toLowerCase()]);
  return bits.every((bit) => bit !== undefined) ? bits.reduce((sum, bit) => sum | bit, 0) : undefined;
}

const SYN_ONLY = equals('tcpFlags', 0x02, 0x17);

/** `8`, `8/0`, `echo-request`, `any`, `255` (any, in ICMPv4 only) */
const icmpType =
  (names: typeof ICMP_TYPES, anyType: boolean): Meaning =>
  ([text = '']) => {
    if (anyType && (text === 'any' || text === '255')) return ALWAYS;
    const [type, code] = text.split('/').map((part) => numberOf(part));
    const named = names.get(text) ?? (type === undefined ? undefined : { type, code });
    if (named === undefined || (text.includes('/') && code === undefined)) return undefined;
    return all([equals('icmpType', named.type), ...(named.code === undefined ? [] : [equals('icmpCode', named.code)])]);
  };

/** `NEW,ESTABLISHED`, and for conntrack the two that are no states: `SNAT`, `DNAT`. */
const ctState: Meaning = ([text = '']) => {
  const parts = text.split(',').map((word) => {
    const name = word.toLowerCase();
    const state = CT_STATES[name];
    if (state !== undefined) return equals('ctState', state);
    return name === 'snat' || name === 'dnat' ? anyBit('ctStatus', CT_STATUS[name] ?? 0) : undefined;
  });
  return parts.every((part) => part !== undefined) ? any(parts) : undefined;
};

/** `0x1`, `0x1/0xff` */
const markOf =
  (field: 'mark' | 'ctMark'): Meaning =>
  ([text = '']) => {
    const [value, mask] = text.split('/').map((part) => numberOf(part));
    if (value === undefined || (text.includes('/') && mask === undefined)) return undefined;
    return equals(field, value, mask ?? 0xffffffff);
  };

const addressRangeIn =
  (field: AddressField): Meaning =>
  ([text = ''], { family }) =>
    listIn(field, text, (each) => addressRange(family, each));

/** Sets of addresses and prefixes only, matched by one direction. */
const inSet: Meaning = ([name = '', flags], { family, facts }) => {
  const elements = facts.ipsets?.get(name);
  const field = flags === 'src' ? 'saddr' : flags === 'dst' ? 'daddr' : undefined;
  if (elements === undefined || field === undefined) return unknown(`the content of set ${name}`);
  const ranges = elements.map((element) => addressRange(family, element));
  return ranges.every((range) => range !== undefined) ? inField(field, ranges) : unknown(`the content of set ${name}`);
};

const addressType =
  (field: AddressField): Meaning =>
  ([text = ''], { family, facts }) =>
    addressTypes(field, family, text.split(','), facts.localAddresses);

const physName =
  (field: 'physIn' | 'physOut'): Meaning =>
  ([text = '']) =>
    all([not(equalsName(field)), nameIs(field, text, '+')]);

const equalsName = (field: 'physIn' | 'physOut'): Predicate => ({ kind: 'name', field, name: '', prefix: false });

const lengthRange: Meaning = ([text = '']) => {
  const [first = '', last = first] = text.split(':');
  const range = rangeOf(first === '' ? 0 : numberOf(first), last === '' ? 65535 : numberOf(last));
  return range === undefined ? undefined : inField('length', [range]);
};

const direction: Meaning = ([text]) =>
  text === 'ORIGINAL' ? equals('ctDirection', 0) : text === 'REPLY' ? equals('ctDirection', 1) : undefined;

const MATCHES: ReadonlyMap<string, Meanings> = new Map<string, Meanings>([
  [
    'tcp',
    {
      ...PORTS,
      '--syn': fixed(SYN_ONLY),
      '--tcp-flags': ([mask = '', set = '']) => {
        const [maskBits, setBits] = [flagBits(mask), flagBits(set)];
        return maskBits === undefined || setBits === undefined ? undefined : equals('tcpFlags', setBits, maskBits);
      },
    },
  ],
  ['udp', PORTS],
  ['udplite', PORTS],
  ['sctp', PORTS],
  ['dccp', PORTS],
  ['icmp', { '--icmp-type': icmpType(ICMP_TYPES, true) }],
  ['icmp6', { '--icmpv6-type': icmpType(ICMPV6_TYPES, false) }],
  [
    'multiport',
    {
      '--sports': ports('sport'),
      '--source-ports': ports('sport'),
      '--dports': ports('dport'),
      '--destination-ports': ports('dport'),
      '--ports': (args, context) => either(ports('sport')(args, context), ports('dport')(args, context)),
    },
  ],
  [
    'conntrack',
    {
      '--ctstate': ctState,
      '--ctproto': OWN['-p'] as Meaning,
      '--ctorigsrc': address('origSaddr'),
      '--ctorigdst': address('origDaddr'),
      '--ctorigsrcport': port('origSport'),
      '--ctorigdstport': port('origDport'),
      '--ctdir': direction,
    },
  ],
  ['state', { '--state': ctState }],
  ['mark', { '--mark': markOf('mark') }],
  ['connmark', { '--mark': markOf('ctMark') }],
  ['iprange', { '--src-range': addressRangeIn('saddr'), '--dst-range': addressRangeIn('daddr') }],
  ['addrtype', { '--src-type': addressType('saddr'), '--dst-type': addressType('daddr') }],
  [
    'physdev',
    {
      '--physdev-in': physName('physIn'),
      '--physdev-out': physName('physOut'),
      '--physdev-is-in': fixed(not(equalsName('physIn'))),
      '--physdev-is-out': fixed(not(equalsName('physOut'))),
      '--physdev-is-bridged': fixed(equals('bridged', 1)),
    },
  ],
  ['length', { '--length': lengthRange }],
  ['set', { '--match-set': inSet, '--set': inSet }],
  ['comment', { '--comment': fixed(ALWAYS) }],
]);

function either(a: Predicate | undefined, b: Predicate | undefined): Predicate | undefined {
  return a === undefined || b === undefined ? undefined : any([a, b]);
}
