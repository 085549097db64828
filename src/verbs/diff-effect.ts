// `diff --effect`: which packets change verdict between two sides. Each side's rules of the user's stand among the
// neighbours of now, as a merge would place them; the live side is as it is. Native tables are the live ones on both sides
// (diff-native.ts compares their texts). Reads what `diff` reads; writes nothing.

import type { Classified } from '../classify/classify.ts';
import { classify } from '../classify/classify.ts';
import { compileIptables } from '../explain/iptables-rule.ts';
import { compileNft } from '../explain/nft-ruleset.ts';
import { joinPrograms, type Program } from '../explain/program.ts';
import { effect } from '../explain/symbolic/effect.ts';
import { type PacketClass, summaryOf } from '../explain/symbolic/summary.ts';
import { mergeTable } from '../merge/merge.ts';
import { readNativeTables } from '../observe/native-tables.ts';
import { readInterfaces } from '../observe/routes.ts';
import { guestBridgeTest } from '../plan/family-plan.ts';
import { type Chain, FAMILIES, type Family, type Ruleset, type Table } from '../ruleset/types.ts';
import type { NeighbourPart } from '../ruleset/user-part.ts';
import type { Content } from './diff-lines.ts';
import { type LiveCache, readSide } from './diff-side.ts';
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
  const rulesOf = (parts: typeof a.parts): Classified[] =>
    families.map((family) => {
      const content = parts[family] as Content;
      const around = live.parts[family]?.neighbours ?? { family, tables: new Map() };
      return content.live ?? classify(mergedRuleset(family, content, around, guestBridgeTest(networks)), networks);
    });
  const [before, after] = [rulesOf(a.parts), rulesOf(b.parts)];
  const rest = await restOf(world);
  if ('code' in rest) return rest;
  const program = (side: readonly Classified[]): Program =>
    joinPrograms([...side.map(({ ruleset }) => compileIptables(ruleset, rest.facts)), rest.native]);
  const found = effect(program(before), program(after), families, rest.host);
  return { kind: 'effect', a: a.label, b: b.label, complete: found.complete, classes: summaryOf(found, before, after) };
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

async function restOf({ context }: World) {
  const { host } = context;
  const [interfaces, engines] = await Promise.all([readInterfaces(host), context.engines.read()]);
  const native = await readNativeTables(host, engines.ip.engine === 'legacy' ? 'legacy' : 'nft');
  if (native.kind === 'unreadable') return refused('unreadable-rules', `the live rules cannot be read: ${native.why}`);
  const addresses = interfaces?.addresses;
  const facts = addresses === undefined ? {} : { localAddresses: addresses.map(({ address }) => address) };
  const compiled = compileNft(native.text, { without: native.without, ...facts });
  return { native: compiled, facts, host: addresses === undefined ? {} : { addresses } };
}
