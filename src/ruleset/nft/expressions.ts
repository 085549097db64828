// What a rule looks at: `ip saddr . tcp dport`, `meta mark & 0xff`, `ct original saddr`. Pure.

import { atEnd, type Cursor, peekWord, skipWord, takeOneOf, takeWord, textBetween } from './cursor.ts';
import { unquote } from './lex.ts';
import type { NftExpression } from './statement-types.ts';

/** Takes one expression; undefined (and the cursor anywhere) when none begins here. */
export function takeExpression(cursor: Cursor): NftExpression | undefined {
  const first = takePrimary(cursor);
  if (first === undefined) return undefined;
  const parts = [first];
  while (skipWord(cursor, '.')) {
    const next = takePrimary(cursor);
    if (next === undefined) return undefined;
    parts.push(next);
  }
  let expression: NftExpression = parts.length === 1 ? first : { kind: 'concat', parts };
  for (let operator = takeOneOf(cursor, BITS); operator !== undefined; operator = takeOneOf(cursor, BITS)) {
    expression = { kind: 'binary', operator, left: expression, right: takeOperand(cursor) };
  }
  return expression;
}

const BITS = ['&', '|', '^', '<<', '>>'] as const;

/** `0xff`, or `(fin | syn | rst | ack)` without its parentheses. */
export function takeOperand(cursor: Cursor): string {
  if (!skipWord(cursor, '(')) return takeWord(cursor);
  const from = cursor.at;
  while (!atEnd(cursor) && peekWord(cursor) !== ')') cursor.at++;
  const inside = textBetween(cursor, from, cursor.at);
  skipWord(cursor, ')');
  return inside;
}

/** Headers whose fields are one word: nft(8), "Payload expressions". */
const HEADERS = new Set(
  'ether vlan ip ip6 icmp icmpv6 igmp tcp udp udplite sctp dccp ah esp comp th gre geneve gretap vxlan'.split(' '),
);

/** Printed without `meta` before them (meta.c, meta_key_is_unqualified). */
const BARE_META = new Set(
  'iif iifname iiftype iifgroup oif oifname oiftype oifgroup ibrname obrname skuid skgid rtclassid'.split(' '),
);

function takePrimary(cursor: Cursor): NftExpression | undefined {
  const from = cursor.at;
  const word = takeWord(cursor);
  if (word === 'meta') return isName(peekWord(cursor)) ? { kind: 'meta', key: takeWord(cursor) } : undefined;
  if (BARE_META.has(word)) return { kind: 'meta', key: word };
  if (word === 'ct') return takeCt(cursor);
  if (word === 'fib') return takeFib(cursor);
  if (word === 'arp') return takeArp(cursor);
  if (word.startsWith('@')) return takeRaw(word);
  const other = OTHERS[word];
  if (other !== undefined || peekWord(cursor) === 'option') {
    (other ?? takeOption)(cursor);
    return cursor.at > cursor.words.length ? undefined : { kind: 'other', text: textBetween(cursor, from, cursor.at) };
  }
  if (HEADERS.has(word) && isName(peekWord(cursor)))
    return { kind: 'payload', protocol: word, field: takeWord(cursor) };
  return undefined;
}

/** A field or key is a plain word, never a value or an operator. */
const isName = (word: string): boolean => /^[a-z][a-z0-9_-]*$/.test(word); // frag-off

/** `ct state`, `ct original saddr`, `ct original ip saddr` */
function takeCt(cursor: Cursor): NftExpression | undefined {
  const direction = takeOneOf(cursor, ['original', 'reply'] as const);
  const family = takeOneOf(cursor, ['ip', 'ip6'] as const);
  return isName(peekWord(cursor)) ? { kind: 'ct', key: takeWord(cursor), direction, family } : undefined;
}

/** `fib saddr . mark . iif oif`, `fib daddr type` */
function takeFib(cursor: Cursor): NftExpression | undefined {
  const inputs = [takeWord(cursor)];
  while (skipWord(cursor, '.')) inputs.push(takeWord(cursor));
  const result = takeOneOf(cursor, ['oif', 'oifname', 'type'] as const);
  return result === undefined ? undefined : { kind: 'fib', inputs, result };
}

/** `arp operation`, `arp saddr ip` */
function takeArp(cursor: Cursor): NftExpression {
  const field = takeWord(cursor);
  const of = field === 'saddr' || field === 'daddr' ? ` ${takeWord(cursor)}` : '';
  return { kind: 'payload', protocol: 'arp', field: field + of };
}

/** `@th,0,16`. `@name` is a set, which is a value and no expression. */
function takeRaw(word: string): NftExpression | undefined {
  const found = /^(@\w+),(\d+,\d+)$/.exec(word); // @nh,96,32
  return found === null ? undefined : { kind: 'payload', protocol: found[1] ?? '', field: found[2] ?? '' };
}

/** Takes the words behind the first; what they mean is not modelled. */
type TakeRest = (cursor: Cursor) => void;

const takeName: TakeRest = (cursor) => {
  takeWord(cursor);
};

const OTHERS: Readonly<Record<string, TakeRest | undefined>> = {
  /** `rt type`, `rt classid`, `rt ip nexthop` */
  rt: (cursor) => {
    takeOneOf(cursor, ['ip', 'ip6']);
    takeWord(cursor);
  },
  /** `socket transparent`, `socket cgroupv2 level 1` */
  socket: (cursor) => {
    if (takeWord(cursor) === 'cgroupv2' && skipWord(cursor, 'level')) takeWord(cursor);
  },
  /** `ipsec in reqid`, `ipsec out spnum 1 ip saddr` */
  ipsec: (cursor) => {
    takeWord(cursor);
    if (skipWord(cursor, 'spnum')) takeWord(cursor);
    takeOneOf(cursor, ['ip', 'ip6']);
    takeWord(cursor);
  },
  /** `osf name`, `osf ttl skip version` */
  osf: (cursor) => {
    if (skipWord(cursor, 'ttl')) takeWord(cursor);
    takeWord(cursor);
  },
  /** `numgen inc mod 4 offset 5` */
  numgen: (cursor) => {
    takeWord(cursor);
    takeModulus(cursor);
  },
  symhash: takeModulus,
  /** `jhash ip saddr . tcp dport mod 2 seed 0x1` */
  jhash: (cursor) => {
    while (!atEnd(cursor) && peekWord(cursor) !== 'mod') cursor.at++;
    takeModulus(cursor);
  },
  /** `exthdr frag`, then `exists` */
  exthdr: takeName,
  /** `frag more-fragments`, `hbh nexthdr`, `dst hdrlength`, `mh type`, `srh tag` */
  frag: takeName,
  hbh: takeName,
  dst: takeName,
  mh: takeName,
  srh: takeName,
};

function takeModulus(cursor: Cursor): void {
  if (skipWord(cursor, 'mod')) takeWord(cursor);
  for (let word = takeOneOf(cursor, SEEDS); word !== undefined; word = takeOneOf(cursor, SEEDS)) takeWord(cursor);
}

const SEEDS = ['seed', 'offset'] as const;

/** `option maxseg size`, `option timestamp` (then `exists`), `option @255,0,8` */
function takeOption(cursor: Cursor): void {
  cursor.at += 2;
  if (isName(peekWord(cursor)) && !['exists', 'missing', 'set'].includes(unquote(peekWord(cursor)))) cursor.at++;
}
