// Looks with nft at chains whose rules another program printed, for rules that this program misprints.
// Goals: each chain is looked at when a rule stands there that never stood there before, or not so often; else the last look counts.
// Cost: one `nft -j list chain` (5 ms) for each such chain, or one a table when there are many; a table of 1,000 rules 0.1 s.
// Does not: know what is misprinted (native-rules.ts for iptables, saved-rules.ts for ebtables and arptables).

import type { Host } from '../host/host.ts';
import type { NftFamily } from '../ruleset/nft/types.ts';

/** `filter INPUT` -> its rules' texts as printed, and how often each stands; chains without rules are left out. */
export type PrintedChains = ReadonlyMap<string, ReadonlyMap<string, number>>;

/** A rule that is not what was printed of it, as nft lists it. */
export interface Misprint {
  readonly table: string;
  readonly chain: string;
  readonly text: string;
}

export interface Looking {
  /** The expressions of one rule, as `nft -j` has them: is it printed as another? */
  readonly isMisprinted: (expressions: readonly unknown[]) => boolean;
  /** Only what the last look found. */
  readonly fast?: boolean;
}

type Door = Pick<Host, 'exec'>;

interface Looked {
  /** How often each rule, as iptables-save prints it, has stood here and was looked at. */
  readonly seen: ReadonlyMap<string, number>;
  /** The native rule that was found there. */
  readonly found: string | undefined;
}

/** By host and family: chains (`filter INPUT`) as they were at the last look. */
const looked = new WeakMap<Host['exec'], Map<NftFamily, ReadonlyMap<string, Looked>>>();
/** Beyond this many chains to look at, whole tables are listed. */
const MOST_CHAINS = 3;

/** The first such rule of each chain. */
export async function findMisprints(
  host: Door,
  family: NftFamily,
  chains: PrintedChains,
  { isMisprinted, fast = false }: Looking,
): Promise<Misprint[]> {
  const families = looked.get(host.exec) ?? new Map<NftFamily, ReadonlyMap<string, Looked>>();
  looked.set(host.exec, families);
  const before = families.get(family) ?? new Map<string, Looked>();
  if (fast) return allFound(before);
  const changed = [...chains].filter(([place, rules]) => isNews(before.get(place), rules)).map(([place]) => place);
  const found = changed.length === 0 ? new Map<string, string>() : await foundIn(host, family, changed, isMisprinted);
  const now = new Map(before);
  for (const [place, { found: native }] of before) if (native !== undefined && !chains.has(place)) now.delete(place);
  for (const place of changed) {
    const native = found.get(place);
    const seen = before.get(place)?.seen ?? new Map<string, number>();
    // What a native rule is printed as is not learnt: when it comes back it is looked at again.
    now.set(place, {
      seen: native === undefined ? mostOf(seen, chains.get(place) ?? new Map()) : seen,
      found: native,
    });
  }
  families.set(family, now);
  return allFound(now);
}

/** Rules that come back after a flush were looked at before: only one that never stood here, or not so often, is news. */
function isNews(before: Looked | undefined, rules: ReadonlyMap<string, number>): boolean {
  if (before === undefined || before.found !== undefined) return true;
  return [...rules].some(([text, count]) => count > (before.seen.get(text) ?? 0));
}

function mostOf(before: ReadonlyMap<string, number>, now: ReadonlyMap<string, number>): Map<string, number> {
  const most = new Map(before);
  for (const [text, count] of now) most.set(text, Math.max(count, most.get(text) ?? 0));
  return most;
}

const allFound = (chains: ReadonlyMap<string, Looked>): Misprint[] =>
  [...chains].flatMap(([place, { found }]) => {
    const [table = '', chain = ''] = place.split(' ');
    return found === undefined ? [] : [{ table, chain, text: found }];
  });

/** The first rule of each of these chains that is misprinted, as nft lists it. */
async function foundIn(
  host: Door,
  family: NftFamily,
  places: readonly string[],
  isMisprinted: Looking['isMisprinted'],
): Promise<Map<string, string>> {
  const tables = new Set(places.map((place) => place.split(' ')[0] ?? ''));
  const lists =
    places.length > MOST_CHAINS
      ? [...tables].map((table) => ['list', 'table', family, table])
      : places.map((place) => ['list', 'chain', family, ...place.split(' ')]);
  const results = await Promise.all(lists.map((list) => host.exec({ file: 'nft', args: ['-j', ...list] })));
  const found = new Map<string, string>();
  // Without nft, or on the legacy engine, there is nothing native in iptables' tables.
  for (const { stdout } of results.filter(({ exitCode }) => exitCode === 0)) {
    for (const rule of rulesIn(stdout)) {
      const place = `${rule.table} ${rule.chain}`;
      if (!found.has(place) && isMisprinted(rule.expr)) found.set(place, await asListed(host, family, rule));
    }
  }
  return found;
}

/** `tcp dport { 80, 443 } accept`; nft's JSON when it cannot be had. */
export async function asListed(
  host: Door,
  family: NftFamily,
  { table, chain, expr, handle }: JsonRule,
): Promise<string> {
  const { stdout } = await host.exec({ file: 'nft', args: ['-s', '-a', 'list', 'chain', family, table, chain] });
  const line = stdout.split('\n').find((text) => text.endsWith(` # handle ${handle}`));
  return line === undefined ? JSON.stringify(expr) : line.slice(0, line.lastIndexOf(' # handle')).trim();
}

export interface JsonRule {
  readonly table: string;
  readonly chain: string;
  readonly expr: readonly unknown[];
  readonly handle: unknown;
}

export function rulesIn(json: string): JsonRule[] {
  const entries = field(parseJson(json), 'nftables');
  return !Array.isArray(entries)
    ? []
    : entries.flatMap((entry: unknown) => {
        const rule = field(entry, 'rule');
        const [table, chain, expr] = [field(rule, 'table'), field(rule, 'chain'), field(rule, 'expr')];
        return typeof table === 'string' && typeof chain === 'string' && Array.isArray(expr)
          ? [{ table, chain, expr, handle: field(rule, 'handle') }]
          : [];
      });
}

/** `value.name`, of what nft printed; undefined where there is none. */
export function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
