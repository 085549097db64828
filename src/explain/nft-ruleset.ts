// The nft front: text as `nft list ruleset` prints it (with or without handles and counters), compiled to base chains.
//
// Goal: every native table of the families ip, ip6, inet and netdev. Guarantee: bridge and arp tables with rules are
// named in `unseen`, never passed by silently.
// Does not: read variables, includes, single commands (`add rule ...`); flowtables. Pure.
//
// Narrow on purpose: what comes out is a Program, so that another parser of nft's language can take this one's place.

import type { Facts } from './facts.ts';
import { nftTokens, readTokens, type NftToken, type TokenReader } from './nft-lex.ts';
import type { NftContext } from './nft-match.ts';
import { compileStatements, readMapElement } from './nft-rule.ts';
import { readBraces, readElement } from './nft-value.ts';
import type { BaseChain, ChainFamily, CompiledChain, CompiledRule, Hook, Program } from './program.ts';

export interface NftOptions extends Facts {
  /** Leaves tables out, by `ip filter`: iptables-nft's own are better read with iptables-save. */
  readonly without?: ReadonlySet<string>;
}

interface Block {
  readonly words: readonly string[];
  readonly body: readonly NftToken[];
}

/** Compiles a whole listing. */
export function compileNft(text: string, options: NftOptions = {}): Program {
  const baseChains: BaseChain[] = [];
  const unseen: string[] = [];
  for (const table of blocksOf(nftTokens(text)).blocks) {
    const [keyword, family = '', name = family] = table.words;
    if (keyword !== 'table' || options.without?.has(`${family} ${name}`) === true) continue;
    const known = FAMILIES.find((each) => each === (table.words.length === 2 ? 'ip' : family));
    if (known === undefined) unseen.push(...(table.body.length > 0 ? [`${family} ${name}`] : []));
    else baseChains.push(...compileTable(known, name, table, text, options));
  }
  return { baseChains, unseen };
}

const FAMILIES: readonly ChainFamily[] = ['ip', 'ip6', 'inet', 'netdev'];

/** Splits tokens into blocks `words { body }` and the statements between them. */
function blocksOf(tokens: readonly NftToken[]): { blocks: readonly Block[]; statements: readonly NftToken[][] } {
  const blocks: Block[] = [];
  const statements: NftToken[][] = [];
  let words: NftToken[] = [];
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at] as NftToken;
    if (isSign(token, ';')) {
      if (words.length > 0) statements.push(words);
      words = [];
    } else if (isSign(token, '{') && opensBlock(words)) {
      const end = closing(tokens, at);
      blocks.push({ words: words.map(({ text }) => text), body: tokens.slice(at + 1, end) });
      words = [];
      at = end;
    } else if (isSign(token, '{')) {
      const end = closing(tokens, at);
      words.push(...tokens.slice(at, end + 1));
      at = end;
    } else words.push(token);
  }
  if (words.length > 0) statements.push(words);
  return { blocks, statements };
}

const BLOCK_WORDS = new Set('table chain set map flowtable counter quota limit secmark synproxy'.split(' '));
/** `table inet admin {`, `chain input {`; not `counter ip saddr { ... } accept`. */
const opensBlock = (words: readonly NftToken[]): boolean =>
  BLOCK_WORDS.has(words[0]?.text ?? '') && words.length <= (words[0]?.text === 'table' ? 3 : 2);
const isSign = (token: NftToken, sign: string): boolean => !token.quoted && token.text === sign;

function closing(tokens: readonly NftToken[], open: number): number {
  let depth = 0;
  for (let at = open; at < tokens.length; at++) {
    const token = tokens[at] as NftToken;
    if (isSign(token, '{')) depth++;
    else if (isSign(token, '}') && --depth === 0) return at;
  }
  return tokens.length;
}

function compileTable(
  family: ChainFamily,
  table: string,
  { body }: Block,
  text: string,
  options: NftOptions,
): BaseChain[] {
  const { blocks } = blocksOf(body);
  const named = (kind: string): readonly Block[] => blocks.filter(({ words }) => words[0] === kind);
  const context: NftContext = {
    localAddresses: options.localAddresses,
    sets: new Map(named('set').map((set) => [set.words[1] ?? '', elementsOf(set, readElement)])),
    maps: new Map(named('map').map((map) => [map.words[1] ?? '', elementsOf(map, readMapElement)])),
  };
  const chains = new Map<string, CompiledChain>();
  const bases: { readonly name: string; readonly heading: readonly NftToken[] }[] = [];
  for (const chain of named('chain')) {
    const name = chain.words[1] ?? '';
    const { statements } = blocksOf(chain.body);
    const heading = statements.filter(([first]) => HEADING.has(first?.text ?? ''));
    const rules = statements.filter(([first]) => !HEADING.has(first?.text ?? ''));
    chains.set(name, { name, rules: rules.map((tokens) => compileTokens(tokens, text, context)) });
    if (heading.some(([first]) => first?.text === 'type')) bases.push({ name, heading: heading.flat() });
  }
  return bases.flatMap(({ name, heading }) => {
    const chain = chains.get(name);
    return chain === undefined ? [] : baseChain({ engine: 'nft', family, table, chain, chains }, heading);
  });
}

/** `type filter hook input priority 0`, `policy drop`; a chain's own comment. */
const HEADING = new Set(['type', 'policy', 'comment', 'flags', 'devices', 'device']);

/** `elements = { ... }`; a set without the word is empty, as `nft list` prints it. Undefined when not understood. */
function elementsOf<T>({ body }: Block, item: (reader: TokenReader) => T | undefined): T[] | undefined {
  const statement = blocksOf(body).statements.find(([first]) => first?.text === 'elements');
  return statement === undefined ? [] : readBraces(readTokens(statement.slice(2)), item);
}

function compileTokens(tokens: readonly NftToken[], text: string, context: NftContext): CompiledRule {
  const said = text.slice(tokens[0]?.start, tokens.at(-1)?.end);
  return { text: withoutCounts(said), steps: compileStatements(tokens, context) };
}

/** `counter packets 12 bytes 840 accept` -> `counter accept` */
const withoutCounts = (said: string): string => said.replace(/\bcounter packets \d+ bytes \d+/g, 'counter').trim();

const PRIORITIES: Readonly<Record<string, number>> = {
  raw: -300,
  mangle: -150,
  dstnat: -100,
  filter: 0,
  security: 50,
  srcnat: 100,
};

type Bare = Omit<BaseChain, 'type' | 'hook' | 'priority' | 'policy'>;

/** `type nat hook postrouting priority srcnat + 10; policy accept;` */
function baseChain(bare: Bare, heading: readonly NftToken[]): BaseChain[] {
  const words = heading.map(({ text }) => text);
  const after = (word: string): string => words[words.indexOf(word) + 1] ?? '';
  const type = after('type');
  const hook = after('hook');
  if ((type !== 'filter' && type !== 'nat' && type !== 'route') || !isHook(hook)) return [];
  const policy = words.includes('policy') && after('policy') === 'drop' ? 'drop' : 'accept';
  const devices = words.includes('devices') || words.includes('device') ? deviceNames(words) : undefined;
  return [{ ...bare, type, hook, priority: priorityOf(words), policy, ...(devices !== undefined && { devices }) }];
}

const isHook = (word: string): word is Hook =>
  ['ingress', 'prerouting', 'input', 'forward', 'output', 'postrouting'].includes(word);

/** `priority -10`, `priority filter + 10`, `priority mangle` */
function priorityOf(words: readonly string[]): number {
  const [base = '0', sign, by = '0'] = words.slice(words.indexOf('priority') + 1);
  const start = PRIORITIES[base] ?? Number(base);
  return sign === '+' ? start + Number(by) : sign === '-' ? start - Number(by) : start;
}

/** `device "eth0"`, `devices = { eth0, eth1 }` */
function deviceNames(words: readonly string[]): string[] {
  const at = words.includes('devices') ? words.indexOf('devices') : words.indexOf('device');
  const names = words.slice(at + 1, words.indexOf('priority', at));
  return names.filter((word) => !['=', '{', '}', ','].includes(word));
}
