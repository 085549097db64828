// The tables that ebtables and arptables keep in nftables, by their own save programs.
// Guarantees: reads only; asked only where nft names such a table, so a host without one pays nothing; what cannot be read is said,
// never empty. Does not: run a save program of the legacy engine, which would load its modules and make its tables.
// Cost: one program (3 ms) for each family that has a table, and once per process one to tell the engine.

import type { Host } from '../host/host.ts';
import { isSavedKey, parseSaved, SAVED_FAMILIES, type SavedFamily } from '../ruleset/nft/saved.ts';
import { type NftTable, tableKey } from '../ruleset/nft/types.ts';
import type { Misprint } from './native-look.ts';
import { savedMisprints } from './saved-rules.ts';

export interface Unread {
  /** `bridge nat` */
  readonly key: string;
  readonly why: string;
}

export interface SavedRead {
  readonly tables: readonly NftTable[];
  /** Tables that stand, and could not be read. */
  readonly unread: readonly Unread[];
}

const NOTHING: SavedRead = { tables: [], unread: [] };

type Door = Pick<Host, 'exec'>;
/** ``# Table `filter' contains incompatible base-chains, use 'nft' tool to list them.``, with exit code 0 and an empty table */
const INCOMPATIBLE = /^# Table `([^'\n]+)' (?:contains|is) incompatible/gm;
const TOOL = { bridge: 'ebtables', arp: 'arptables' } as const;

/** `names`: what `nft list flowtables` printed, all tables by their names. */
export async function readSaved(host: Door, names: string): Promise<SavedRead> {
  const keys = names.split('\n').flatMap((line) => /^table (\S+ \S+) \{$/.exec(line.trimEnd())?.[1] ?? []);
  const standing = keys.filter(isSavedKey);
  const reads = await Promise.all(
    SAVED_FAMILIES.map((family) => {
      const mine = standing.filter((key) => key.startsWith(`${family} `));
      return mine.length === 0 ? Promise.resolve(NOTHING) : readFamily(host, family, mine);
    }),
  );
  return { tables: reads.flatMap(({ tables }) => tables), unread: reads.flatMap(({ unread }) => unread) };
}

async function readFamily(host: Door, family: SavedFamily, keys: readonly string[]): Promise<SavedRead> {
  const fail = (why: string): SavedRead => ({ tables: [], unread: keys.map((key) => ({ key, why })) });
  const engine = await engineOf(host, TOOL[family]);
  if (engine !== undefined) return fail(engine);
  const { exitCode, stdout, stderr } = await host.exec({ file: `${TOOL[family]}-save`, args: [] });
  if (exitCode !== 0) return fail(`${TOOL[family]}-save ended with ${exitCode}: ${stderr.trim().split('\n')[0] ?? ''}`);
  const alien = new Set([...(stdout + stderr).matchAll(INCOMPATIBLE)].map(([, name = '']) => name));
  const { tables, problems } = parseSaved(stdout, family, `${TOOL[family]}-save`);
  const [problem] = problems;
  if (problem !== undefined) return fail(`line ${problem.line} of ${TOOL[family]}-save: ${problem.message}`);
  const whys = new Map([
    ...[...alien].map((name) => [name, `${TOOL[family]} cannot show what nft put into it${MOVE}`] as const),
    ...(await savedMisprints(host, family, tables)).map(
      (misprint) => [misprint.table, misprintWhy(family, misprint)] as const,
    ),
  ]);
  const whole = tables.filter(({ name }) => !whys.has(name));
  const unread = keys.filter((key) => !whole.some((table) => key === tableKey(table)));
  const whyOf = (key: string): string => whys.get(key.split(' ')[1] ?? '') ?? `${TOOL[family]}-save leaves it out`;
  return { tables: whole, unread: unread.map((key) => ({ key, why: whyOf(key) })) };
}

const MOVE = '; move it into a table of another name';
const misprintWhy = (family: SavedFamily, { chain, text }: Misprint): string =>
  `chain ${chain} holds a native nft rule, which ${TOOL[family]}-save shows as another: ${text}${MOVE}`;

const engines = new WeakMap<Host['exec'], Map<string, string>>();

/** Why the tool says nothing about nftables' tables; undefined: it works on them. Only a good answer is kept. */
async function engineOf({ exec }: Door, tool: string): Promise<string | undefined> {
  const known = engines.get(exec) ?? new Map<string, string>();
  engines.set(exec, known);
  const said = known.get(tool) ?? (await askEngine({ exec }, tool));
  if (!said.includes('(nf_tables)')) return `${tool} does not work on nf_tables: ${said}`;
  known.set(tool, said);
  return undefined;
}

/** `ebtables 1.8.9 (nf_tables)`, `ebtables v2.0.11 (legacy) (December 2011)` */
async function askEngine({ exec }: Door, tool: string): Promise<string> {
  const { exitCode, stdout, stderr } = await exec({ file: tool, args: ['-V'] });
  return exitCode === 0 ? stdout.trim() : stderr.trim();
}
