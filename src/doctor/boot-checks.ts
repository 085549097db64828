// What loads rules at boot and at a reload, and what of it wipes or brings back others' rules. Pure.

import { classify } from '../classify/classify.ts';
import { parseDocument } from '../ruleset/iptables/parse.ts';
import type { Network } from '../ruleset/network.ts';
import { isBuiltin } from '../ruleset/types.ts';
import { MENDWALL, USER } from '../ruleset/user-part.ts';
import { targetOf } from './chains.ts';
import { groupedBy } from './libvirt-checks.ts';
import { type BootRules, type Check, fail, type Facts, type Finding, judged, pass, skip, warn } from './types.ts';

// ---- flush ruleset

/** `flush ruleset` takes everybody's rules: libvirt's, Docker's, fail2ban's. */
export const flushRuleset: Check = {
  id: 'flush-ruleset',
  judge: (facts) => {
    const unread = facts.nftFiles.flatMap(({ path, text }) =>
      text.kind === 'unread' ? [skip(`${path}: ${text.why}`)] : [],
    );
    const found = facts.nftFiles.flatMap(({ path, text }) => {
      const lines = text.kind === 'read' ? linesWith(text.value ?? '', /^\s*flush\s+ruleset\b/) : [];
      return lines.length === 0 ? [] : [{ path, lines }];
    });
    if (found.length === 0) return unread.length > 0 ? unread : [pass('no file of nftables’ holds `flush ruleset`')];
    const places = found.map(({ path, lines }) => `${path}:${lines.join(',')}`).join(', ');
    return [...unread, ...judged(facts.enabled, '', (units) => [flushFinding(facts, units, places, found)])];
  },
};

function flushFinding(
  facts: Facts,
  units: ReadonlySet<string>,
  places: string,
  found: readonly { readonly path: string }[],
): Finding {
  if (!units.has('nftables.service'))
    return pass(`\`flush ruleset\` stands at ${places}, but nftables.service does not start at boot`);
  const paste = found.map(({ path }) => `sed -i.bak 's/^[[:space:]]*flush ruleset.*/${scopedFlush(facts)}/' ${path}`);
  return warn(
    `${places}: \`flush ruleset\` takes everybody’s rules at boot and at each reload of nftables.service`,
    paste.join('; '),
  );
}

/** `table inet filter; delete table inet filter`: makes it where it is not, so that deleting it cannot fail. */
function scopedFlush({ nftFiles }: Facts): string {
  const texts = nftFiles.map(({ text }) => (text.kind === 'read' ? (text.value ?? '') : ''));
  const tables = texts.flatMap((text) => [...text.matchAll(/^\s*table (?:(\w+) )?([\w.-]+)\s*\{/gm)]); // table inet filter {
  const names = new Set(tables.map(([, family = 'ip', name = '']) => `${family} ${name}`));
  return [...names].map((name) => `table ${name}; delete table ${name}`).join('; ');
}

const linesWith = (text: string, form: RegExp): number[] =>
  text.split('\n').flatMap((line, at) => (form.test(line) ? [at + 1] : []));

// ---- rules.v4 with others' rules in it

/** A save takes what libvirt, Docker and fail2ban had at that moment; loading it brings that back, stale. */
export const staleBootRules: Check = {
  id: 'stale-boot-rules',
  judge: ({ bootRules, rules }) => {
    const networks = rules.kind === 'read' ? rules.value.networks : [];
    const there = bootRules.filter(({ text }) => text.kind === 'unread' || text.value !== undefined);
    if (there.length === 0) return [pass('there is no file of saved rules')];
    return there.map((file) => judgeFile(file, networks));
  },
};

function judgeFile({ family, path, text }: BootRules, networks: readonly Network[]): Finding {
  if (text.kind === 'unread') return skip(`${path}: ${text.why}`);
  const source = text.value ?? '';
  const { ruleset, problems } = parseDocument(source, family, path);
  const [problem] = problems;
  if (problem !== undefined)
    return fail(
      `${path}:${problem.line}: ${problem.message}; iptables-restore loads nothing of it`,
      `${family === 'ip' ? 'iptables' : 'ip6tables'}-restore --test ${path}`,
    );
  const foreign = foreignLines(source, classify(ruleset, networks.length === 0 ? undefined : networks));
  if (foreign.length === 0) return pass(`${path}: only rules of yours`);
  const owners = [...groupedBy(foreign, ({ owner }) => owner)].map(
    ([owner, lines]) => `${owner}’s ${linesText(lines.map(({ line }) => line))}`,
  );
  const ranges = rangesOf(foreign.map(({ line }) => line));
  const cut = ranges.map(([first, last]) => (first === last ? `${first}d` : `${first},${last}d`)).join(';');
  return warn(
    `${path} brings back others’ rules as they were when it was saved: ${owners.join('; ')}`,
    `sed -i.bak '${cut}' ${path}`,
  );
}

interface ForeignLine {
  readonly line: number;
  readonly owner: string;
}

/** Rules of others, and their chains where nothing of the user's is in there or leads there. */
function foreignLines(source: string, { tables }: ReturnType<typeof classify>): ForeignLine[] {
  const found: ForeignLine[] = [];
  let table = '';
  const seen = new Map<string, number>();
  source.split('\n').forEach((text, at) => {
    if (text.startsWith('*')) table = text.slice(1).trim();
    const owner = text.startsWith(':') ? chainOwner(tables.get(table), text) : ruleOwner(tables.get(table), text, seen);
    if (owner !== undefined && owner !== USER && owner !== MENDWALL) found.push({ line: at + 1, owner });
  });
  return found;
}

type Saved = ReturnType<typeof classify>['tables'] extends ReadonlyMap<string, infer T> ? T : never;

/** `:LIBVIRT_INP - [0:0]` */
function chainOwner(table: Saved | undefined, text: string): string | undefined {
  const entry = table?.chains.get(/^:(\S+)/.exec(text)?.[1] ?? '');
  if (table === undefined || entry === undefined || isBuiltin(entry.chain)) return undefined;
  const isUsed = [...table.chains.values()].some(({ chain, claims }) =>
    chain.rules.some((rule, at) => {
      const isKept = claims[at]?.owner === USER || claims[at]?.owner === MENDWALL;
      return isKept && (chain === entry.chain || targetOf(rule.text) === entry.chain.name);
    }),
  );
  return isUsed ? undefined : entry.claim.owner;
}

/** `-A INPUT -j LIBVIRT_INP`, `[12:345] -A INPUT ...`; the nth rule of a chain in the text is its nth in the model. */
function ruleOwner(table: Saved | undefined, text: string, seen: Map<string, number>): string | undefined {
  const chain = /^(?:\[\d+:\d+\] )?-A (\S+)/.exec(text)?.[1];
  if (table === undefined || chain === undefined) return undefined;
  const key = `${table.name} ${chain}`;
  const nth = seen.get(key) ?? 0;
  seen.set(key, nth + 1);
  return table.chains.get(chain)?.claims[nth]?.owner;
}

/** `lines 3-5, 9` */
function linesText(lines: readonly number[]): string {
  const texts = rangesOf(lines).map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`));
  return `line${lines.length === 1 ? '' : 's'} ${texts.join(', ')}`;
}

function rangesOf(lines: readonly number[]): [number, number][] {
  const ranges: [number, number][] = [];
  for (const line of [...lines].sort((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === line - 1) last[1] = line;
    else ranges.push([line, line]);
  }
  return ranges;
}
