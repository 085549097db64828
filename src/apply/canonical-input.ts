// The lines of a typed ruleset, and how they are sent to iptables: each rule with its line number as packet counter. Pure.
// iptables prints counters back, so that a saved rule names its line even where one line becomes several rules or
// goes to another place (`-I`). Text of rules is not touched.

import { words } from '../ruleset/iptables/lex.ts';

export type InputLine = { readonly number: number; readonly text: string } & (
  | { readonly kind: 'frame' }
  /** Text outside `*table` ... `COMMIT`. */
  | { readonly kind: 'outside' }
  | { readonly kind: 'chain'; readonly table: string; readonly chain: string }
  | { readonly kind: 'rule'; readonly table: string; readonly chain: string; readonly tokens: readonly string[] }
);

export type RuleLine = Extract<InputLine, { kind: 'rule' }>;

/** Splits a text into lines, each with the table it stands in. A last table without COMMIT is left open. */
export function readLines(text: string): {
  readonly lines: readonly InputLine[];
  readonly openTable: string | undefined;
} {
  let table: string | undefined;
  const lines = text.split('\n').map((raw, index): InputLine => {
    const line = { number: index + 1, text: raw.trim() };
    if (line.text === '' || line.text.startsWith('#')) return { ...line, kind: 'frame' };
    if (line.text.startsWith('*')) table = line.text.slice(1);
    else if (table === undefined) return { ...line, kind: 'outside' };
    else if (line.text === 'COMMIT') table = undefined;
    else return { ...inTable(line.text, table), ...line };
    return { ...line, kind: 'frame' };
  });
  return { lines, openTable: table };
}

type Content<T> = T extends unknown ? Omit<T, 'number' | 'text'> : never;

function inTable(text: string, table: string): Content<Extract<InputLine, { kind: 'chain' | 'rule' }>> {
  if (text.startsWith(':')) return { kind: 'chain', table, chain: words(text.slice(1))[0] ?? '' };
  const tokens = words(text.replace(COUNTERS, ''));
  const chain = tokens[1] ?? '';
  return NEW_CHAIN.has(tokens[0] ?? '') ? { kind: 'chain', table, chain } : { kind: 'rule', table, chain, tokens };
}

const COUNTERS = /^\[\d+:\d+\]\s*/; // [12:3456] -A INPUT -j ACCEPT
const NEW_CHAIN = new Set(['-N', '--new-chain', '-P', '--policy']);
const TAKES_COUNTERS = new Set(['-A', '--append', '-I', '--insert', '-R', '--replace']);

/** What is sent for one line. Chain lines get empty counters, which `--counters` demands. */
export function taggedLine(line: InputLine): string {
  if (line.kind === 'rule') {
    const bare = line.text.replace(COUNTERS, '');
    return TAKES_COUNTERS.has(line.tokens[0] ?? '') ? `[${line.number}:0] ${bare}` : bare;
  }
  if (line.kind !== 'chain' || !line.text.startsWith(':')) return line.text;
  return `${line.text.replace(/\s*\[.*$/, '')} [0:0]`; // :INPUT ACCEPT [5:7]
}

/** The line number in a saved rule's counters, and the rule without them. */
export function untagged(text: string): { readonly tag: number | undefined; readonly rule: string } {
  const found = /^\[(\d+):0\] (.*)$/.exec(text); // [17:0] -A INPUT -j DROP
  return found === null ? { tag: undefined, rule: text } : { tag: Number(found[1]), rule: found[2] ?? '' };
}

/**
 * Whether rules came back without their tags: ip6tables-nft-restore 1.8.9 sets all counters to 0 (fixed later).
 * Lines are numbered from 1, and the first is a table's head: no tag is 0.
 */
export const tagsAreLost = (saved: string): boolean => /^\[0:0\] /m.test(saved); // [0:0] -A INPUT -j DROP

/** A rule in a chain of its own, named after its line: the second way to find it again. */
export function inOwnChain(rule: RuleLine): string[] {
  const chain = `${OWN_CHAIN}${rule.number}`;
  const found = /^\S+\s+\S+(?:\s+\d+(?=\s|$))?(.*)$/.exec(rule.text.replace(COUNTERS, '')); // -I INPUT 3 -j DROP
  return TAKES_COUNTERS.has(rule.tokens[0] ?? '') ? [`-N ${chain}`, `-A ${chain}${found?.[1] ?? ''}`] : [];
}

const OWN_CHAIN = 'mw-line-';

/** `-A mw-line-17 -j DROP`, saved -> its line, and what follows the chain; undefined for other rules. */
export function fromOwnChain(saved: string): { readonly number: number; readonly rest: string } | undefined {
  const found = /^-A mw-line-(\d+)(.*)$/.exec(saved); // -A mw-line-17 -i lo -j ACCEPT
  return found === null ? undefined : { number: Number(found[1]), rest: found[2] ?? '' };
}

/** Words after -j, or chains, that are never a chain somebody makes. The list only saves work: iptables knows the rest. */
export const VERDICTS: ReadonlySet<string> = new Set(
  (
    'ACCEPT DROP RETURN INPUT FORWARD OUTPUT PREROUTING POSTROUTING REJECT LOG NFLOG MASQUERADE SNAT DNAT REDIRECT MARK ' +
    'CONNMARK CT CHECKSUM TCPMSS SET NOTRACK'
  ).split(' '),
);

/** Chains the text declares, as `table chain`. */
export const declaredChains = (lines: readonly InputLine[]): Set<string> =>
  new Set(lines.flatMap((line) => (line.kind === 'chain' ? [`${line.table} ${line.chain}`] : [])));

/** Words a rule names after one of these options. */
export function named(rule: Pick<RuleLine, 'tokens'>, options: readonly string[]): string[] {
  return rule.tokens.filter((_, at) => options.includes(rule.tokens[at - 1] ?? ''));
}

/** Chains a rule needs: its own, and where it jumps. The latter may be a target extension. */
export const chainsOf = (rule: Pick<RuleLine, 'chain' | 'tokens'>): string[] => [
  rule.chain,
  ...named(rule, ['-j', '--jump', '-g', '--goto']),
];

export const setsOf = (rule: RuleLine): string[] => named(rule, ['--match-set', '--add-set', '--del-set', '--map-set']);

/** An address of either family, as against a host name. */
export const isAddress = (text: string): boolean => /^([\d.]+|[\da-f:.]*:[\da-f:.]*)$/i.test(text); // 10.0.0.1, fd00::1

/** Host names among the addresses: iptables writes down what they resolve to at that moment. */
export function hostNames(rule: RuleLine): string[] {
  const values = named(rule, ['-s', '--source', '--src', '-d', '--destination', '--dst']);
  const hosts = values.flatMap((value) => value.split(',')).map((part) => part.split('/')[0] ?? '');
  return hosts.filter((host) => host !== '!' && !isAddress(host));
}
