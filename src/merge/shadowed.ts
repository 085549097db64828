// User rules that an earlier neighbour's verdict hides: present, but dead. Pure.
// A cautious test by interfaces and addresses: every match of the hiding rule must be implied by the user's rule. What it
// cannot tell, it does not report (the symbolic evaluator will). Linear in the rules: most name no guest at all.

import type { ClassifiedChain, ClassifiedTable } from '../classify/classify.ts';
import { words } from '../ruleset/iptables/lex.ts';
import type { Network } from '../ruleset/network.ts';
import { parseAddress } from '../ruleset/subnet.ts';
import type { Family } from '../ruleset/types.ts';
import { isBuiltin } from '../ruleset/types.ts';
import { MENDWALL } from '../ruleset/user-part.ts';
import type { Drift } from './drift.ts';

interface Prefix {
  readonly bytes: readonly number[];
  readonly length: number;
}

/** The matches by interface and address that a rule has; one that is negated does not count. */
interface Selection {
  readonly in: string | undefined;
  readonly out: string | undefined;
  readonly source: Prefix | undefined;
  readonly destination: Prefix | undefined;
}

/** A neighbour's verdict that hangs on interfaces and addresses only. */
interface Verdict {
  readonly owner: string;
  readonly place: string;
  readonly text: string;
  readonly selection: Selection;
}

const FINAL = new Set(['ACCEPT', 'DROP', 'REJECT', 'RETURN']);

/** The hidden user rules of one table, each with the rule that hides it. */
export function shadowedIn(family: Family, table: ClassifiedTable, networks: readonly Network[]): Drift[] {
  const bridges = bridgesOf(family, networks);
  return [...table.chains.values()]
    .filter((entry) => isBuiltin(entry.chain) || entry.claim.owner !== 'user')
    .flatMap((entry) => shadowedInChain(family, table, entry, bridges));
}

type Bridges = readonly { readonly name: string; readonly subnet: Prefix }[];

function bridgesOf(family: Family, networks: readonly Network[]): Bridges {
  return networks.flatMap(({ bridge, addresses }) =>
    addresses.flatMap(({ cidr }) => {
      const subnet = prefixOf(family, cidr);
      return bridge === undefined || subnet === undefined ? [] : [{ name: bridge, subnet }];
    }),
  );
}

function shadowedInChain(family: Family, table: ClassifiedTable, entry: ClassifiedChain, bridges: Bridges): Drift[] {
  const verdicts: Verdict[] = [];
  const drifts: Drift[] = [];
  let end: Verdict | undefined;
  entry.chain.rules.forEach((rule, index) => {
    const owner = entry.claims[index]?.owner ?? 'user';
    if (owner === MENDWALL) return;
    if (owner !== 'user') {
      end ??= endOfChain(rule.text, owner, `${entry.chain.name} ${index + 1}`);
      verdicts.push(...verdictsOf(family, table, rule.text, owner, `${entry.chain.name} ${index + 1}`));
      return;
    }
    if (verdicts.length === 0 && end === undefined) return;
    const selection = withBridges(selectionOf(family, rule.text), bridges);
    const hiding =
      end ?? (selection === undefined ? undefined : verdicts.find((verdict) => implies(selection, verdict.selection)));
    if (hiding !== undefined) {
      drifts.push({
        kind: 'shadowed',
        family,
        table: table.name,
        chain: entry.chain.name,
        text: rule.text,
        owner: hiding.owner,
        evidence: `hidden by ${hiding.place}: ${hiding.text}`,
      });
    }
  });
  return drifts;
}

/** `-A f2b-sshd -j RETURN`: nothing below it is ever reached. */
function endOfChain(text: string, owner: string, place: string): Verdict | undefined {
  if (!FINAL.has(targetWord(text)) || optionsOf(text).length > 0 || selectsByName(text)) return undefined;
  return {
    owner,
    place,
    text,
    selection: { in: undefined, out: undefined, source: undefined, destination: undefined },
  };
}

/** `-m socket` selects without an option. */
function selectsByName(text: string): boolean {
  const list = words(text);
  return list.some((word, at) => word === '-m' && list[at + 1] !== 'comment');
}

/** The verdicts a neighbour's rule may give: its own, or those of the chain it plainly jumps to. */
function verdictsOf(family: Family, table: ClassifiedTable, text: string, owner: string, place: string): Verdict[] {
  const target = targetWord(text);
  if (FINAL.has(target)) return simpleVerdict(family, text, owner, place);
  const chain = table.chains.get(target)?.chain;
  if (chain === undefined || optionsOf(text).length > 0) return [];
  return chain.rules.flatMap((rule, index) => {
    const final = targetWord(rule.text);
    return FINAL.has(final) && final !== 'RETURN'
      ? simpleVerdict(family, rule.text, owner, `${target} ${index + 1}`)
      : [];
  });
}

/** Verdicts by interface and address only; everything more selective hides less than it seems. */
function simpleVerdict(family: Family, text: string, owner: string, place: string): Verdict[] {
  const options = optionsOf(text);
  const plain = options.every((option) => /^-[iosd]$/.test(option));
  return plain && options.length > 0 ? [{ owner, place, text, selection: selectionOf(family, text) }] : [];
}

function targetWord(text: string): string {
  const list = words(text);
  return list[list.indexOf('-j') + 1] ?? '';
}

/** The options by which a rule selects, in order (`-o`, `!`, `-p`, `--dport`), without target, match names and comment. */
function optionsOf(text: string): string[] {
  const list = words(text).slice(2);
  const options: string[] = [];
  for (let i = 0; i < list.length; i += 2) {
    const word = list[i] as string;
    if (word === '-j' || word === '-g') break;
    if (word !== '-m' && word !== '--comment') options.push(word);
    if (word === '!') i++;
  }
  return options;
}

/** `-A FORWARD -d 192.168.122.10/32 -o virbr0 ! -i eth0 ...`: out and destination. */
function selectionOf(family: Family, text: string): Selection {
  const plain = text.includes('"')
    ? words(text)
        .map((word) => (word.includes(' ') ? '""' : word))
        .join(' ')
    : text;
  return {
    in: valueOf(plain, ' -i '),
    out: valueOf(plain, ' -o '),
    source: prefixOf(family, valueOf(plain, ' -s ')),
    destination: prefixOf(family, valueOf(plain, ' -d ')),
  };
}

function valueOf(text: string, option: string): string | undefined {
  const at = text.indexOf(option);
  if (at === -1 || text[at - 1] === '!') return undefined;
  const end = text.indexOf(' ', at + option.length);
  return text.slice(at + option.length, end === -1 ? undefined : end);
}

/** `192.168.122.0/24`; an address without a length is one host. */
function prefixOf(family: Family, text: string | undefined): Prefix | undefined {
  if (text === undefined) return undefined;
  const slash = text.indexOf('/');
  const bytes = parseAddress(family, slash === -1 ? text : text.slice(0, slash));
  return bytes === undefined
    ? undefined
    : { bytes, length: slash === -1 ? bytes.length * 8 : Number(text.slice(slash + 1)) };
}

/** An address behind a bridge goes in or out by that bridge. Undefined: the rule names neither interface nor address. */
function withBridges(selection: Selection, bridges: Bridges): Selection | undefined {
  const { in: from, out, source, destination } = selection;
  if (from === undefined && out === undefined && source === undefined && destination === undefined) return undefined;
  const behind = (address: Prefix | undefined): string | undefined =>
    address === undefined ? undefined : bridges.find(({ subnet }) => contains(subnet, address))?.name;
  return { in: from ?? behind(source), out: out ?? behind(destination), source, destination };
}

/** True when every packet of the rule is one of the verdict's. */
function implies(rule: Selection, verdict: Selection): boolean {
  return (
    (verdict.in === undefined || verdict.in === rule.in) &&
    (verdict.out === undefined || verdict.out === rule.out) &&
    (verdict.source === undefined || (rule.source !== undefined && contains(verdict.source, rule.source))) &&
    (verdict.destination === undefined ||
      (rule.destination !== undefined && contains(verdict.destination, rule.destination)))
  );
}

/** `192.168.122.0/24` contains `192.168.122.10/32`. */
function contains(outer: Prefix, inner: Prefix): boolean {
  if (inner.length < outer.length) return false;
  const whole = outer.length >> 3;
  for (let i = 0; i < whole; i++) if (outer.bytes[i] !== inner.bytes[i]) return false;
  const rest = 8 - (outer.length & 7);
  return rest === 8 || (outer.bytes[whole] as number) >> rest === (inner.bytes[whole] as number) >> rest;
}
