// The nft front's rules: one rule's text (without handle) compiled to steps.
//
// Goal: what libvirt's nftables backend, firewalld and admins commonly write. Guarantee: what is not understood depends:
// an unknown match leaves the rule open, an unknown statement may do anything.
// Does not: keep state (limits, quotas, meters). Pure. Source: nft(8) 1.0.6.

import { unknown } from './expression.ts';
import { nftTokens, readTokens, type NftToken, type TokenReader } from './nft-lex.ts';
import { keyIs, readComparison, readSelectors, type MapElement, type NftContext } from './nft-match.ts';
import type { Selector } from './nft-selector.ts';
import { readStatement, STATEMENTS, verdictOf } from './nft-statement.ts';
import { readBraces, readElement } from './nft-value.ts';
import type { Action, Case, CompiledRule, Step } from './program.ts';

/** Compiles one rule. `family` of the table decides what a bare `reject` says. */
export function compileNftRule(text: string, context: NftContext): CompiledRule {
  return { text, steps: compileStatements(nftTokens(text), context) };
}

/** The steps of a rule's tokens. */
export function compileStatements(tokens: readonly NftToken[], context: NftContext): readonly Step[] {
  const reader = readTokens(tokens);
  const steps: Step[] = [];
  while (!reader.done()) {
    const start = reader.at();
    const step = readMatch(reader, context) ?? (reader.moveTo(start), readStatement(reader));
    if (step !== undefined) steps.push(...step);
    else {
      reader.moveTo(start);
      steps.push(...notUnderstood(reader));
    }
  }
  return steps;
}

/** Keywords that open matches this front does not know; behind them the next statement is looked for. */
const MATCH_WORDS = new Set(
  'ip ip6 tcp udp udplite sctp dccp th icmp icmpv6 igmp ah esp comp meta ct fib rt socket osf ipsec exthdr hbh frag dst mh srh numgen jhash symhash ether vlan arp iif oif iifname oifname iiftype oiftype iifgroup oifgroup skuid skgid pkttype cpu cgroup rtclassid ibrname obrname hour day time mark length priority xt @ll @nh @th'.split(
    ' ',
  ),
);

function notUnderstood(reader: TokenReader): readonly Step[] {
  const isMatch = MATCH_WORDS.has(reader.peek().split(',')[0] ?? '') && !isXtTarget(reader);
  const said = [reader.next()];
  let depth = said[0] === '{' ? 1 : 0;
  while (!reader.done() && (depth > 0 || reader.quoted() || !startsStatement(reader))) {
    const word = reader.next();
    depth += word === '{' ? 1 : word === '}' ? -1 : 0;
    said.push(word);
  }
  const what = said.join(' ');
  // A value may be set, a verdict looked up: then it is no mere match.
  const harmless = isMatch && !said.some((word) => ['set', 'map', 'vmap'].includes(word));
  const test: Step = { kind: 'match', test: unknown(what) };
  return harmless ? [test] : [test, { kind: 'unknown', why: what }];
}

/** `drop`, `meta mark set 1` */
const startsStatement = (reader: TokenReader): boolean => STATEMENTS.has(reader.peek()) || reader.peek(2) === 'set';

const isXtTarget = (reader: TokenReader): boolean => reader.peek() === 'xt' && reader.peek(1) === 'target';

function readMatch(reader: TokenReader, context: NftContext): readonly Step[] | undefined {
  const selectors = readSelectors(reader, context);
  if (selectors === undefined) return undefined;
  if (reader.take('vmap')) return readVerdictMap(reader, selectors, context);
  if (['set', 'map'].includes(reader.peek())) return undefined;
  const test = readComparison(reader, selectors, context);
  return test === undefined ? undefined : [{ kind: 'match', test }];
}

function readVerdictMap(
  reader: TokenReader,
  selectors: readonly Selector[],
  context: NftContext,
): readonly Step[] | undefined {
  const named = reader.peek().startsWith('@') ? reader.next().slice(1) : undefined;
  const elements = named === undefined ? readBraces(reader, readMapElement) : context.maps.get(named);
  if (elements === undefined)
    return named === undefined ? undefined : [{ kind: 'unknown', why: `the content of map @${named}` }];
  const cases = elements.map((element) => caseOf(element, selectors));
  if (!cases.every((each) => each !== undefined)) return undefined;
  const needs = selectors.map((selector): Step => ({ kind: 'match', test: selector.needs }));
  return [...needs.filter((step) => step.kind !== 'match' || step.test.kind !== 'always'), { kind: 'choose', cases }];
}

function caseOf({ key, verdict }: MapElement, selectors: readonly Selector[]): Case | undefined {
  const test = keyIs(key, selectors);
  const action: Action | undefined = verdictOf(verdict);
  return test === undefined || action === undefined ? undefined : { test, action };
}

/** `22 : accept`, `"virbr0" : jump guests` */
export function readMapElement(reader: TokenReader): MapElement | undefined {
  const key = readElement(reader);
  if (key === undefined || !reader.take(':')) return undefined;
  const verdict = [reader.next()];
  if (verdict[0] === 'jump' || verdict[0] === 'goto') verdict.push(reader.next());
  return { key, verdict };
}
