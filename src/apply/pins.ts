// Translates pins with iptables' own tool, commits them with nft in one transaction, and reads what stands of them.
//
// Guarantees: of a refused input nothing is written; only tables named `mendwall` are touched.
// Does not: decide what is pinned, or when.

import type { Host } from '../host/host.ts';
import { PIN_TABLE, readTranslation, translationInput, type Translation } from '../plan/pin-text.ts';
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

/** Undefined when it is done, otherwise what nft said. */
export async function writePins({ exec }: Exec, text: string): Promise<string | undefined> {
  const { exitCode, stderr } = await exec({ file: 'nft', args: ['-f', '-'], input: text });
  if (exitCode === 0) return undefined;
  return stderr.split('\n').find((line) => line.trim() !== '') ?? `nft ended with ${exitCode} and said nothing`;
}

/** What stands of both tables, without counters; empty where none does. */
export async function standingPins({ exec }: Exec): Promise<string> {
  const lists = await Promise.all(
    FAMILIES.map((family) => exec({ file: 'nft', args: ['-s', 'list', 'table', family, PIN_TABLE] })),
  );
  return lists.map(({ exitCode, stdout }) => (exitCode === 0 ? stdout : '')).join('');
}
