// `debug parse` and `debug classify`, and how the filters read their input.

import { classify, type Classified } from '../classify/classify.ts';
import { HostError } from '../host/host.ts';
import { useConfiguredOwners } from '../owners/index.ts';
import type { Claim } from '../owners/types.ts';
import { readNetworkFiles } from '../observe/networks.ts';
import { type Document, parseDocument } from '../ruleset/iptables/parse.ts';
import { printDocument, printProblem } from '../ruleset/iptables/print.ts';
import type { Network } from '../ruleset/network.ts';
import { parseNft } from '../ruleset/nft/parse.ts';
import { printNft } from '../ruleset/nft/print.ts';
import type { NftRuleset } from '../ruleset/nft/types.ts';
import type { Family, Problem } from '../ruleset/types.ts';
import type { DebugOptions } from './debug.ts';
import { EXIT, Stop } from './exit-codes.ts';
import { openConfig, type Session } from './session.ts';

export async function parse(session: Session, file: string | undefined, options: DebugOptions): Promise<number> {
  // Byte for byte, so nothing is made safe for a terminal here.
  if (engineOf(options) === 'nft') session.terminal.out(printNft(await readListing(session, file)));
  else session.terminal.out(printDocument(await readDocument(session, file, familyOf(options))));
  return EXIT.ok;
}

/** `--engine`: whose text it is. Throws Stop 2. */
export function engineOf({ engine = 'iptables' }: DebugOptions): 'iptables' | 'nft' {
  if (engine === 'iptables' || engine === 'nft') return engine;
  throw new Stop(EXIT.usage, `--engine: expected iptables or nft, found "${engine}"`);
}

/** `--family`. Throws Stop 2. */
export function familyOf({ family }: DebugOptions): Family {
  if (family === undefined || family === 'ip' || family === 'ip6') return family ?? 'ip';
  throw new Stop(EXIT.usage, `--family: expected ip or ip6, found "${family}"`);
}

/** Reads a file or standard input. Throws Stop 2 with every problem, `FILE:LINE:COLUMN: code: message`. */
export async function readDocument(session: Session, file: string | undefined, family: Family): Promise<Document> {
  return withoutProblems(session, parseDocument(await readText(session, file), family, file ?? '-'));
}

/** The same for what `nft list ruleset` prints. */
export async function readListing(session: Session, file: string | undefined): Promise<NftRuleset> {
  return withoutProblems(session, parseNft(await readText(session, file), file ?? '-'));
}

async function readText(session: Session, file = '-'): Promise<string> {
  const text =
    file === '-'
      ? await session.terminal.readInput()
      : await session.terminal.makeHost({ ownFolders: [] }).files.read(file);
  if (text === undefined) throw new Stop(EXIT.usage, `${file}: there is no such file`);
  return text;
}

function withoutProblems<Parsed extends { readonly problems: readonly Problem[] }>(
  session: Session,
  parsed: Parsed,
): Parsed {
  if (parsed.problems.length === 0) return parsed;
  session.terminal.err(`${parsed.problems.map(printProblem).join('\n')}\n`);
  throw new Stop(EXIT.usage, '');
}

/** The definitions of `--networks`; undefined without it. Throws Stop 2. */
export async function readNetworks(
  session: Session,
  { networks }: DebugOptions,
): Promise<readonly Network[] | undefined> {
  if (networks === undefined) return undefined;
  const read = await readNetworkFiles(session.terminal.makeHost({ ownFolders: [] }).files, networks);
  const [problem] = read.problems;
  if (problem !== undefined) throw new Stop(EXIT.usage, `${problem.file}: ${problem.code}: ${problem.message}`);
  // Given by hand means running: a plain `virsh net-dumpxml` does not say.
  return read.networks.map((network) => ({ ...network, active: true }));
}

/** The owners of the configuration, if there is one that this user may read. Throws Stop 2 for one that is wrong. */
export async function useOwners(session: Session): Promise<void> {
  try {
    useConfiguredOwners((await openConfig(session)).config.owners);
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
  }
}

interface Row extends Claim {
  readonly table: string;
  readonly chain: string;
  readonly text: string;
}

export async function classifyText(session: Session, file: string | undefined, options: DebugOptions): Promise<number> {
  await useOwners(session);
  const document = await readDocument(session, file, familyOf(options));
  const rows = rowsOf(document, classify(document.ruleset, await readNetworks(session, options)));
  if (session.options.json === true) session.printJson({ kind: 'debug-classify', family: familyOf(options), rows });
  else if (rows.length > 0)
    session.print(
      rows
        .map(({ owner, evidence, table, chain, text }) => [owner, evidence, table, chain, text].join('\t'))
        .join('\n'),
    );
  return EXIT.ok;
}

/** The document's chains and rules in its own order, each with its claim. */
function rowsOf(document: Document, classified: Classified): Row[] {
  const rows: Row[] = [];
  const next = new Map<string, number>();
  let table = '';
  for (const line of document.lines) {
    if (line.kind === 'table') table = line.table;
    if (line.kind === 'chain') {
      const claim = classified.tables.get(table)?.chains.get(line.chain)?.claim;
      if (claim !== undefined) rows.push({ ...claim, table, chain: line.chain, text: line.source.trimEnd() });
    }
    if (line.kind === 'rule') {
      const { chain } = line.rule;
      const key = `${table} ${chain}`;
      const index = next.get(key) ?? 0;
      next.set(key, index + 1);
      const claim = classified.tables.get(table)?.chains.get(chain)?.claims[index];
      if (claim !== undefined) rows.push({ ...claim, table, chain, text: line.source.trimEnd() });
    }
  }
  return rows;
}
