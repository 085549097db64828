// Translates pins with iptables' own tool, commits them with nft in one transaction, and reads what stands of them.
//
// Guarantees: of a refused input nothing is written; only tables named `mendwall` are touched.
// Does not: decide what is pinned, or when.

import type { Host } from '../host/host.ts';
import { PIN_TABLE, pinText, readTranslation, translationInput, type Translation } from '../plan/pin-text.ts';
import type { PinPlan } from '../plan/pin.ts';
import { FAMILIES, type Family } from '../ruleset/types.ts';

type Exec = Pick<Host, 'exec'>;

const TRANSLATE: Readonly<Record<Family, string>> = {
  ip: 'iptables-restore-translate',
  ip6: 'ip6tables-restore-translate',
};

/** One line of nft's words a rule. Without the tool (it comes with iptables 1.8) no rule has a translation. */
export async function translatePins({ exec }: Exec, plan: PinPlan): Promise<Translation> {
  if (plan.chains.length === 0) return { kind: 'translated', lines: [] };
  // It reads files only, and standard input is a socket here: a file by the name of /dev/stdin it is as a pipe.
  const script = `cat | ${TRANSLATE[plan.family]} -f /dev/stdin`;
  const { stdout } = await exec({ file: 'sh', args: ['-c', script], input: translationInput(plan) });
  return readTranslation(plan, stdout);
}

/** Undefined when it is done, otherwise what nft said. The tables belong to nobody then. */
export async function writePins(
  host: Exec,
  tables: Parameters<typeof pinText>[0],
  mark: string,
): Promise<string | undefined> {
  const refused = await runNft(host, pinText(tables, mark));
  if (refused === undefined) return undefined;
  const left = await leftTables(host);
  return left.size === 0 ? refused : runNft(host, pinText(tables, mark, { left }));
}

async function runNft({ exec }: Exec, input: string): Promise<string | undefined> {
  const { exitCode, stderr } = await exec({ file: 'nft', args: ['-f', '-'], input });
  if (exitCode === 0) return undefined;
  return stderr.split('\n').find((line) => line.trim() !== '') ?? `nft ended with ${exitCode} and said nothing`;
}

/** Tables that an nft of ours held and left behind: `flags persist`, and nothing behind `flags` where nft does not know the word. */
async function leftTables(host: Exec): Promise<ReadonlySet<Family>> {
  const lists = await Promise.all(FAMILIES.map((family) => listPins(host, family)));
  return new Set(FAMILIES.filter((_, at) => /^\tflags (?:persist)?$/m.test(lists[at] ?? '')));
}

/** What stands of both tables, without counters; empty where none does. */
export async function standingPins(host: Exec): Promise<string> {
  return (await Promise.all(FAMILIES.map((family) => listPins(host, family)))).join('');
}

async function listPins({ exec }: Exec, family: Family): Promise<string> {
  const { exitCode, stdout } = await exec({ file: 'nft', args: ['-s', 'list', 'table', family, PIN_TABLE] });
  return exitCode === 0 ? stdout : '';
}
