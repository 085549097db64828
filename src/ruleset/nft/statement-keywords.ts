// Statements that are known by their first word. Each reader is called behind that word. Pure.

import { atEnd, type Cursor, peekWord, skipWord, takeBraces, takeOneOf, takeWord, textBetween } from './cursor.ts';
import { unquote } from './lex.ts';
import type { NftStatementBody, NftValue, NftVerdict } from './statement-types.ts';
import { readWord, takeSource } from './values.ts';

type Reader = (cursor: Cursor, word: string) => NftStatementBody | undefined;

const takeVerdict: Reader = (_, word) => ({
  kind: 'verdict',
  verdict: word as NftVerdict,
  chain: undefined,
  rules: undefined,
});

/** `jump web`, or `jump {` with the rules of a chain without a name, one a line. */
const takeJump: Reader = (cursor, word) => {
  const inside = takeBraces(cursor);
  const rules = inside?.split('\n').map((line) => line.trim());
  const chain = inside === undefined ? unquote(takeWord(cursor)) : undefined;
  return { kind: 'verdict', verdict: word as NftVerdict, chain, rules: rules?.filter((line) => line !== '') };
};

/** `reject`, `reject with icmpx admin-prohibited`, `reject with tcp reset`, `reject with icmpv6 type no-route` */
const takeReject: Reader = (cursor) => {
  if (!skipWord(cursor, 'with')) return { kind: 'reject', with: undefined };
  const from = cursor.at;
  cursor.at++;
  skipWord(cursor, 'type');
  cursor.at++;
  return { kind: 'reject', with: textBetween(cursor, from, cursor.at) };
};

/** `queue flags bypass,fanout to 1-3`, `queue num 0 bypass`: the last statement but for a comment. */
const takeQueue: Reader = (cursor) => {
  while (!atEnd(cursor) && peekWord(cursor) !== 'comment') cursor.at++;
  return { kind: 'queue' };
};

const NAT_FLAGS = /^(?:(?:random|fully-random|persistent),?)+$/; // random,persistent

/** `dnat ip to 1.2.3.4:8080 random,persistent`, `masquerade to :1024-65535`, `tproxy to :50080` */
const takeNat: Reader = (cursor, word) => {
  const family = takeOneOf(cursor, ['ip', 'ip6'] as const);
  takeOneOf(cursor, ['prefix', 'interval']);
  const target = skipWord(cursor, 'to') ? takeNatTarget(cursor) : { address: undefined, port: undefined };
  if (target === undefined) return undefined;
  const flags = NAT_FLAGS.test(peekWord(cursor)) ? takeWord(cursor).split(',') : [];
  return { kind: 'nat', nat: word as 'dnat', family, ...target, flags };
};

interface NatTarget {
  readonly address: NftValue | undefined;
  readonly port: NftValue | undefined;
}

/** `[fe80::1]:8080`, `1.2.3.4-1.2.3.9:1-100`, `:80` */
const NAT_TARGET = /^(?:\[([^\]]+)\]|([\d.]+(?:-[\d.]+)?))?:([\d-]+)$/;

function takeNatTarget(cursor: Cursor): NatTarget | undefined {
  const found = NAT_TARGET.exec(peekWord(cursor));
  if (found === null) {
    const address = takeSource(cursor);
    return address === undefined ? undefined : { address, port: undefined };
  }
  cursor.at++;
  const address = found[1] ?? found[2];
  return { address: address === undefined ? undefined : readWord(address), port: readWord(found[3] ?? '') };
}

/** `counter`, `counter packets 3 bytes 4`, `counter name "c1"` */
const takeCounter: Reader = (cursor, word) => {
  if (peekWord(cursor) === 'name') return takeReference(cursor, word);
  if (!skipWord(cursor, 'packets')) return { kind: 'counter', packets: undefined, bytes: undefined };
  const packets = Number(takeWord(cursor));
  return skipWord(cursor, 'bytes') ? { kind: 'counter', packets, bytes: Number(takeWord(cursor)) } : undefined;
};

/** `name "c1"`. A map of names (`counter name ip saddr map @m`) is left unknown. */
const takeReference: Reader = (cursor, word) => {
  if (!skipWord(cursor, 'name') || !peekWord(cursor).startsWith('"')) return undefined;
  return { kind: 'reference', object: word, name: unquote(takeWord(cursor)) };
};

/** `limit rate 5/second burst 10 packets`, `limit rate over 1 mbytes/second burst 2 mbytes` */
const takeLimit: Reader = (cursor, word) => {
  if (peekWord(cursor) === 'name') return takeReference(cursor, word);
  if (!skipWord(cursor, 'rate')) return undefined;
  const over = skipWord(cursor, 'over');
  const from = cursor.at;
  if (!takeWord(cursor).includes('/')) cursor.at++;
  const rate = textBetween(cursor, from, cursor.at);
  if (!skipWord(cursor, 'burst')) return { kind: 'limit', over, rate, burst: undefined };
  cursor.at += 2;
  return { kind: 'limit', over, rate, burst: textBetween(cursor, cursor.at - 2, cursor.at) };
};

/** `quota over 5 mbytes used 1 mbytes` */
const takeQuota: Reader = (cursor, word) => {
  if (peekWord(cursor) === 'name') return takeReference(cursor, word);
  const over = takeOneOf(cursor, ['over', 'until'] as const) === 'over';
  cursor.at += 2;
  if (skipWord(cursor, 'used')) cursor.at += 2;
  return { kind: 'quota', over };
};

/** `log prefix "a" level info`, `log group 2 snaplen 100`, `log flags tcp sequence,options` */
const takeLog: Reader = (cursor) => {
  const options: Record<string, string> = {};
  for (let name = takeOneOf(cursor, LOG_OPTIONS); name !== undefined; name = takeOneOf(cursor, LOG_OPTIONS)) {
    const from = cursor.at;
    const value = takeWord(cursor);
    if (name === 'flags' && (value === 'tcp' || value === 'ip')) cursor.at++;
    options[name] = unquote(textBetween(cursor, from, cursor.at));
  }
  return { kind: 'log', options };
};

const LOG_OPTIONS = ['prefix', 'level', 'group', 'snaplen', 'queue-threshold', 'flags'] as const;

/** `update @seen { ip saddr timeout 10s }` */
const takeUpdate: Reader = (cursor, word) => {
  const set = takeWord(cursor);
  const element = takeBraces(cursor)?.trim();
  if (!set.startsWith('@') || element === undefined) return undefined;
  return { kind: 'update-set', operation: word as 'add', set: set.slice(1), element };
};

/** `xt match physdev`, `xt target CHECKSUM` */
const takeXt: Reader = (cursor) => ({ kind: 'xt', what: takeWord(cursor), name: unquote(takeWord(cursor)) });

/** `XT target MASQUERADE not found`: nft 1.0.6 without that extension's library. It does not load. */
const takeMissingXt: Reader = (cursor) => {
  const what = takeOneOf(cursor, ['match', 'target']);
  if (what === undefined) return undefined;
  const name = takeWord(cursor);
  if (skipWord(cursor, 'not')) cursor.at++;
  return { kind: 'xt', what, name };
};

/** `# Warning: XT target MASQUERADE not found`: the same of nft 1.1.3; `xt target "MASQUERADE"` follows in the next line. */
const takeWarning: Reader = (cursor, word) =>
  skipWord(cursor, 'Warning:') && skipWord(cursor, 'XT') ? takeMissingXt(cursor, word) : undefined;

/** A statement of so many words behind the first that says nothing about verdicts. */
const takeOther =
  (wordCount: number): Reader =>
  (cursor, name) => {
    cursor.at += wordCount;
    return { kind: 'other', name };
  };

/** `fwd to "lo"`, `fwd ip to 1.1.1.1 device "lo"`, `dup to 1.1.1.1 device "lo"` */
const takeForward: Reader = (cursor, name) => {
  takeOneOf(cursor, ['ip', 'ip6']);
  if (!skipWord(cursor, 'to') || takeSource(cursor) === undefined) return undefined;
  if (skipWord(cursor, 'device')) takeWord(cursor);
  return { kind: 'other', name };
};

export const KEYWORDS: Readonly<Record<string, Reader>> = {
  accept: takeVerdict,
  drop: takeVerdict,
  return: takeVerdict,
  continue: takeVerdict,
  jump: takeJump,
  goto: takeJump,
  reject: takeReject,
  queue: takeQueue,
  dnat: takeNat,
  snat: takeNat,
  masquerade: takeNat,
  redirect: takeNat,
  tproxy: takeNat,
  counter: takeCounter,
  limit: takeLimit,
  quota: takeQuota,
  synproxy: takeReference,
  log: takeLog,
  add: takeUpdate,
  update: takeUpdate,
  delete: takeUpdate,
  xt: takeXt,
  XT: takeMissingXt,
  '#': takeWarning,
  notrack: takeOther(0),
  /** `flow add @f` */
  flow: takeOther(2),
  /** `last used never` */
  last: (cursor, name) => takeOther(skipWord(cursor, 'used') ? 1 : 0)(cursor, name),
  dup: takeForward,
  fwd: takeForward,
};
