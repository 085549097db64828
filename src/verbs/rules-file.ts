// A file of rules given by name: iptables-save form, family by its name, each rule as iptables itself would print it.

import { asSaved } from '../apply/as-saved.ts';
import { HostError } from '../host/host.ts';
import type { PassContext } from '../pass/types.ts';
import { parseDocument } from '../ruleset/iptables/parse.ts';
import { printProblem } from '../ruleset/iptables/print.ts';
import type { Family, Ruleset } from '../ruleset/types.ts';
import { type Refusal, refused } from './types.ts';

export interface RulesFile {
  readonly kind: 'file';
  readonly path: string;
  readonly text: string;
  readonly ruleset: Ruleset;
}

/** `/etc/iptables/rules.v6`, `/etc/sysconfig/ip6tables`, `host.ip6tables-save.txt` are IPv6; every other name is IPv4. */
export function familyOfFile(path: string): Family {
  const name = path.slice(path.lastIndexOf('/') + 1);
  return /(?:v6|ip6)/i.test(name) ? 'ip6' : 'ip';
}

async function textOf({ files }: PassContext['host'], path: string): Promise<string | Refusal> {
  if (path === '') return refused('no-such-file', 'expected the name of a file, found ""');
  try {
    return (await files.read(path)) ?? refused('no-such-file', `${path}: there is no such file`);
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return refused('bad-rules-file', error.message);
  }
}

export async function readRulesFile(
  context: Pick<PassContext, 'host' | 'engines'>,
  path: string,
  family: Family = familyOfFile(path),
): Promise<RulesFile | Refusal> {
  const { host } = context;
  const text = await textOf(host, path);
  if (typeof text !== 'string') return text;
  if (/^\s*(?:table|add table|flush ruleset)\b/m.test(text)) {
    return refused(
      'bad-rules-file',
      `${path}: this is nft syntax; expected iptables-save form, as \`iptables-save\` prints it`,
    );
  }
  const { ruleset, problems } = parseDocument(text, family, path);
  if (problems.length > 0) return refused('bad-rules-file', problems.map(printProblem).join('\n'));
  const { engine } = (await context.engines.read())[family];
  const saved = await asSaved(host, engine === 'legacy' ? 'legacy' : 'nft', family, text, path);
  if (saved.kind === 'problems') return refused('bad-rules-file', saved.problems.map(printProblem).join('\n'));
  for (const { line, why } of saved.unchecked)
    host.log.write('warning', `${path}:${line}: not checked, taken as typed: ${why}`);
  return {
    kind: 'file',
    path,
    text,
    ruleset: saved.text === text ? ruleset : parseDocument(saved.text, family, path).ruleset,
  };
}
