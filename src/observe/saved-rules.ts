// Native nft rules in ebtables' and arptables' own tables that their save programs print as another rule.
// Measured with 1.8.9 and 1.8.11, exit code 0 and no word: of `ip saddr 1.2.3.0-1.2.3.9 drop` ebtables-save prints `-p 0x102 -j DROP`
// (what is left of another rule), of `arp operation request drop` `-p ARP -s 00:01:00:00:00:00/ff:ff:00:00:00:00 -j DROP`, of
// `ether saddr set ...` `-j CONTINUE`; of `arp saddr ip { 1.2.3.4, 1.2.3.5 } drop` and `meta mark 5 drop` arptables-save prints
// `-j DROP`. Written back, such a rule stops everybody. (`tcp dport`, `vlan`, `ct`, `log` are heard: the program fails, or says it.)
// Goal: such a text never enters a snapshot. What tells them apart: ebtables itself matches only Ethernet's header and interfaces, and
// all else by `xt`; its --among is a set of addresses. arptables begins each rule with the kind and length of hardware addresses.
// Does not: judge a native rule that is printed right (`ether saddr 52:54:00:00:00:77 drop`): it is as good as ebtables' own.

import type { Host } from '../host/host.ts';
import { countTexts } from '../ruleset/multiset.ts';
import type { SavedFamily } from '../ruleset/nft/saved.ts';
import { chainsOf, type NftTable } from '../ruleset/nft/types.ts';
import { field, findMisprints, type Misprint, type PrintedChains } from './native-look.ts';

/** The first rule of each chain of these tables that is not what the family's save program printed. */
export function savedMisprints(
  host: Pick<Host, 'exec'>,
  family: SavedFamily,
  tables: readonly NftTable[],
): Promise<Misprint[]> {
  return findMisprints(host, family, rulesByChain(tables), { isMisprinted: isMisprinted[family] });
}

const rulesByChain = (tables: readonly NftTable[]): PrintedChains =>
  new Map(
    tables.flatMap((table) =>
      chainsOf(table)
        .filter(({ rules }) => rules.length > 0)
        .map(({ name, rules }) => [`${table.name} ${name}`, countTexts(rules.map(({ text }) => text))] as const),
    ),
  );

const isMisprinted = {
  bridge: (rule: readonly unknown[]): boolean => rule.some(isNoneOfEbtables),
  arp: (rule: readonly unknown[]): boolean =>
    rule.some(isNoneOfArptables) || !HARDWARE.every((name) => rule.some((each) => arpField(each) === name)),
};

/** `arp htype 1 arp hlen 6`, in each rule that arptables makes. */
const HARDWARE = ['htype', 'hlen'];
const arpField = (expression: unknown): unknown => field(field(leftOf(expression), 'payload'), 'field');

const leftOf = (expression: unknown): unknown => field(field(expression, 'match'), 'left');

/** `{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":{"range":["1.2.3.0","1.2.3.9"]}}}` */
function isNoneOfEbtables(expression: unknown): boolean {
  if (isNeverOurs(expression)) return true;
  const left = leftOf(expression);
  if (isConcatOf(left, ['ether', 'ip'])) return false; // --among-src 52:54:00:00:00:01=10.0.0.1
  return !isOf(left, 'ether') || isRange(expression);
}

function isNoneOfArptables(expression: unknown): boolean {
  if (isNeverOurs(expression) || field(field(field(expression, 'match'), 'right'), 'set') !== undefined) return true;
  const key = field(field(leftOf(expression), 'meta'), 'key');
  if (typeof key === 'string' && !INTERFACES.includes(key)) return true;
  return !isOf(leftOf(expression), 'arp') || isRange(expression);
}

const INTERFACES = ['iifname', 'oifname'];

/** What neither program makes: verdict maps, changed headers, named sets. */
function isNeverOurs(expression: unknown): boolean {
  const right = field(field(expression, 'match'), 'right');
  const isNamedSet = typeof right === 'string' && right.startsWith('@');
  return isNamedSet || ['vmap', 'map', 'mangle'].some((name) => field(expression, name) !== undefined);
}

/** No header at all, or one of this protocol's; `{"&":[{"payload":...},"ff:ff:ff:00:00:00"]}` is masked. */
function isOf(left: unknown, protocol: string): boolean {
  const masked = field(left, '&');
  const payload = field(Array.isArray(masked) ? masked[0] : left, 'payload');
  return payload === undefined ? field(left, 'concat') === undefined : field(payload, 'protocol') === protocol;
}

function isConcatOf(left: unknown, protocols: readonly string[]): boolean {
  const parts = field(left, 'concat');
  if (!Array.isArray(parts)) return false;
  return parts.every((part, at) => field(field(part, 'payload'), 'protocol') === protocols[at]);
}

/** A range, or `<` or `>`, but for `ether type < 1536`, as ebtables has it for 802.3. */
function isRange(expression: unknown): boolean {
  const match = field(expression, 'match');
  if (field(field(match, 'right'), 'range') !== undefined) return true;
  const op = field(match, 'op');
  const isLength = field(match, 'right') === 1536;
  return typeof op === 'string' && /^[<>]=?$/.test(op) && !isLength;
}
