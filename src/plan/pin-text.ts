// A plan of pins as text: what iptables is asked to translate, what it answered, and the table for `nft -f`.
//
// Guarantees: each translated line is checked against the rule it came from, because what iptables cannot say in nft's words
// comes out as a comment with exit code 0 (measured). Verdicts and names of chains are written here, never translated.
// Does not: know nft's words for matches. Pure.

import type { Family } from '../ruleset/types.ts';
import type { PinChain, PinPlan, PinRule } from './pin.ts';

/** The table of each family, `ip mendwall` and `ip6 mendwall`: one `inet` table dropped the other family's packets (measured). */
export const PIN_TABLE = 'mendwall';

/** Behind conntrack (-200), mangle (-150) and DNAT (-100), before iptables' filter table (0). */
const PRIORITY = -10;

/** The rules in the order in which they are asked for and answered. */
const rulesOf = ({ chains }: PinPlan): readonly PinRule[] => chains.flatMap(({ rules }) => rules);

/** Input for `iptables-restore-translate`: only the matches, each with DROP behind. */
export function translationInput(plan: PinPlan): string {
  const lines = rulesOf(plan).map(({ matches }) => `-A pin ${matches === '' ? '' : `${matches} `}-j DROP`);
  return ['*filter', ':pin - [0:0]', ...lines, 'COMMIT', ''].join('\n');
}

export type Translation =
  | { readonly kind: 'translated'; readonly lines: readonly string[] }
  /** Rules by text: why they cannot be copied. */
  | { readonly kind: 'unsaid'; readonly rules: ReadonlyMap<string, string> };

/** `add rule ip filter pin tcp dport 22 counter drop` */
const RULE_LINE = /^add rule (ip6?) filter pin ((?:.* )?)counter drop$/;

/** What iptables answered, as one line of nft's matches a rule. */
export function readTranslation(plan: PinPlan, stdout: string): Translation {
  const answers = stdout.split('\n').filter((line) => /^(?:add rule |# -t )/.test(line)); // # -t filter -A pin -m recent ...
  const unsaid = new Map<string, string>();
  const lines = rulesOf(plan).map((rule, at) => {
    const [, family, body = ''] = RULE_LINE.exec(answers[at] ?? '') ?? [];
    if (family !== plan.family || !saysAll(rule, body)) unsaid.set(rule.text, 'iptables has no translation of it');
    return body.trim();
  });
  if (answers.length !== lines.length)
    for (const { text } of rulesOf(plan)) unsaid.set(text, 'iptables translated another number of rules');
  return unsaid.size > 0 ? { kind: 'unsaid', rules: unsaid } : { kind: 'translated', lines };
}

/** iptables' word -> nft's word that must be in its translation. */
const WORDS: readonly (readonly [RegExp, string])[] = [
  [/-s /, 'saddr'],
  [/-d /, 'daddr'],
  [/--src-range /, 'saddr'],
  [/--dst-range /, 'daddr'],
  [/-i /, 'iifname'],
  [/-o /, 'oifname'],
  [/--sports? /, 'sport'],
  [/--dports? /, 'dport'],
  [/--tcp-flags /, 'flags'],
  [/--(?:ct)?state /, 'state'],
  [/--icmp(?:v6)?-type /, 'type'],
];
/** Of `-p`: the matches of the protocol name it, too. */
const PROTOCOL = /-p (\S+)/;

function saysAll({ matches }: PinRule, body: string): boolean {
  const words = body.split(' ');
  if (/[^\w "{}=!,.:/@*-]/.test(body) || countOf(matches, '! ') !== countOf(body, '!= ')) return false;
  const protocol = PROTOCOL.exec(matches)?.[1];
  const named =
    protocol === undefined || words.includes(protocol) || (protocol === 'ipv6-icmp' && words.includes('icmpv6'));
  return named && WORDS.every(([said, word]) => !said.test(matches) || words.includes(word));
}

const countOf = (text: string, piece: string): number => text.split(piece).length - 1;

/** What is in the way of a write, and what it leaves. */
export interface PinWrite {
  /** The tables belong to the nft that writes this, and outlive it (`owner,persist`). */
  readonly owned?: boolean;
  /** Tables that stand with flags of an owner that is gone: to name them without their flags is refused (measured). */
  readonly left?: ReadonlySet<Family>;
}

/**
 * Input for nft: both tables as planned, in one transaction; a table without a chain is taken away. `mark` names an
 * empty chain by which the commit is known as ours when it is heard.
 */
export function pinText(
  tables: readonly { readonly plan: PinPlan; readonly lines: readonly string[] }[],
  mark: string,
  how: PinWrite = {},
): string {
  return tables.map(({ plan, lines }) => tableText(plan, lines, mark, how)).join('');
}

function tableText(plan: PinPlan, lines: readonly string[], mark: string, how: PinWrite): string {
  const table = `${plan.family} ${PIN_TABLE}`;
  const gone = goneText(table, plan.family, how);
  if (plan.chains.length === 0) return gone;
  let at = 0;
  const chains = plan.chains.map((chain) => {
    const rules = chain.rules.map((rule) => ruleText(rule, lines[at++] ?? ''));
    return chainText(chain, rules);
  });
  const flags = how.owned === true ? '\tflags owner,persist;\n' : '';
  return `${gone}table ${table} {\n${flags}\tchain ${mark} {\n\t}\n${chains.join('')}}\n`;
}

function goneText(table: string, family: Family, { owned, left }: PinWrite): string {
  // Not known to nft 1.0.6, which knows no `persist` either.
  if (owned === true) return `destroy table ${table}\n`;
  return left?.has(family) === true ? `delete table ${table}\n` : `add table ${table}\ndelete table ${table}\n`;
}

function chainText({ name, hook }: PinChain, rules: readonly string[]): string {
  const head = hook === undefined ? [] : [`type filter hook ${hook} priority ${PRIORITY}; policy accept;`];
  const lines = [...head, ...rules].map((line) => `\t\t${line}\n`);
  return `\tchain ${hook ?? copyName(name)} {\n${lines.join('')}\t}\n`;
}

const copyName = (name: string): string => `user-${name}`;

function ruleText({ verdict }: PinRule, matches: string): string {
  const counted = `${matches === '' ? '' : `${matches} `}counter `;
  switch (verdict.kind) {
    case 'jump':
    case 'goto':
      return `${counted}${verdict.kind} ${copyName(verdict.chain)}`;
    case 'reject':
      return counted + verdict.how;
    default:
      return counted + verdict.kind;
  }
}
