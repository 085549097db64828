// Which rule files there are, and their texts: found, trusted, rendered. Order is that of the names, or of the arguments.
// Guarantees: a file that others may write is refused; a plain file is never rendered; a template sees checked data only.

import type { Config } from '../config.ts';
import type { Host } from '../host/host.ts';
import { didYouMean } from '../nearest.ts';
import type { Network } from '../ruleset/network.ts';
import { isBackup, kindOfFile, type RuleName, ruleName } from '../rules/names.ts';
import { finding, type Finding, type RuleSource } from '../rules/types.ts';
import { readVariables, type Variables } from './rule-variables.ts';
import { readTrusted } from './trusted-file.ts';

export interface Sources {
  readonly sources: readonly RuleSource[];
  readonly problems: readonly Finding[];
  readonly warnings: readonly Finding[];
}

/** Read when the folder of rule files holds none: what the host loads at boot (iptables-persistent, iptables-services, nftables). */
export const BOOT_SOURCES: readonly (readonly string[])[] = [
  ['/etc/iptables/rules.v4', '/etc/iptables/rules.v6'],
  ['/etc/sysconfig/iptables', '/etc/sysconfig/ip6tables'],
  ['/etc/nftables.conf', '/etc/sysconfig/nftables.conf'],
];

interface Reading {
  readonly host: Host;
  readonly uid: number;
  readonly problems: Finding[];
  readonly warnings: Finding[];
  readonly variables: () => Promise<Variables>;
}

export async function readSources(
  host: Host,
  config: Config,
  networks: readonly Network[],
  options: { readonly files: readonly string[] | undefined; readonly uid: number },
): Promise<Sources> {
  let variables: Promise<Variables> | undefined;
  const reading: Reading = {
    host,
    uid: options.uid,
    problems: [],
    warnings: [],
    // Only templates ask for them.
    variables: () => (variables ??= readVariables(host, config.vars, networks, options.uid)),
  };
  const sources: RuleSource[] = [];
  for (const path of options.files ?? (await pathsOf(reading, config.rulesDir)))
    sources.push(...(await readSource(reading, path)));
  if (variables !== undefined) {
    const told = await variables;
    reading.problems.push(...told.problems);
    reading.warnings.push(...told.warnings);
  }
  return { sources, problems: reading.problems, warnings: reading.warnings };
}

/** The rule files of the folder; without one, the files that the host loads at boot. */
async function pathsOf({ host: { files }, problems, warnings }: Reading, folder: string): Promise<string[]> {
  const names = await files.list(folder);
  const paths = names.filter((name) => ruleName(name) !== undefined).map((name) => `${folder}/${name}`);
  for (const name of names) {
    if (ruleName(name) !== undefined || isBackup(name)) continue;
    const said = 'the name ends in none of .v4, .v6, .nft, .v4.j2, .v6.j2, .nft.j2, so it is not read';
    warnings.push(finding('unread-file', { file: `${folder}/${name}`, line: 0, column: 0 }, said));
  }
  if (paths.length > 0) return paths;
  const boot = await Promise.all(BOOT_SOURCES.flat().map(async (path) => ((await files.exists(path)) ? [path] : [])));
  const found = boot.flat();
  if (found.length === 0) {
    const said = `no rule file here, and none that a host loads at boot; write one, as in ${folder}/10-base.v4, or \`mendwall import FILE\``;
    problems.push(finding('no-rules', { file: folder, line: 0, column: 0 }, said));
  }
  return found;
}

async function readSource(reading: Reading, path: string): Promise<RuleSource[]> {
  const whole = { file: path, line: 0, column: 0 };
  const read = await readTrusted(reading.host.files, path, reading.uid);
  if (read.kind !== 'text') {
    const why = read.kind === 'missing' ? 'there is no such file' : read.why;
    reading.problems.push(finding(read.kind === 'unsafe' ? 'unsafe-file' : 'no-rules', whole, why));
    return [];
  }
  const { kind, template } = kindOfFile(path, read.text);
  if (template) return render(reading, path, kind, read.text);
  const lines = read.text.split('\n').map((_, index) => index + 1);
  return [{ file: path, kind, template, written: read.text, text: read.text, lines }];
}

async function render(reading: Reading, path: string, kind: RuleName['kind'], written: string): Promise<RuleSource[]> {
  const { renderTemplate } = await import('../host/template.ts');
  const { values } = await reading.variables();
  const rendered = await renderTemplate(written, path, values);
  if (rendered.kind === 'text')
    return [{ file: path, kind, template: true, written, text: rendered.text, lines: rendered.lines }];
  for (const { code, line, column, message, word, known } of rendered.problems) {
    const hint = word === undefined || known === undefined ? '' : nearest(word, known);
    reading.problems.push(finding(code, { file: path, line, column }, `${message}${hint}`));
  }
  return [];
}

function nearest(word: string, known: readonly string[]): string {
  const hint = didYouMean(word, known);
  const few = known.slice(0, 12).join(', ');
  return hint === '' && known.length > 0 ? `; there is ${few}${known.length > 12 ? ', ...' : ''}` : hint;
}
