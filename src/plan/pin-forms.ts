// One rule of the user's as a pin may copy it.
//
// Goal: a closed list of forms whose translation by iptables was measured to be exact. Guarantee: a form that is not listed is
// a stop, never left out; only a rule without a target is nothing to copy. A rule that logs is a stop, too: what a pin below it
// drops would be missing in the log, and something may read that.
// Not listed, and why: limit, hashlimit, statistic, recent, quota and connlimit count for themselves; mark and connmark may be
// set by a chain between the copy and the rule; sets, string, u32, physdev, bpf and socket have no words in nft (measured,
// 1.8.9 and 1.8.11: they come out as a comment, exit code 0); time and policy are translated wrongly.
// Does not: translate (apply/pins.ts lets iptables do that). Pure.

import type { Family } from '../ruleset/types.ts';

export type PinVerdict =
  | { readonly kind: 'accept' | 'drop' | 'return' }
  /** `how`: nft's words for it. */
  | { readonly kind: 'reject'; readonly how: string }
  | { readonly kind: 'jump' | 'goto'; readonly chain: string };

export type PinForm =
  /** `matches`: iptables' words without comments: `-i eth0 -p tcp -m tcp --dport 22`. */
  | { readonly kind: 'copy'; readonly matches: string; readonly verdict: PinVerdict }
  | { readonly kind: 'nothing' }
  | { readonly kind: 'stop'; readonly why: string };

/** A device, or the beginning of its name with `+`. Alone, `+` is all devices: iptables-save does not print it. */
const DEVICE = String.raw`(?:! )?-[io] \w[\w.:@-]*\+?`;
const PORTS = String.raw`(?: (?:! )?--[sd]port \d+(?::\d+)?)`;
/** Of one flag alone the translation cannot be loaded (nft 1.0.6: `tcp flags rst / rst`). */
const FLAGS = ' --tcp-flags [A-Z]+(?:,[A-Z]+)+ (?!NONE)[A-Z,]+';
const STATES = '(?:INVALID|NEW|RELATED|ESTABLISHED|UNTRACKED)';
/** `! ` is left out where nft's words for it were not measured. */
const COMMON: readonly string[] = [
  DEVICE,
  // Without an option of its own, `-m tcp` may translate to nothing.
  `-m (?:tcp|udp)${PORTS}+(?:${FLAGS})?`,
  `-m tcp${FLAGS}`,
  String.raw`-m multiport --[sd]ports \d+(?::\d+)?(?:,\d+(?::\d+)?)*`,
  `-m conntrack --ctstate ${STATES}(?:,${STATES})*`,
  `-m state --state ${STATES}(?:,${STATES})*`,
];
const V4 = String.raw`\d+(?:\.\d+){3}`;
const V6 = '[0-9a-f:.]+';
const FORMS: Readonly<Record<Family, RegExp>> = {
  ip: formsOf(
    String.raw`(?:! )?-[sd] ${V4}/(?:[1-9]|[12]\d|3[0-2])(?= )`, // -s 10.0.0.0/8
    '(?:! )?-p (?:tcp|udp|icmp|igmp|gre|esp)(?= )',
    String.raw`-m icmp --icmp-type (?!255)\d+(?= )`,
    `-m iprange --(?:src|dst)-range ${V4}-${V4}(?= )`,
  ),
  ip6: formsOf(
    String.raw`(?:! )?-[sd] ${V6}/(?:[1-9]\d?|1[01]\d|12[0-8])(?= )`,
    '(?:! )?-p (?:tcp|udp|ipv6-icmp)(?= )',
    String.raw`-m icmp6 --icmpv6-type \d+(?= )`,
    `-m iprange --(?:src|dst)-range ${V6}-${V6}(?= )`,
  ),
};

/** Each form with the blank behind it, from where the last one ended. */
function formsOf(...own: readonly string[]): RegExp {
  return new RegExp(`(?:${[...own, ...COMMON].join('|')}) `, 'y');
}

/** ` -m comment --comment "the admin's"`, ` -m comment --comment web` */
const COMMENT = / -m comment --comment (?:"(?:[^"\\]|\\.)*"|[^\s"]+)/;
const REJECTS: Readonly<Record<string, string>> = {
  'icmp-port-unreachable': 'reject with icmp type port-unreachable',
  'icmp-host-unreachable': 'reject with icmp type host-unreachable',
  'icmp-net-unreachable': 'reject with icmp type net-unreachable',
  'icmp-host-prohibited': 'reject with icmp type host-prohibited',
  'icmp-net-prohibited': 'reject with icmp type net-prohibited',
  'icmp-admin-prohibited': 'reject with icmp type admin-prohibited',
  'icmp6-port-unreachable': 'reject with icmpv6 type port-unreachable',
  'icmp6-adm-prohibited': 'reject with icmpv6 type admin-prohibited',
};

/** What a pin makes of `-A CHAIN ...` as iptables-save prints it. */
export function pinFormOf(text: string, family: Family): PinForm {
  const bare = text.replace(COMMENT, '');
  const target = targetOf(bare);
  const head = bare.slice(0, target?.at ?? bare.length);
  const body = head.slice(head.indexOf(' ', 3) + 1).trim(); // -A INPUT -s ...
  const matches = head.indexOf(' ', 3) === -1 || body === '' ? '' : `${body} `;
  if (target === undefined) return nothingOf(matches, family);
  if (/^(?:LOG|NFLOG|ULOG|AUDIT)$/.test(target.name))
    return { kind: 'stop', why: 'what is pinned below is not logged' };
  const unknown = restAfter(matches, [FORMS[family]]);
  if (unknown !== '') return { kind: 'stop', why: `not exact as a copy: ${unknown.trim()}` };
  if (overlaps(matches)) return { kind: 'stop', why: 'ports are named twice' };
  const verdict = verdictOf(target, matches);
  return verdict === undefined
    ? { kind: 'stop', why: `not exact as a copy: ${bare.slice(target.at + 1)}` }
    : { kind: 'copy', matches: matches.trim(), verdict };
}

function nothingOf(matches: string, family: Family): PinForm {
  const unknown = restAfter(matches, [FORMS[family]]);
  return unknown === '' ? { kind: 'nothing' } : { kind: 'stop', why: `it may remember something: ${unknown.trim()}` };
}

/** What is left from the first word on that no form covers. */
function restAfter(matches: string, forms: readonly RegExp[]): string {
  let at = 0;
  const next = (form: RegExp): boolean => {
    form.lastIndex = at;
    const found = form.exec(matches)?.[0].length ?? 0;
    at += found;
    return found > 0;
  };
  while (at < matches.length && forms.some(next));
  return matches.slice(at);
}

interface Target {
  /** Where ` -j` begins. */
  readonly at: number;
  readonly name: string;
  readonly goto: boolean;
  readonly options: string;
}

function targetOf(text: string): Target | undefined {
  const found = / -([jg]) (\S+)(?: (--.*))?$/.exec(text); // -j REJECT --reject-with tcp-reset
  if (found === null) return undefined;
  const [, letter, name = '', options = ''] = found;
  return { at: found.index, name, goto: letter === 'g', options };
}

function verdictOf({ name, goto, options }: Target, matches: string): PinVerdict | undefined {
  if (name === 'REJECT') return rejectOf(options, matches);
  if (options !== '') return undefined;
  if (name === 'ACCEPT' || name === 'DROP' || name === 'RETURN')
    return { kind: name.toLowerCase() as 'accept' | 'drop' | 'return' };
  return { kind: goto ? 'goto' : 'jump', chain: name };
}

function rejectOf(options: string, matches: string): PinVerdict | undefined {
  const how = options.replace(/^--reject-with /, '');
  if (how === 'tcp-reset')
    return matches.includes('-p tcp ') && !matches.includes('! -p')
      ? { kind: 'reject', how: 'reject with tcp reset' }
      : undefined;
  const said = REJECTS[how];
  return said === undefined ? undefined : { kind: 'reject', how: said };
}

/** nft refuses a set in which two ranges meet: `--dports 53,50:60`. */
function overlaps(matches: string): boolean {
  return [...matches.matchAll(/ports (\S+)/g)].some(([, list = '']) => {
    const ranges = list.split(',').map((each) => each.split(':').map(Number));
    ranges.sort(([a = 0], [b = 0]) => a - b);
    return ranges.some(([first = 0], at) => at > 0 && first <= (ranges[at - 1]?.at(-1) ?? 0));
  });
}
