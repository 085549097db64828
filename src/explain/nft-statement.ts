// nft's statements: verdicts, translation, marks, and what only counts or reports. Pure. Source: nft(8), "STATEMENTS".

import { TRACKED, unknown } from './expression.ts';
import type { TokenReader } from './nft-lex.ts';
import type { Action, SetField, Step, Translate } from './program.ts';
import { addressValue, numberOf, type Value } from './values.ts';

type Reading = (reader: TokenReader) => readonly Step[] | undefined;

const note = (what: string): readonly Step[] => [{ kind: 'note', what }];

/** A verdict in words: `accept`, `jump admin`. */
export function verdictOf([word = '', chain = '']: readonly string[]): Action | undefined {
  switch (word) {
    case 'accept':
    case 'drop':
    case 'return':
    case 'continue':
      return { kind: word };
    case 'jump':
    case 'goto':
      return chain === '' ? undefined : { kind: word, chain };
    default:
      return undefined;
  }
}

const verdict: Reading = (reader) => {
  const word = reader.next();
  const action = verdictOf([word, word === 'jump' || word === 'goto' ? reader.next() : '']);
  return action === undefined ? undefined : [action];
};

/** Takes words while they belong to the statement. */
function takeWhile(reader: TokenReader, belongs: (word: string, reader: TokenReader) => boolean): string[] {
  const words: string[] = [];
  while (!reader.done() && (reader.quoted() || !STATEMENTS.has(reader.peek())) && belongs(reader.peek(), reader))
    words.push(reader.next());
  return words;
}

const counter: Reading = (reader) => {
  reader.next();
  if (reader.take('packets')) {
    reader.next();
    reader.next();
    reader.next();
  } else if (reader.take('name')) reader.next();
  return note('counter');
};

const LOG_WORDS = new Map([
  ['prefix', 1],
  ['level', 1],
  ['group', 1],
  ['snaplen', 1],
  ['queue-threshold', 1],
]);

const log: Reading = (reader) => {
  reader.next();
  for (;;) {
    const words = LOG_WORDS.get(reader.peek());
    if (words !== undefined) for (let i = 0; i <= words; i++) reader.next();
    else if (reader.take('flags')) logFlags(reader);
    else return note('log');
  }
};

/** `flags tcp sequence,options`, `flags ip options`, `flags all` */
function logFlags(reader: TokenReader): void {
  const first = reader.next();
  if (first !== 'tcp' && first !== 'ip') return;
  reader.next();
  while (reader.take(',')) reader.next();
}

const LIMIT_WORDS = new Set([
  'rate',
  'over',
  'burst',
  'until',
  'packets',
  'bytes',
  'kbytes',
  'mbytes',
  'name',
  'count',
]);

/** `limit rate over 10/second burst 5 packets`, `quota over 25 mbytes` */
const rate: Reading = (reader) => {
  const kind = reader.next();
  const words = takeWhile(reader, (word) => LIMIT_WORDS.has(word) || /^[\d/]/.test(word)); // 10/second, 5
  return [{ kind: 'match', test: unknown([kind, ...words].join(' ')) }];
};

const reject: Reading = (reader) => {
  reader.next();
  if (!reader.take('with')) return [{ kind: 'reject', how: 'port-unreachable' }];
  const words = [reader.next(), reader.next()];
  if (words[1] === 'type') words[1] = reader.next();
  return [{ kind: 'reject', how: words[0] === 'tcp' ? 'tcp-reset' : `${words[0]} ${words[1]}` }];
};

const FLAG_WORDS = new Set(['random', 'fully-random', 'persistent', ',', 'prefix']);

/** `dnat to 192.168.122.50:22`, `dnat ip to ...`, `masquerade to :1024-65535 random`, `redirect to :8080` */
const nat: Reading = (reader) => {
  const how = reader.next() as Translate['how'];
  if (['ip', 'ip6'].includes(reader.peek()) && reader.peek(1) === 'to') reader.next();
  let target: Pick<Translate, 'address' | 'port'> = { port: 'kept' };
  if (reader.take('to')) {
    const words = takeWhile(reader, (word) => !FLAG_WORDS.has(word));
    target = words.length === 1 ? natTarget(words[0] ?? '') : { address: undefined, port: undefined };
  }
  takeWhile(reader, (word) => FLAG_WORDS.has(word));
  return [{ kind: 'translate', how, ...target }];
};

/** `192.168.122.50`, `192.168.122.50:22`, `:8080`, `[fd00::1]:22`, `fd00::1` */
const TARGET = /^(?:\[(?<boxed>[^\]]+)\]|(?<plain>[0-9.]+(?:-[0-9.]+)?)?)(?::(?<port>[0-9-]+))?$/;

function natTarget(text: string): Pick<Translate, 'address' | 'port'> {
  const v6 = addressValue('ip6', text);
  if (v6 !== undefined) return { address: v6, port: 'kept' };
  const groups = TARGET.exec(text)?.groups;
  if (groups === undefined) return { address: undefined, port: undefined };
  const { boxed, plain } = groups;
  const named: Value | undefined = boxed === undefined ? addressValue('ip', plain ?? '') : addressValue('ip6', boxed);
  // `:2222` names a port only.
  const address = boxed === undefined && plain === undefined ? 'kept' : named;
  const port = groups['port'];
  return { address, port: port === undefined ? 'kept' : numberOf(port) };
}

const ALL_BITS = 0xffffffff;

/** `meta mark set 0x1`, `ct mark set meta mark`, `meta mark set ct mark`; other values are not known afterwards. */
function setMark(reader: TokenReader, field: 'mark' | 'ctMark'): readonly Step[] {
  const words = takeWhile(reader, () => true);
  const said = words.join(' ');
  const source: SetField['source'] =
    said === 'ct mark' ? 'ctMark' : said === 'meta mark' || said === 'mark' ? 'mark' : numberOf(said);
  const set: Step = { kind: 'set', field, clear: ALL_BITS, source, sourceMask: ALL_BITS };
  // Reading the mark of a packet without conntrack entry ends the rule; setting it then does nothing.
  return source === 'ctMark' ? [{ kind: 'match', test: TRACKED }, set] : [set];
}

/** `meta`, `ct`, `ip`, `tcp option`: a `set` behind one of them; matches have been tried before. */
const setting: Reading = (reader) => {
  if (reader.take('meta', 'mark', 'set') || reader.take('mark', 'set')) return setMark(reader, 'mark');
  if (reader.take('ct', 'mark', 'set')) return setMark(reader, 'ctMark');
  const first = reader.peek();
  if (first === 'ct' && reader.peek(1) === 'count') return (reader.next(), rate(reader));
  const words = [reader.next(), reader.next()];
  while (!reader.done() && reader.peek() !== 'set' && words.length < 5) words.push(reader.next());
  const what = words.join(' ');
  if (!reader.take('set') || !UNSEEN_SETS.has(what)) return undefined;
  takeWhile(reader, () => true);
  return note(`${what} set`);
};

/** What no match of ours looks at, so that setting it changes nothing here. */
const UNSEEN_SETS = new Set([
  'meta nftrace',
  'meta priority',
  'ct helper',
  'ct timeout',
  'ct label',
  'tcp option maxseg size',
  'ip dscp',
  'ip6 dscp',
  'ip ttl',
  'ip6 hoplimit',
]);

/** `add @blocked { ip saddr timeout 1h }`; a limit inside decides whether the rule goes on. */
const dynamicSet: Reading = (reader) => {
  const words = [reader.next(), reader.next()];
  if (!words[1]?.startsWith('@') || reader.peek() !== '{') return undefined;
  do words.push(reader.next());
  while (!reader.done() && words.at(-1) !== '}');
  const decides = words.some((word) => word === 'limit' || word === 'count' || word === 'quota');
  return decides ? [{ kind: 'match', test: unknown(words.join(' ')) }] : note(words.join(' '));
};

/** iptables-nft's targets as nft prints them. */
const xtTarget: Reading = (reader) => {
  if (!reader.take('xt', 'target')) return undefined;
  const name = reader.next();
  return ['CHECKSUM', 'TCPMSS', 'LOG', 'NFLOG'].includes(name)
    ? note(`xt target ${name}`)
    : [{ kind: 'unknown', why: `xt target ${name}` }];
};

const comment: Reading = (reader) => {
  reader.next();
  reader.next();
  return [];
};

const READINGS: ReadonlyMap<string, Reading> = new Map<string, Reading>([
  ...['accept', 'drop', 'return', 'continue', 'jump', 'goto'].map((word) => [word, verdict] as const),
  ...['dnat', 'snat', 'masquerade', 'redirect'].map((word) => [word, nat] as const),
  ...['meta', 'ct', 'ip', 'ip6', 'tcp', 'mark'].map((word) => [word, setting] as const),
  ...['add', 'update', 'delete'].map((word) => [word, dynamicSet] as const),
  ['counter', counter],
  ['log', log],
  ['limit', rate],
  ['quota', rate],
  ['reject', reject],
  ['notrack', (reader) => (reader.next(), [{ kind: 'notrack' }])],
  ['comment', comment],
  ['xt', xtTarget],
]);

/** Words at which a new statement begins, whatever stood before. */
export const STATEMENTS = new Set([
  ...'accept drop return continue jump goto reject counter log limit quota dnat snat masquerade redirect notrack'.split(
    ' ',
  ),
  ...'queue comment'.split(' '),
]);

/** Reads the statement at the reader's place; undefined when it is not understood. */
export function readStatement(reader: TokenReader): readonly Step[] | undefined {
  return reader.quoted() ? undefined : READINGS.get(reader.peek())?.(reader);
}
