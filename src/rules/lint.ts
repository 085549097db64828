// What is odd about rules that are right: dead rules, a family left open, a policy that locks out. Pure.
// Goals: few words, no false alarm that cannot be answered by a better rule. Does not: evaluate packets (explain/ does).

import { targetOf, words } from '../ruleset/iptables/lex.ts';
import type { UserChain, UserPart } from '../ruleset/user-part.ts';
import { finding, type Finding, type Place, type PlacedRule } from './types.ts';

export interface LintInput {
  readonly parts: { readonly ip: UserPart; readonly ip6: UserPart };
  readonly placed: readonly PlacedRule[];
  /** Families of the native tables there are: `inet`, `ip`. */
  readonly nativeFamilies: readonly string[];
  /** Interfaces of this host and bridges of libvirt's networks; undefined: they are not to be asked. */
  readonly interfaces: ReadonlySet<string> | undefined;
  /** The file that a finding about a whole family is put down to. */
  readonly fileOf: (family: 'ip' | 'ip6') => string | undefined;
  readonly point: (place: Place, word: string | undefined) => Place;
}

export function lint(input: LintInput): Finding[] {
  return [...oneFamily(input), ...deadRules(input), ...missingInterfaces(input), ...lockOuts(input)];
}

const NAMES = { ip: 'IPv4', ip6: 'IPv6' } as const;

/** A policy that closes, or a rule that drops. */
function filters(part: UserPart): boolean {
  const chains = [...(part.tables.get('filter')?.chains.values() ?? [])];
  return chains.some(
    ({ policy, items }) =>
      policy === 'DROP' || items.some((item) => item.kind === 'rule' && / -j (?:DROP|REJECT)\b/.test(item.text)),
  );
}

function oneFamily({ parts, nativeFamilies, fileOf }: LintInput): Finding[] {
  const [from, to] = filters(parts.ip) ? (['ip', 'ip6'] as const) : (['ip6', 'ip'] as const);
  const file = fileOf(from);
  if (!filters(parts[from]) || filters(parts[to]) || file === undefined) return [];
  if (nativeFamilies.includes('inet') || nativeFamilies.includes(to)) return [];
  const said = `${NAMES[from]} is filtered and ${NAMES[to]} is not: what is dropped there comes in here`;
  return [finding('one-family', { file, line: 0, column: 0 }, said)];
}

/** Rules that end the chain for a packet. */
const FINAL = /^(?:ACCEPT|DROP|REJECT|RETURN|MASQUERADE|SNAT|DNAT|REDIRECT|NOTRACK)$/;
/** Matches that answer differently the second time. */
const COUNTING = /-m (?:limit|hashlimit|recent|statistic|quota|connlimit|time|nth|random|set)\b/;

/** What stands above in a chain: the rule that ends it, and final rules by their text. */
interface Above {
  end: PlacedRule | undefined;
  readonly earlier: Map<string, PlacedRule>;
}

function deadRules({ placed, point }: LintInput): Finding[] {
  const found: Finding[] = [];
  const chains = new Map<string, Above>();
  const told = new Set<PlacedRule>();
  for (const rule of placed) {
    if (rule.kind === 'native') continue;
    const chain = `${rule.kind} ${rule.table} ${rule.chain}`;
    const above = chains.get(chain) ?? { end: undefined, earlier: new Map<string, PlacedRule>() };
    chains.set(chain, above);
    const { end } = above;
    const twin = above.earlier.get(rule.text);
    const by = end ?? twin;
    if (by !== undefined && !(end !== undefined && told.has(end))) {
      if (end !== undefined) told.add(end);
      const where = `${by.file}:${by.line}`;
      const why =
        end === undefined
          ? `the same rule stands in ${where}`
          : `${end.text} in ${where} ends the chain; nothing below it is reached`;
      found.push(finding('never-matches', point(rule, undefined), `this rule never matches: ${why}`));
    }
    if (endsChain(rule.text)) above.end = end ?? rule;
    if (twin === undefined && isFinal(rule.text)) above.earlier.set(rule.text, rule);
  }
  return found;
}

function isFinal(text: string): boolean {
  const target = targetOf(text);
  return target?.goto === false && FINAL.test(target.name) && !COUNTING.test(text);
}

/** What a rule that ends the chain begins with: words are made of few rules only. */
const BARE = /^-A \S+ (?:-j|-g|-m comment) /;

/** `-A INPUT -j DROP`, with a comment or without. */
function endsChain(text: string): boolean {
  if (!BARE.test(text)) return false;
  const found = words(text).slice(2);
  if (found[0] === '-m' && found[1] === 'comment') found.splice(0, 4);
  return found[0] === '-g' || (found[0] === '-j' && /^(?:ACCEPT|DROP|REJECT|RETURN)$/.test(found[1] ?? ''));
}

const DEVICE_OPTIONS = new Set(['-i', '-o', '--physdev-in', '--physdev-out']);
/** Interfaces that come and go with guests. */
const OF_GUESTS = /^(?:vnet|tap|vif|veth|macvtap|fwbr|fwln|fwpr)\d/;

function missingInterfaces({ placed, interfaces, point }: LintInput): Finding[] {
  if (interfaces === undefined) return [];
  const first = new Map<string, PlacedRule>();
  for (const rule of placed) {
    if (rule.kind === 'native' || !/ -[io] | --physdev-/.test(rule.text)) continue;
    words(rule.text).forEach((word, at, all) => {
      if (
        DEVICE_OPTIONS.has(all[at - 1] ?? '') &&
        !word.endsWith('+') &&
        !interfaces.has(word) &&
        !OF_GUESTS.test(word) &&
        !first.has(word)
      )
        first.set(word, rule);
    });
  }
  return [...first].map(([name, rule]) =>
    finding('missing-interface', point(rule, name), `there is no interface ${name} here now`),
  );
}

function lockOuts({ parts, placed, point }: LintInput): Finding[] {
  return (['ip', 'ip6'] as const).flatMap((family) => {
    const table = parts[family].tables.get('filter');
    const input = table?.chains.get('INPUT');
    if (table === undefined || input === undefined) return [];
    const closing = placed.find(
      (rule) => rule.kind === family && rule.table === 'filter' && rule.chain === 'INPUT' && isDropOfAll(rule.text),
    );
    if (input.policy !== 'DROP' && closing === undefined) return [];
    const rules = rulesFrom(table.chains, input);
    if (letsSshIn(rules)) return [];
    const any = closing ?? placed.find((rule) => rule.kind === family && rule.table === 'filter');
    const why = input.policy === 'DROP' ? 'the policy of INPUT is DROP' : (closing?.text ?? '');
    const said = `${why}, and no rule accepts ssh (tcp port 22) for new connections and their further packets: it locks you out`;
    return any === undefined ? [] : [finding('locks-out', point(any, undefined), said)];
  });
}

const isDropOfAll = (text: string): boolean => endsChain(text) && / -j (?:DROP|REJECT)\b/.test(text);

/** The rules of a chain and of the user's chains that it jumps to. */
function rulesFrom(chains: ReadonlyMap<string, UserChain>, start: UserChain): string[] {
  const seen = new Set<string>([start.name]);
  const texts: string[] = [];
  for (const name of seen) {
    for (const item of chains.get(name)?.items ?? []) {
      if (item.kind !== 'rule') continue;
      texts.push(item.text);
      const target = targetOf(item.text)?.name;
      if (target !== undefined && chains.has(target)) seen.add(target);
    }
  }
  return texts;
}

function letsSshIn(rules: readonly string[]): boolean {
  const accepts = rules.filter((text) => / -j ACCEPT\b/.test(text) && !/ -i lo\b/.test(text));
  const ssh = accepts.filter(couldBeSsh);
  const established = accepts.some((text) => /ESTABLISHED/.test(text));
  return ssh.some((text) => !/--(?:ct)?state /.test(text) || (/--(?:ct)?state \S*NEW/.test(text) && established));
}

/** No protocol, or tcp without ports, or with port 22 among them. */
function couldBeSsh(text: string): boolean {
  if (/ -p (?!tcp\b|all\b|6\b)/.test(text)) return false; // -p udp
  const ports = / --dports? (\S+)/.exec(text)?.[1];
  if (ports === undefined) return !/ ! --dport/.test(text) && !/ --(?:icmp|sport)/.test(text);
  return ports.split(',').some((port) => {
    const [low = '', high = low] = port.split(':'); // 22, ssh, 20:25
    return low === 'ssh' || (Number(low) <= 22 && 22 <= Number(high));
  });
}
