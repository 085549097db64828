// The words of `explain` as a packet: `tcp from 203.0.113.9 to 192.168.122.10:22 in eth0 state new`, or the same as
// options. What cannot be read ends with 2: where it stands, what was expected, the nearest right word. Pure.

import type { CtState, PacketSpec } from '../explain/packet.ts';
import { hasPorts, ICMP_TYPES, ICMPV6_TYPES, portNumber, protocolNumber } from '../explain/protocols.ts';
import { addressValue } from '../explain/values.ts';
import { didYouMean } from '../nearest.ts';
import type { Family } from '../ruleset/types.ts';
import { EXIT, Stop } from './exit-codes.ts';

export const FIELDS = ['from', 'to', 'sport', 'dport', 'in', 'out', 'state', 'type', 'mark'] as const;
type Field = (typeof FIELDS)[number];

/** As commander gives them. */
export type PacketOptions = { readonly [F in Exclude<Field, 'state'> | 'proto' | 'ctstate']?: string };

/** A text and where it stood: `word 3`, `--from`. */
interface Said {
  readonly text: string;
  readonly place: string;
}

const PROTOCOLS = ['tcp', 'udp', 'icmp', 'icmpv6', 'sctp', 'esp', 'gre'];
const STATES: readonly CtState[] = ['new', 'established', 'related', 'invalid', 'untracked'];

/** Throws Stop 2. */
export function packetOfWords(words: readonly string[], options: PacketOptions): PacketSpec {
  const said = gather(words, options);
  const protocol = said.get('proto');
  const expected = 'a protocol, as in tcp, udp, icmp, 47';
  if (protocol === undefined) throw wrong({ text: '', place: 'the packet' }, expected);
  const number = protocolNumber(protocol.text);
  if (number === undefined) throw wrong(protocol, expected, PROTOCOLS);
  const to = endOf(said.get('to'));
  if (to === undefined) throw wrong({ text: '', place: 'the packet' }, 'to ADDRESS[:PORT]');
  const from = endOf(said.get('from'));
  if (from !== undefined && from.family !== to.family)
    throw wrong(said.get('from') as Said, `an address of the same family as "${to.address}"`);
  const [sport, dport] = [portOf(said, 'sport', from?.port), portOf(said, 'dport', to.port)];
  const withPort = [said.get('sport'), said.get('dport'), from?.port, to.port].find((each) => each !== undefined);
  if (withPort !== undefined && !hasPorts(number)) throw wrong(withPort, `no port with ${protocol.text}`);
  const { family } = to;
  return {
    family,
    ...only({ iif: nameOf(said.get('in')), oif: nameOf(said.get('out')) }),
    ...only({ src: from?.address, dst: to.address, sport, dport, mark: markOf(said.get('mark')) }),
    protocol: number === 1 && family === 'ip6' ? 'icmpv6' : protocol.text.toLowerCase(),
    ...only({ icmpType: typeOf(said.get('type'), family) }),
    ...stateOf(said.get('state'), number === 6),
  };
}

function wrong({ text, place }: Said, expected: string, near: readonly string[] = []): Stop {
  const found = text === '' ? 'found nothing' : `found "${text}"`;
  return new Stop(
    EXIT.usage,
    `${place}: expected ${expected}, ${found}${didYouMean(text, near)}; see mendwall explain --help`,
  );
}

/** What is undefined is left out. */
function only<T extends object>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: NonNullable<T[K]>;
  };
}

function gather(words: readonly string[], options: PacketOptions): Map<Field | 'proto', Said> {
  const said = new Map<Field | 'proto', Said>();
  const put = (field: Field | 'proto', value: Said): void => {
    if (said.has(field)) throw wrong(value, `${field} only once`);
    said.set(field, value);
  };
  const wordAt = (at: number): Said => ({ text: words[at] ?? '', place: `word ${at + 1}` });
  for (const field of [...FIELDS, 'proto'] as const) {
    // --state is the state folder, on every command.
    const option = field === 'state' ? 'ctstate' : field;
    const text = options[option];
    if (text !== undefined) put(field, { text, place: `--${option}` });
  }
  let at = 0;
  if (words.length > 0 && !isField(words[0] ?? '') && !said.has('proto')) put('proto', wordAt(at++));
  for (; at < words.length; at += 2) {
    const word = words[at] ?? '';
    if (!isField(word)) throw wrong(wordAt(at), `one of ${FIELDS.join(', ')}`, FIELDS);
    if (words[at + 1] === undefined) throw wrong(wordAt(at + 1), `a value for ${word}`);
    put(word, wordAt(at + 1));
  }
  return said;
}

const isField = (word: string): word is Field => FIELDS.some((field) => field === word);

interface End {
  readonly family: Family;
  readonly address: string;
  readonly port?: Said;
}

/** `192.168.122.10:22`, `[2001:db8::1]:22`, an address alone. Names are not looked up. */
function endOf(said: Said | undefined): End | undefined {
  if (said === undefined) return undefined;
  const [, inBrackets, v4, behind, portAfter] = /^(?:\[([^\]]*)\]|([^:]*))(:(.*))?$/.exec(said.text) ?? []; // [2001:db8::1]:22
  // 2001:db8::1 has colons of its own
  const isBare = inBrackets === undefined && portAfter?.includes(':') === true;
  const address = isBare ? said.text : (inBrackets ?? v4 ?? said.text);
  const port = isBare || behind === undefined ? undefined : portAfter;
  const family = addressValue('ip', address) !== undefined ? 'ip' : 'ip6';
  if (addressValue(family, address) === undefined)
    throw wrong(said, 'an address, as in 192.168.122.10:22 or [2001:db8::1]:22');
  return { family, address, ...(port !== undefined && { port: { text: port, place: said.place } }) };
}

function portOf(
  said: ReadonlyMap<string, Said>,
  field: 'sport' | 'dport',
  beside: Said | undefined,
): number | undefined {
  const alone = said.get(field);
  if (alone !== undefined && beside !== undefined) throw wrong(alone, 'one port');
  const text = alone ?? beside;
  if (text === undefined) return undefined;
  const port = portNumber(text.text);
  if (port === undefined)
    throw wrong(text, 'a port, as in 22 or ssh', ['ssh', 'domain', 'http', 'https', 'smtp', 'ntp']);
  return port;
}

/** As the kernel takes them (dev_valid_name). */
function nameOf(said: Said | undefined): string | undefined {
  if (said !== undefined && !/^[^\s/:]{1,15}$/.test(said.text)) throw wrong(said, 'the name of an interface');
  return said?.text;
}

function markOf(said: Said | undefined): number | undefined {
  if (said === undefined) return undefined;
  const mark = /^(?:\d+|0x[0-9a-f]+)$/i.test(said.text) ? Number(said.text) : NaN; // 0x1
  if (!(mark <= 0xffffffff)) throw wrong(said, 'a mark, as in 1 or 0x1');
  return mark;
}

function typeOf(said: Said | undefined, family: Family): string | undefined {
  const types = family === 'ip' ? ICMP_TYPES : ICMPV6_TYPES;
  if (said !== undefined && !/^\d{1,3}$/.test(said.text) && !types.has(said.text))
    throw wrong(said, 'an ICMP type, as in echo-request or 8', [...types.keys()]);
  return said?.text;
}

/** A packet is the first one of its flow unless it is said to be another; then its flags are those of the state. */
function stateOf(said: Said | undefined, tcp: boolean): Pick<PacketSpec, 'ctState' | 'tcpFlags'> {
  const text = said?.text.toLowerCase() ?? 'new';
  if (said !== undefined && text === 'any') return {};
  const state = STATES.find((each) => each === text);
  if (state === undefined) throw wrong(said as Said, `one of ${[...STATES, 'any'].join(', ')}`, [...STATES, 'any']);
  if (!tcp || (state !== 'new' && state !== 'established')) return { ctState: state };
  return { ctState: state, tcpFlags: [state === 'new' ? 'syn' : 'ack'] };
}
