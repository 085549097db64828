// `debug parse` and `debug classify`, and how the filters read their input.

import { classify, type Classified } from '../classify/classify.ts';
import { HostError } from '../host/host.ts';
import { useConfiguredOwners } from '../owners/index.ts';
import type { Claim } from '../owners/types.ts';
import { readNetworkFiles } from '../observe/networks.ts';
import { type Document, parseDocument } from '../ruleset/iptables/parse.ts';
import { printDocument, printProblem } from '../ruleset/iptables/print.ts';
import type { Network } from '../ruleset/network.ts';
import type { Family } from '../ruleset/types.ts';
import type { DebugOptions } from './debug.ts';
import { EXIT, Stop } from './exit-codes.ts';
import { openConfig, type Session } from './session.ts';

export async function parse(session: Session, file: string | undefined, options: DebugOptions): Promise<number> {
  const document = await readDocument(session, file, familyOf(options));
  // Byte for byte, so nothing is made safe for a terminal here.
  session.terminal.out(printDocument(document));
  return EXIT.ok;
}

/** `--family`. Throws Stop 2. */
export function familyOf({ family }: DebugOptions): Family {
  if (family === undefined || family === 'ip' || family === 'ip6') return family ?? 'ip';
  throw new Stop(EXIT.usage, `--family: expected ip or ip6, found "${family}"`);
}

/** Reads a file or standard input. Throws Stop 2 with every problem, `FILE:LINE:COLUMN: code: message`. */
export async function readDocument(session: Session, file: string | undefined, family: Family): Promise<Document> {
  const name = file ?? '-';
  const text =
    name === '-'
      ? await session.terminal.readInput()
      : await session.terminal.makeHost({ ownFolders: [] }).files.read(name);
  if (text === undefined) throw new Stop(EXIT.usage, `${name}: there is no such file`);
  const document = parseDocument(text, family, name);
  if (document.problems.length === 0) return document;
  session.terminal.err(`${document.problems.map(printProblem).join('\n')}\n`);
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
