// `diff --effect`: which packets change verdict between two sides. Each side's rules of the user's stand among the
// neighbours of now, as a merge would place them; the live side is as it is. So with native tables: the user's of each side
// beside the neighbours' of now; a file does not speak of them, so beside it they are those of now. Refuses where
// `explain` does: rules of both engines, rules that iptables-save prints wrong. Reads what `diff` reads; writes nothing.

import type { Classified } from '../classify/classify.ts';
import { classify } from '../classify/classify.ts';
import { compileIptables } from '../explain/iptables-rule.ts';
import { compileNft } from '../explain/nft-ruleset.ts';
import type { Facts } from '../explain/facts.ts';
import type { HostView } from '../explain/path.ts';
import { joinPrograms, type Program } from '../explain/program.ts';
import { effect } from '../explain/symbolic/effect.ts';
import { type PacketClass, summaryOf } from '../explain/symbolic/summary.ts';
import { mergeTable } from '../merge/merge.ts';
import { misprintedRule } from '../observe/native-rules.ts';
import { readNativeTables } from '../observe/native-tables.ts';
import { readInterfaces } from '../observe/routes.ts';
import { guestBridgeTest } from '../plan/family-plan.ts';
import { EMPTY_NATIVE } from '../ruleset/nft/native-part.ts';
import { type Chain, FAMILIES, type Family, type Ruleset, type Table } from '../ruleset/types.ts';
import type { NeighbourPart } from '../ruleset/user-part.ts';
import type { Content } from './diff-lines.ts';
import { type LiveCache, readSide, type Side } from './diff-side.ts';
import { mixedEngines } from './explain.ts';
import { nativeOfSide, type NativeText } from './native-side.ts';
import { type Refusal, refused, type World } from './types.ts';

export interface EffectResult {
  readonly kind: 'effect';
  readonly a: string;
  readonly b: string;
  /** False: too different to be compared wholly. */
  readonly complete: boolean;
  readonly classes: readonly PacketClass[];
}

export async function diffEffect(
  world: World,
  args: { readonly a: string; readonly b: string },
): Promise<EffectResult | Refusal> {
  const cache: LiveCache = {};
  const live = await readSide(world, 'live', cache);
  if (live.kind === 'refused') return live;
  const [a, b] = [await readSide(world, args.a, cache), await readSide(world, args.b, cache)];
  if (a.kind === 'refused') return a;
  if (b.kind === 'refused') return b;
  const families = FAMILIES.filter((family) => a.parts[family] !== undefined && b.parts[family] !== undefined);
  const { networks } = world.context.cache;
  // A file's own neighbours are those of another moment, or host: only the live side is taken as it is.
  const rulesOf = ({ label, parts }: Side): Classified[] =>
    families.map((family) => {
      const content = parts[family] as Content;
      const around = live.parts[family]?.neighbours ?? { family, tables: new Map() };
      const asItIs = label === live.label ? content.live : undefined;
      return asItIs ?? classify(mergedRuleset(family, content, around, guestBridgeTest(networks)), networks);
    });
  const rest = await readRest(world, live);
  if ('code' in rest) return rest;
  const [before, after] = [rulesOf(a), rulesOf(b)];
  const [one, two] = [programOf(before, a, live, rest), programOf(after, b, live, rest)];
  const found = effect(one, two, families, rest.host);
  return { kind: 'effect', a: a.label, b: b.label, complete: found.complete, classes: summaryOf(found, before, after) };
}

/** All that a side's packets meet. */
function programOf(rules: readonly Classified[], { native }: Side, live: Side, { facts, listed }: Rest): Program {
  const { text, without } = native === undefined ? listed : nativeOfSide(listed, live.native ?? EMPTY_NATIVE, native);
  return joinPrograms([
    ...rules.map(({ ruleset }) => compileIptables(ruleset, facts)),
    compileNft(text, { without, ...facts }),
  ]);
}

/** The user's rules of a side merged among today's neighbours. */
function mergedRuleset(
  family: Family,
  { user }: Content,
  { tables: foreign }: NeighbourPart,
  isGuestBridge: (name: string) => boolean,
): Ruleset {
  const tables = new Map<string, Table>();
  for (const name of new Set([...user.tables.keys(), ...foreign.keys()])) {
    const want = user.tables.get(name) ?? { name, chains: new Map() };
    const target = mergeTable({ want, foreign: foreign.get(name) ?? new Map(), live: undefined, isGuestBridge });
    const chains = new Map<string, Chain>();
    for (const chain of target.chains.values()) {
      const rules = chain.rules.map(({ text }) => ({ chain: chain.name, text, counters: undefined }));
      chains.set(chain.name, { name: chain.name, policy: chain.policy ?? 'ACCEPT', counters: undefined, rules });
    }
    tables.set(name, { name, chains });
  }
  return { family, tables };
}

/** What both sides share. */
interface Rest {
  readonly listed: NativeText;
  readonly facts: Facts;
  readonly host: HostView;
}

async function readRest({ context }: World, live: Side): Promise<Rest | Refusal> {
  const { host } = context;
  const [interfaces, engines] = await Promise.all([readInterfaces(host), context.engines.read()]);
  const unreadable = (why: string): Refusal => refused('unreadable-rules', `the live rules cannot be read: ${why}`);
  const mixed = FAMILIES.map((family) => engines[family]).find(({ other }) => other !== 'nothing');
  if (mixed !== undefined) return mixedEngines(mixed.evidence);
  for (const family of FAMILIES) {
    const ruleset = live.parts[family]?.live?.ruleset;
    const misprinted = ruleset === undefined ? undefined : await misprintedRule(host, ruleset, false);
    if (misprinted !== undefined) return unreadable(misprinted);
  }
  const listed = await readNativeTables(host, engines.ip.engine === 'legacy' ? 'legacy' : 'nft');
  if (listed.kind === 'unreadable') return unreadable(listed.why);
  const addresses = interfaces?.addresses;
  const facts = addresses === undefined ? {} : { localAddresses: addresses.map(({ address }) => address) };
  return { listed, facts, host: addresses === undefined ? {} : { addresses } };
}
