// What stands live of the user's, told from libvirt's by the plainest of rules: the referee of the properties, which shares no
// code with what it judges.

import type { Family } from '../../src/ruleset/types.ts';
import type { FakeKernel } from '../fake/kernel.ts';
import { LIBVIRT_JUMPS, natNetworkRules, type BridgeNetwork } from '../generate/libvirt-rules.ts';

/** `filter FORWARD` to its policy and the user's rules, in order. Empty built-in chains with policy ACCEPT are left out. */
export type Word = Readonly<Record<string, readonly string[]>>;

/** Both families; keys as in Word with the family before. */
export const liveWord = (kernel: FakeKernel): Word => ({
  ...wordIn(kernel.save('ip'), 'ip'),
  ...wordIn(kernel.save('ip6'), 'ip6'),
});

const LIBVIRT = /^LIBVIRT_/;
const JUMP = /^-A (?:INPUT|OUTPUT|FORWARD|POSTROUTING) -j LIBVIRT_\w+$/;

/** Of a text as iptables-save prints it. */
export function wordIn(text: string, family: Family): Word {
  const word: Record<string, string[]> = {};
  let table = '';
  for (const line of text.split('\n')) {
    const [, chain = '', policy = ''] = /^:(\S+) (\S+)/.exec(line) ?? /^-A (\S+)/.exec(line) ?? []; // ":INPUT ACCEPT [0:0]"
    if (line.startsWith('*')) table = line.slice(1);
    if (chain === '' || LIBVIRT.test(chain) || /^mw-/.test(chain)) continue;
    const key = `${family} ${table} ${chain}`;
    if (line.startsWith(':')) word[key] = [policy];
    else if (!JUMP.test(line)) word[key]?.push(line);
  }
  return Object.fromEntries(Object.entries(word).filter(([, rules]) => rules.length > 1 || rules[0] !== 'ACCEPT'));
}

/** `table/chain` to libvirt's rules there, sorted: its own chains, and its jumps wherever they stand. */
export function libvirtRulesIn(text: string): Record<string, string[]> {
  const rules: Record<string, string[]> = {};
  let table = '';
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1);
    const [, chain] = /^-A (\S+)/.exec(line) ?? []; // "-A FORWARD -j LIBVIRT_FWX"
    if (chain === undefined || !(LIBVIRT.test(chain) || JUMP.test(line))) continue;
    (rules[`${table}/${chain}`] ??= []).push(line);
  }
  return sorted(rules);
}

/** The same, as it should be for these networks, once libvirt has made its chains. */
export function libvirtRulesOf(networks: readonly BridgeNetwork[]): Record<string, string[]> {
  const rules: Record<string, string[]> = {};
  const parts = [LIBVIRT_JUMPS, ...networks.map(natNetworkRules)];
  for (const part of parts) for (const [place, texts] of part) (rules[place] ??= []).push(...texts);
  return sorted(rules);
}

const sorted = (rules: Record<string, string[]>): Record<string, string[]> =>
  Object.fromEntries(
    Object.entries(rules)
      .filter(([, texts]) => texts.length > 0)
      .map(([place, texts]) => [place, [...texts].sort()]),
  );
