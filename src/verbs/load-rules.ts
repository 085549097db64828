// Rule files to the user's rules: read, rendered, merged in the order of their names, and judged by iptables and nft
// themselves in a throw-away network namespace.
// Guarantees: touches no live rule. With a problem `rules` is what is left without the lines that are wrong; whoever writes
// rules must refuse then.

import { canonicalise } from '../apply/canonical.ts';
import type { Config } from '../config.ts';
import type { Host } from '../host/host.ts';
import { createEngineReader } from '../observe/engine.ts';
import { readLibvirtNetworks } from '../observe/networks.ts';
import { useConfiguredOwners } from '../owners/index.ts';
import type { UserRules } from '../record/memory.ts';
import type { Network } from '../ruleset/network.ts';
import type { Family } from '../ruleset/types.ts';
import { compose, type Composed, composedText } from '../rules/compose.ts';
import { readFragment } from '../rules/fragment.ts';
import { lint } from '../rules/lint.ts';
import { type JudgedLine, type Pointer, settle } from '../rules/settle.ts';
import {
  finding,
  type Finding,
  inOrder,
  type LeftOutRule,
  type PlacedRule,
  placeIn,
  type RuleSource,
} from '../rules/types.ts';
import { userRulesOf, type UserRulesOf } from '../rules/user-rules.ts';
import { loadNative } from './load-native.ts';
import { readSources, type Sources } from './rule-sources.ts';

export interface LoadedRules {
  readonly kind: 'loaded';
  /** As a snapshot holds them: each rule as iptables prints it, slots where a neighbour's rules or a slot line stood. */
  readonly rules: UserRules;
  /** Any: the rules must not be put in place. */
  readonly problems: readonly Finding[];
  readonly warnings: readonly Finding[];
  /** In the order in which they were merged. */
  readonly sources: readonly RuleSource[];
  /** Where each rule of `rules` is written. */
  readonly placed: readonly PlacedRule[];
  readonly leftOut: readonly LeftOutRule[];
  /** False: no namespace could be made (no root), so only the form of the text was looked at. */
  readonly judged: boolean;
}

export interface LoadOptions {
  /** These files, in this order, instead of the folder `config.rulesDir`. */
  readonly files?: readonly string[];
  /** Whose files are trusted besides root's: who runs this. Default 0. */
  readonly uid?: number;
  /** Told how many lines there are before they are judged. */
  readonly onRead?: (lines: number) => void;
}

/** Never rejects for what stands in a file; HostError when the machine cannot be read. */
export async function loadRuleFiles(host: Host, config: Config, options: LoadOptions = {}): Promise<LoadedRules> {
  const { networks } = await readLibvirtNetworks(host.files);
  const read = await readSources(host, config, networks, { files: options.files, uid: options.uid ?? 0 });
  options.onRead?.(read.sources.reduce((sum, { lines }) => sum + lines.length, 0));
  return loadSources(host, config, read);
}

/** The same for texts that are read already. */
export async function loadSources(host: Host, config: Config, read: Sources): Promise<LoadedRules> {
  useConfiguredOwners(config.owners);
  const { networks: all } = await readLibvirtNetworks(host.files);
  const networks = all.length === 0 ? undefined : all;
  const interfaces = await host.files.list('/sys/class/net');
  const [ip, ip6, native] = await Promise.all([
    loadFamily(host, 'ip', read.sources, networks),
    loadFamily(host, 'ip6', read.sources, networks),
    loadNative(host, read.sources, interfaces),
  ]);
  const halves = [ip, ip6, native];
  const placed = halves.flatMap((half) => half.placed);
  const leftOut = halves.flatMap((half) => half.leftOut);
  const odd = lint({
    parts: { ip: ip.part, ip6: ip6.part },
    placed,
    nativeFamilies: [...native.part.keys()].map((key) => key.split(' ')[0] ?? ''),
    interfaces: new Set([...interfaces, ...all.flatMap(({ bridge }) => bridge ?? [])]),
    fileOf: (family) => read.sources.find(({ kind }) => kind === family)?.file,
    point: pointerTo(read.sources),
  });
  return {
    kind: 'loaded',
    rules: { ip: ip.part, ip6: ip6.part, native: native.part },
    problems: [...read.problems, ...halves.flatMap(({ problems }) => problems)].toSorted(inOrder),
    warnings: [
      ...read.warnings,
      ...halves.flatMap(({ warnings }) => warnings),
      ...odd,
      ...leftOut.map(ofNeighbour),
    ].toSorted(inOrder),
    sources: read.sources,
    placed,
    leftOut,
    judged: halves.every(({ judged }) => judged),
  };
}

/** The first place of a word in the line that a place names, as it is written. */
export function pointerTo(sources: readonly RuleSource[]): Pointer {
  const byFile = new Map(sources.map((source) => [source.file, source.written.split('\n')]));
  return (place, word) => placeIn(byFile.get(place.file)?.[place.line - 1] ?? '', place, word);
}

function ofNeighbour(rule: LeftOutRule): Finding {
  return finding('neighbours-rule', rule, `left out: it is ${rule.owner}'s (${rule.evidence}): ${rule.text}`);
}

interface Half extends UserRulesOf {
  readonly problems: readonly Finding[];
  readonly warnings: readonly Finding[];
  readonly judged: boolean;
}

async function loadFamily(
  host: Host,
  family: Family,
  sources: readonly RuleSource[],
  networks: readonly Network[] | undefined,
): Promise<Half> {
  const own = sources.filter(({ kind }) => kind === family);
  const composed = compose(own.map((source) => readFragment(source, family)));
  const { judged, why } = await judge(host, family, composed);
  const { lines } = composedText(composed);
  const chains = [...composed.tables.values()].flatMap((table) => [...table.keys()]);
  const settled = settle(judged, lines, chains, pointerTo(own));
  const [first] = own;
  const unjudged =
    why === undefined || first === undefined
      ? []
      : [finding('not-checked', { file: first.file, line: 0, column: 0 }, `only the form was looked at: ${why}`)];
  return {
    ...userRulesOf(family, composed.tables, settled.saved, networks),
    problems: [...composed.problems, ...settled.problems],
    warnings: [...settled.warnings, ...unjudged],
    judged: unjudged.length === 0,
  };
}

/** Without a namespace each rule is taken as it is typed. */
async function judge(
  host: Host,
  family: Family,
  composed: Composed,
): Promise<{ readonly judged: readonly JudgedLine[]; readonly why: string | undefined }> {
  if (composed.tables.size === 0) return { judged: [], why: undefined };
  const { text, lines } = composedText(composed);
  const { engine } = (await createEngineReader(host).read())[family];
  const canonical = await canonicalise(host, engine === 'legacy' ? 'legacy' : 'nft', family, text);
  if (canonical.kind === 'read') return { judged: canonical.lines, why: undefined };
  const typed = lines.map((line, index): JudgedLine => ({
    line: index + 1,
    kind: 'ok',
    saved: line?.rule === undefined ? [] : [line.rule.text],
  }));
  return { judged: typed, why: canonical.why };
}
