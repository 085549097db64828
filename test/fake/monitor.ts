// What a transaction looks like from outside: the lines of `nft monitor`, and the same as a Commit's table changes.

import type { TableChange } from '../../src/events/types.ts';
import type { Family } from '../../src/ruleset/types.ts';
import type { Effect } from './nft-commit.ts';
import { jumpsTo, type FakeRule } from './store.ts';

/** One TableChange for each table the transaction touched, in the order of first touch. */
export function tableChanges(family: Family, effects: readonly Effect[]): TableChange[] {
  const tables = [...new Set(effects.map((effect) => effect.table))];
  return tables.map((table) =>
    tableChange(
      family,
      table,
      effects.filter((effect) => effect.table === table),
    ),
  );
}

function tableChange(family: Family, table: string, effects: readonly Effect[]): TableChange {
  const rules = effects.filter((effect) => effect.kind === 'rule');
  const chains = effects.filter((effect) => effect.kind === 'chain');
  const tables = effects.filter((effect) => effect.kind === 'table');
  const names = (picked: readonly { readonly chain: string }[]): string[] => [
    ...new Set(picked.map((effect) => effect.chain)),
  ];
  return {
    family,
    table,
    deletesTable: tables.some((effect) => effect.verb === 'delete'),
    addsTable: tables.some((effect) => effect.verb === 'add'),
    rulesAdded: rules.filter((effect) => effect.verb !== 'delete').length,
    rulesDeleted: rules.filter((effect) => effect.verb === 'delete').length,
    ruleChains: names(rules),
    chainsAdded: names(chains.filter((effect) => effect.verb !== 'delete')),
    chainsDeleted: names(chains.filter((effect) => effect.verb === 'delete')),
  };
}

/** As `nft monitor` of nft 1.0.6 prints it; rule text is reduced to what tests look at. */
export const monitorLines = (family: Family, effects: readonly Effect[]): string[] =>
  effects.map((effect) => monitorLine(family, effect));

function monitorLine(family: Family, effect: Effect): string {
  const where = `${family} ${effect.table}`;
  if (effect.kind === 'table') return `${effect.verb} table ${where}`;
  if (effect.kind === 'chain') return chainLine(where, effect);
  if (effect.verb === 'delete') return `delete rule ${where} ${effect.chain} handle ${effect.rule.handle}`;
  return `${effect.verb} rule ${where} ${effect.chain} ${expression(effect.rule)}`;
}

const HOOK_PRIORITY: Readonly<Record<string, string>> = {
  raw: 'raw',
  mangle: 'mangle',
  filter: 'filter',
  security: '150',
};

function chainLine(where: string, effect: Extract<Effect, { kind: 'chain' }>): string {
  const line = `${effect.verb} chain ${where} ${effect.chain}`;
  if (effect.policy === '-' || effect.verb === 'delete') return line;
  const isNat = effect.table === 'nat';
  const priority = isNat
    ? effect.chain.endsWith('PUT') || effect.chain === 'POSTROUTING'
      ? 'srcnat'
      : 'dstnat'
    : HOOK_PRIORITY[effect.table];
  const hook = `type ${isNat ? 'nat' : 'filter'} hook ${effect.chain.toLowerCase()} priority ${priority}`;
  return `${line} { ${hook}; policy ${effect.policy.toLowerCase()}; }`;
}

/** `iifname "virbr0" tcp dport 53 counter packets 0 bytes 0 accept` */
function expression(rule: FakeRule): string {
  const port = /(?:^| )-m (tcp|udp) --dport (\S+)/.exec(rule.spec); // "-p tcp -m tcp --dport 53"
  const parts = [
    ...optional(/(?:^| )-i (\S+)/, rule.spec, (name) => `iifname "${name}"`), // "-i virbr0"
    ...optional(/(?:^| )-o (\S+)/, rule.spec, (name) => `oifname "${name}"`),
    ...optional(/(?:^| )-s (\S+)/, rule.spec, (address) => `ip saddr ${address}`),
    ...(port === null ? [] : [`${port[1]} dport ${port[2]}`]),
    `counter packets ${rule.packets} bytes ${rule.bytes}`,
    verdict(rule.spec),
  ];
  return parts.join(' ').trimEnd();
}

function optional(pattern: RegExp, spec: string, show: (value: string) => string): string[] {
  const value = pattern.exec(spec)?.[1];
  return value === undefined ? [] : [show(value)];
}

function verdict(spec: string): string {
  const chain = jumpsTo(spec);
  if (chain !== undefined) return `${/(?:^| )-g /.test(spec) ? 'goto' : 'jump'} ${chain}`; // "-g FI-vnet0"
  const target = /(?:^| )-j (\S+)/.exec(spec)?.[1]; // "-j DROP"
  if (target === undefined) return '';
  return ['ACCEPT', 'DROP', 'RETURN'].includes(target) ? target.toLowerCase() : `xt target "${target}"`;
}
