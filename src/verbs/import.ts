// `import FILE`: an old rules file as a file of rules.d. What old iptables wrote is respelled, what belongs to a neighbour is
// left out and named, line by line; comments and order stay.
// Guarantees: changes no live rule; an existing file is never overwritten unless asked; with a problem nothing is written.

import type { Config } from '../config.ts';
import type { Host } from '../host/host.ts';
import { keepsSlot, ownerOfChain } from '../owners/index.ts';
import type { Family } from '../ruleset/types.ts';
import type { UserPart } from '../ruleset/user-part.ts';
import { type TranslatedLine, translate, withoutNeighbours } from '../rules/import.ts';
import { kindOfFile } from '../rules/names.ts';
import { type Finding, printFinding, type RuleKind, type RuleSource } from '../rules/types.ts';
import { type LoadedRules, loadSources } from './load-rules.ts';
import { readTrusted } from './trusted-file.ts';
import { type Refusal, refused } from './types.ts';

export interface ImportArgs {
  readonly file: string;
  /** `20-old`: the new file's name without its end; default: made of the old one's. */
  readonly name: string | undefined;
  readonly family: Family | undefined;
  readonly force: boolean;
  readonly dryRun: boolean;
  readonly uid: number;
}

export interface ImportResult {
  readonly kind: 'import';
  readonly changed: boolean;
  readonly from: string;
  readonly to: string;
  readonly text: string;
  readonly rules: number;
  readonly translated: readonly TranslatedLine[];
  readonly leftOut: readonly {
    readonly line: number;
    readonly owner: string;
    readonly evidence: string;
    readonly text: string;
  }[];
  readonly warnings: readonly Finding[];
  readonly judged: boolean;
}

export async function importFile(host: Host, config: Config, args: ImportArgs): Promise<ImportResult | Refusal> {
  const read = await readTrusted(host.files, args.file, args.uid);
  if (read.kind === 'missing') return refused('no-such-file', `${args.file}: there is no such file`);
  if (read.kind !== 'text') return refused('bad-rules-file', `${args.file}: ${read.why}`);
  const named = kindOfFile(args.file, read.text);
  const kind = named.kind === 'native' ? 'native' : (args.family ?? named.kind);
  const to = `${config.rulesDir}/${args.name ?? nameFor(args.file)}.${END[kind]}`;
  if (!args.force && !args.dryRun && (await host.files.exists(to)))
    return refused('file-exists', `${to} is there already; \`--force\` replaces it, \`--name\` gives another name`);
  const { text, changed } = kind === 'native' ? withoutFlush(read.text) : translate(read.text);
  const loaded = await loadSources(host, config, {
    sources: [sourceOf(args.file, kind, text)],
    problems: [],
    warnings: [],
  });
  if (loaded.problems.length > 0) return refused('bad-rules-file', loaded.problems.map(printFinding).join('\n'));
  const foreign = loaded.leftOut.filter(({ table }) => kind === 'native' && table !== '');
  if (foreign.length > 0)
    return refused(
      'bad-rules-file',
      foreign
        .map(
          (rule) =>
            `${args.file}:${rule.line}:1: neighbours-rule: ${rule.text} is ${rule.owner}'s; take it out of a copy of the file`,
        )
        .join('\n'),
    );
  const kept =
    kind === 'native'
      ? text
      : withoutNeighbours(text, loaded.leftOut, foreignChains(text, loaded.rules[kind]), keepsSlot);
  if (!args.dryRun) {
    await host.files.makeDir(config.rulesDir);
    await host.files.writeAtomic(to, kept);
  }
  return resultOf(args, to, kept, changed, loaded);
}

const END: Readonly<Record<RuleKind, string>> = { ip: 'v4', ip6: 'v6', native: 'nft' };

const sourceOf = (file: string, kind: RuleKind, text: string): RuleSource => ({
  file,
  kind,
  template: false,
  written: text,
  text,
  lines: text.split('\n').map((_, index) => index + 1),
});

/** `/etc/sysconfig/iptables` -> `50-iptables`, `20-web.v4` -> `20-web`. */
function nameFor(path: string): string {
  const base = path.slice(path.lastIndexOf('/') + 1).replace(/\.(?:v4|v6|nft|conf|rules|save|txt|bak|old)$/g, '');
  const plain = base.replace(/[^\w.-]/g, '-').replace(/^[.-]+/, '') || 'imported';
  return /^\d\d-/.test(plain) ? plain : `50-${plain}`;
}

/** `flush ruleset` would take everybody's rules; the tables are mendwall's to replace. */
function withoutFlush(text: string): { readonly text: string; readonly changed: readonly TranslatedLine[] } {
  const changed: TranslatedLine[] = [];
  const lines = text.split('\n').map((line, index) => {
    if (!/^\s*flush\s+ruleset\b/.test(line)) return line;
    changed.push({ line: index + 1, changes: ['flush ruleset -> nothing'], text: '' });
    return '';
  });
  return { text: lines.join('\n'), changed };
}

/** Neighbours' chains that the text declares, as `filter LIBVIRT_FWI`: by their names, or by who jumps there (`nova-filter-top`). */
function foreignChains(text: string, { tables }: UserPart): Set<string> {
  let table = '';
  return new Set(
    text.split('\n').flatMap((line) => {
      table = /^\*(\S+)/.exec(line)?.[1] ?? table; // *filter
      const chain = /^(?::|-N |--new-chain )(\S+)/.exec(line)?.[1]; // :LIBVIRT_FWI - [0:0]
      if (chain === undefined) return [];
      const isForeign = ownerOfChain(chain) !== undefined || tables.get(table)?.chains.has(chain) !== true;
      return isForeign ? [`${table} ${chain}`] : [];
    }),
  );
}

function resultOf(
  args: ImportArgs,
  to: string,
  text: string,
  translated: readonly TranslatedLine[],
  loaded: LoadedRules,
): ImportResult {
  return {
    kind: 'import',
    changed: !args.dryRun,
    from: args.file,
    to,
    text,
    rules: loaded.placed.length,
    translated,
    leftOut: loaded.leftOut.map(({ line, owner, evidence, text: rule }) => ({ line, owner, evidence, text: rule })),
    warnings: loaded.warnings.filter(({ code }) => code !== 'neighbours-rule'),
    judged: loaded.judged,
  };
}
