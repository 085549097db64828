// iptables-legacy: reads the whole table, edits its copy line by line, writes the whole table back.

import type { Edit } from './command-line.ts';
import { renameIn } from './nft-commit.ts';
import { ERRNO } from './nft-work.ts';
import {
  BUILTIN_CHAINS,
  copyTable,
  emptyChain,
  emptyTable,
  isBuiltinName,
  type FakeChain,
  type FakeRule,
  type FakeTable,
  references,
} from './store.ts';

/** Why an edit is refused. `words` is a message of xtables_error (exit code 2), the others exit with 1. */
export type LegacyRefusal =
  | { readonly kind: 'errno'; readonly errno: string }
  | { readonly kind: 'words'; readonly message: string }
  | { readonly kind: 'policy'; readonly message: string };

/** A table as it is when the kernel module is loaded: all its built-in chains, policy ACCEPT. */
export function registeredTable(name: string): FakeTable {
  const table = emptyTable(name);
  for (const chain of BUILTIN_CHAINS[name] ?? []) table.chains.set(chain, emptyChain(chain, 'ACCEPT'));
  return table;
}

/** The copy that is edited. Writing a table back starts the counters of its policies again, those of rules stay (measured). */
export function copyForWriting(table: FakeTable): FakeTable {
  const copy = copyTable(table);
  for (const chain of copy.chains.values()) chain.packets = chain.bytes = 0;
  return copy;
}

/** What a restore without --noflush starts from: no rules, no chains of anybody; policies stay. */
export function flushAll(table: FakeTable): void {
  for (const chain of [...table.chains.values()]) {
    if (chain.policy === '-') table.chains.delete(chain.name);
    else chain.rules = [];
  }
}

const errno = (text: string): LegacyRefusal => ({ kind: 'errno', errno: text });

/** Applies one edit to a private copy of the table. */
export function editLegacy(table: FakeTable, edit: Edit, replaces: boolean): LegacyRefusal | undefined {
  switch (edit.kind) {
    case 'append':
    case 'insert':
    case 'replace':
    case 'delete':
    case 'check':
    case 'delete-at':
      return editRule(table, edit);
    case 'flush':
      return eachChain(table, edit.chain, (chain) => void (chain.rules = []));
    case 'zero':
      return eachChain(table, edit.chain, zero);
    case 'delete-chain':
      return deleteChains(table, edit.chain);
    case 'new-chain':
      return newChain(table, edit.chain);
    case 'rename':
      return rename(table, edit.chain, edit.to);
    case 'policy':
      return setPolicy(table, edit.chain, edit.policy, [0, 0]);
    case 'declare':
      return declare(table, edit, replaces);
    case 'list':
      return edit.chain === undefined || table.chains.has(edit.chain) ? undefined : errno(ERRNO.noChain);
  }
}

type RuleEdit = Extract<Edit, { kind: 'append' | 'insert' | 'replace' | 'delete' | 'check' | 'delete-at' }>;

function editRule(table: FakeTable, edit: RuleEdit): LegacyRefusal | undefined {
  if ('spec' in edit && edit.spec.jump !== undefined && !table.chains.has(edit.spec.jump)) {
    const { jump, isGoto } = edit.spec;
    const message = isGoto
      ? `goto '${jump}' is not a chain`
      : `Couldn't load target \`${jump}':No such file or directory\n`;
    return { kind: 'words', message };
  }
  const chain = table.chains.get(edit.chain);
  if (edit.kind === 'delete' || edit.kind === 'check') return deleteBySpec(chain, edit);
  if (chain === undefined) return errno(ERRNO.noChain);
  return edit.kind === 'delete-at' ? deleteAt(chain, edit.at) : putRule(chain, edit);
}

function deleteBySpec(
  chain: FakeChain | undefined,
  edit: Extract<Edit, { kind: 'delete' | 'check' }>,
): LegacyRefusal | undefined {
  const at = chain?.rules.findIndex((rule) => rule.spec === edit.spec.text) ?? -1;
  if (at === -1) return errno(ERRNO.badRule);
  if (edit.kind === 'delete') chain?.rules.splice(at, 1);
  return undefined;
}

function deleteAt(chain: FakeChain, at: number): LegacyRefusal | undefined {
  if (at > chain.rules.length) return errno(ERRNO.deletion);
  chain.rules.splice(at - 1, 1);
  return undefined;
}

function putRule(
  chain: FakeChain,
  edit: Extract<Edit, { kind: 'append' | 'insert' | 'replace' }>,
): LegacyRefusal | undefined {
  const { packets, bytes } = edit.spec.counters ?? { packets: 0, bytes: 0 };
  const rule: FakeRule = { handle: undefined, spec: edit.spec.text, packets, bytes };
  const length = chain.rules.length;
  if (edit.kind === 'append') chain.rules.push(rule);
  else if (edit.kind === 'insert') {
    if (edit.at > length + 1) return errno(ERRNO.insertion);
    chain.rules.splice(edit.at - 1, 0, rule);
  } else {
    if (edit.at > length) return errno(ERRNO.replacement);
    chain.rules[edit.at - 1] = rule;
  }
  return undefined;
}

function eachChain(
  table: FakeTable,
  name: string | undefined,
  act: (chain: FakeChain) => void,
): LegacyRefusal | undefined {
  const chains = name === undefined ? [...table.chains.values()] : [table.chains.get(name)];
  for (const chain of chains) {
    if (chain === undefined) return errno(ERRNO.noChain);
    act(chain);
  }
  return undefined;
}

function zero(chain: FakeChain): void {
  chain.packets = chain.bytes = 0;
  chain.rules = chain.rules.map((rule) => ({ ...rule, packets: 0, bytes: 0 }));
}

/** All chains are tried; the last refusal is the one that is shown. */
function deleteChains(table: FakeTable, name: string | undefined): LegacyRefusal | undefined {
  if (name !== undefined) return deleteChain(table, name);
  const own = [...table.chains.values()].filter((chain) => chain.policy === '-').map((chain) => chain.name);
  let refused: LegacyRefusal | undefined;
  for (const chain of own.sort((a, b) => (a < b ? -1 : 1))) refused = deleteChain(table, chain) ?? refused;
  return refused;
}

function deleteChain(table: FakeTable, name: string): LegacyRefusal | undefined {
  const chain = table.chains.get(name);
  if (chain === undefined) return errno(ERRNO.noChain);
  if (chain.policy !== '-') return errno("Invalid argument. Run `dmesg' for more information.");
  if (references(table).has(name)) return errno('Too many links.');
  if (chain.rules.length > 0) return errno(ERRNO.notEmpty);
  table.chains.delete(name);
  return undefined;
}

function newChain(table: FakeTable, name: string): LegacyRefusal | undefined {
  if (table.chains.has(name)) return errno(ERRNO.chainExists);
  table.chains.set(name, emptyChain(name, '-'));
  return undefined;
}

function rename(table: FakeTable, from: string, to: string): LegacyRefusal | undefined {
  if (table.chains.has(to)) return errno(ERRNO.fileExists);
  const chain = table.chains.get(from);
  if (chain === undefined || chain.policy !== '-') return errno(ERRNO.noChain);
  renameIn(table, chain, to);
  return undefined;
}

function setPolicy(
  table: FakeTable,
  name: string,
  policy: string,
  counters: readonly [number, number],
): LegacyRefusal | undefined {
  const chain = table.chains.get(name);
  if (chain === undefined || chain.policy === '-') return errno(ERRNO.builtin);
  if (policy !== 'ACCEPT' && policy !== 'DROP') return errno(ERRNO.policy);
  chain.policy = policy;
  [chain.packets, chain.bytes] = counters;
  return undefined;
}

function declare(
  table: FakeTable,
  edit: Extract<Edit, { kind: 'declare' }>,
  replaces: boolean,
): LegacyRefusal | undefined {
  const { chain, policy, counters } = edit;
  if (!isBuiltinName(table.name, chain)) {
    if (replaces && table.chains.has(chain))
      return { kind: 'words', message: `error creating chain '${chain}':File exists` };
    table.chains.set(chain, emptyChain(chain, '-'));
  }
  if (policy === '-') return undefined;
  const refused = setPolicy(table, chain, policy, counters ? [counters.packets, counters.bytes] : [0, 0]);
  if (refused?.kind !== 'errno') return refused;
  // ":BAD ACCEPT [0:0]"
  return {
    kind: 'policy',
    message: `Can't set policy \`${policy}' on \`${chain}' line %LINE: ${refused.errno.slice(0, -1)}`,
  };
}
