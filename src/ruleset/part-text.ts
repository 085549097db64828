// The user's part and the neighbours' part as text that people read and plain `iptables-restore` loads. Slots and owners
// are comments, so nothing but comments is ours. Pure.
//
//   # mendwall: slot libvirt
//   # mendwall: | -A FORWARD -j LIBVIRT_FWX
//   # mendwall: chain LIBVIRT_FWI is libvirt's

import { parseDocument } from './iptables/parse.ts';
import type { Family, Problem } from './types.ts';
import type { Item, NeighbourChain, NeighbourPart, OwnerId, UserPart, UserTable } from './user-part.ts';

const SLOT = /^# mendwall: slot (\S+) in (\S+)$/;
const SLOT_TEXT = /^# mendwall: \| (.*)$/;
const FOREIGN_CHAIN = /^# mendwall: chain (\S+) is (\S+)'s$/;
const RULE_OWNER = /^# mendwall: owner (\S+)$/;

/** The user's part as text. `title` becomes the first comment line. */
export function printUserPart(part: UserPart, title: string): string {
  const lines = [`# ${title}`];
  for (const table of part.tables.values()) {
    lines.push(`*${table.name}`);
    for (const chain of table.chains.values()) {
      if (chain.policy === 'foreign') lines.push(`# mendwall: chain ${chain.name} is foreign's`);
      lines.push(`:${chain.name} ${chain.policy === 'foreign' ? '-' : chain.policy} [0:0]`);
    }
    for (const chain of table.chains.values())
      for (const item of chain.items) lines.push(...printItem(chain.name, item));
    lines.push('COMMIT');
  }
  return lines.join('\n') + '\n';
}

function printItem(chain: string, item: Item): string[] {
  if (item.kind === 'rule') return [item.text];
  return [`# mendwall: slot ${item.owner} in ${chain}`, ...item.texts.map((text) => `# mendwall: | ${text}`)];
}

export type ParsedPart<T> =
  { readonly kind: 'part'; readonly part: T } | { readonly kind: 'problems'; readonly problems: readonly Problem[] };

/** Reads what `printUserPart` wrote, or any iptables-save text in which every rule is the user's. */
export function parseUserPart(text: string, family: Family, file: string): ParsedPart<UserPart> {
  const document = parseDocument(text, family, file);
  if (document.problems.length > 0) return { kind: 'problems', problems: document.problems };
  const tables = new Map<string, UserTable>();
  let chains = new Map<string, { name: string; policy: string; items: Item[] }>();
  let slot: { kind: 'slot'; owner: OwnerId; texts: string[] } | undefined;
  const foreign = new Set<string>();
  const chainNamed = (name: string): { name: string; policy: string; items: Item[] } => {
    const found = chains.get(name) ?? { name, policy: foreign.has(name) ? 'foreign' : 'ACCEPT', items: [] };
    chains.set(name, found);
    return found;
  };
  for (const line of document.lines) {
    if (line.kind === 'table') {
      chains = new Map();
      foreign.clear();
      tables.set(line.table, { name: line.table, chains });
    } else if (line.kind === 'chain') {
      chains.set(line.chain, {
        name: line.chain,
        policy: foreign.has(line.chain) ? 'foreign' : line.policy,
        items: [],
      });
    } else if (line.kind === 'rule') {
      chainNamed(line.rule.chain).items.push({ kind: 'rule', text: line.rule.text });
    } else {
      slot = readComment(line.source, slot, foreign, chainNamed);
    }
  }
  return { kind: 'part', part: { family, tables } };
}

type OpenSlot = { kind: 'slot'; owner: OwnerId; texts: string[] } | undefined;

function readComment(
  source: string,
  slot: OpenSlot,
  foreign: Set<string>,
  chainNamed: (name: string) => { items: Item[] },
): OpenSlot {
  const text = SLOT_TEXT.exec(source)?.[1];
  if (text !== undefined) {
    slot?.texts.push(text);
    return slot;
  }
  const chain = FOREIGN_CHAIN.exec(source)?.[1];
  if (chain !== undefined) foreign.add(chain);
  const [, owner, place] = SLOT.exec(source) ?? [];
  if (owner === undefined || place === undefined) return slot;
  const opened = { kind: 'slot' as const, owner, texts: [] };
  chainNamed(place).items.push(opened);
  return opened;
}

/** The neighbours' part as text: their chains, and each rule with its owner in a comment where the owner changes. */
export function printNeighbourPart(part: NeighbourPart, title: string): string {
  const lines = [`# ${title}`];
  for (const [table, chains] of part.tables) {
    if (chains.size === 0) continue;
    lines.push(`*${table}`);
    for (const chain of chains.values()) {
      if (chain.owner === undefined) continue;
      lines.push(`# mendwall: chain ${chain.name} is ${chain.owner}'s`, `:${chain.name} - [0:0]`);
    }
    lines.push(...printOwnedRules(chains), 'COMMIT');
  }
  return lines.join('\n') + '\n';
}

function printOwnedRules(chains: ReadonlyMap<string, NeighbourChain>): string[] {
  const lines: string[] = [];
  let owner: OwnerId | undefined;
  for (const chain of chains.values()) {
    for (const rule of chain.rules) {
      if (rule.owner !== owner) lines.push(`# mendwall: owner ${rule.owner}`);
      owner = rule.owner;
      lines.push(rule.text);
    }
  }
  return lines;
}

/** Reads what `printNeighbourPart` wrote. */
export function parseNeighbourPart(text: string, family: Family, file: string): ParsedPart<NeighbourPart> {
  const document = parseDocument(text, family, file);
  // A user's chain that holds neighbours' rules is not declared here; that is no fault of the file.
  const problems = document.problems.filter((problem) => problem.code !== 'unknown-chain');
  if (problems.length > 0) return { kind: 'problems', problems };
  const tables = new Map<string, Map<string, NeighbourChain>>();
  const chainOwners = new Map<string, OwnerId>();
  let chains = new Map<string, NeighbourChain>();
  let owner: OwnerId = 'unknown';
  for (const line of document.lines) {
    if (line.kind === 'table') {
      chains = new Map();
      chainOwners.clear();
      tables.set(line.table, chains);
    } else if (line.kind === 'chain') {
      chains.set(line.chain, { name: line.chain, owner: chainOwners.get(line.chain) ?? 'unknown', rules: [] });
    } else if (line.kind === 'rule') {
      const { chain, text: rule } = line.rule;
      const found = chains.get(chain) ?? { name: chain, owner: undefined, rules: [] };
      chains.set(chain, { ...found, rules: [...found.rules, { owner, text: rule }] });
    } else {
      owner = RULE_OWNER.exec(line.source)?.[1] ?? owner;
      const [, name, chainOwner] = FOREIGN_CHAIN.exec(line.source) ?? [];
      if (name !== undefined && chainOwner !== undefined) chainOwners.set(name, chainOwner);
    }
  }
  return { kind: 'part', part: { family, tables } };
}
