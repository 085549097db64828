// One side of `diff`, read: the live rules, a snapshot, or a file. Needs neither the daemon nor the lock.

import { classify, type Classified, neighbourPartOf, userPartOf } from '../classify/classify.ts';
import { readLibvirtNetworks } from '../observe/networks.ts';
import { readParts } from '../record/memory.ts';
import type { Network } from '../ruleset/network.ts';
import { parseNeighbourPart } from '../ruleset/part-text.ts';
import type { Family } from '../ruleset/types.ts';
import type { NativePart } from '../ruleset/nft/native-part.ts';
import type { Content } from './diff-lines.ts';
import { type LiveFamily, readForLooking } from './hand.ts';
import { readLiveNative } from './native.ts';
import { readRulesFile } from './rules-file.ts';
import { loadSnapshot } from './snapshots.ts';
import { noSnapshot, type Refusal, type World } from './types.ts';

/** One side, both families; a family that a file does not speak of is undefined. */
export interface Side {
  readonly kind: 'side';
  readonly label: string;
  readonly parts: Readonly<Record<Family, Content | undefined>>;
  /** The user's native tables; undefined for a file, which does not speak of them. */
  readonly native: NativePart | undefined;
}

/** `name`: `live`, a snapshot's name, or a path. `cache` keeps the live rules for the other side. */
export async function readSide(world: World, name: string, cache: LiveCache): Promise<Side | Refusal> {
  if (name === 'live') return liveSide(world, cache);
  const isName = /^latest(?:~\d+)?$|^[0-9a-f]{4,}$/.test(name) && !(await world.context.host.files.exists(name));
  return isName ? snapshotSide(world, name) : fileSide(world, name);
}

/** The live rules, read once. */
export interface LiveCache {
  live?: readonly LiveFamily[];
  native?: NativePart;
}

async function liveSide(world: World, cache: LiveCache): Promise<Side | Refusal> {
  const [live, native] = await Promise.all([
    cache.live ?? readForLooking(world.context),
    cache.native === undefined ? readLiveNative(world.context) : { kind: 'native' as const, part: cache.native },
  ]);
  if ('code' in live) return live;
  if (native.kind === 'refused') return native;
  cache.live = live;
  cache.native = native.part;
  const content = (family: Family): Content | undefined => {
    const seen = live.find((each) => each.family === family);
    return seen === undefined ? undefined : contentOf(seen.classified);
  };
  return { kind: 'side', label: 'live', parts: { ip: content('ip'), ip6: content('ip6') }, native: native.part };
}

function contentOf(classified: Classified): Content {
  return { user: userPartOf(classified), neighbours: neighbourPartOf(classified), live: classified };
}

async function snapshotSide(world: World, name: string): Promise<Side | Refusal> {
  if (name === 'latest' && world.context.memory.snapshotId === undefined) return noSnapshot(world.context.memory);
  // A damaged latest one has a stand-in, which a note has named.
  const ref = name === 'latest' ? (world.context.memory.snapshotId ?? name) : name;
  const loaded = await loadSnapshot(world.context.files.store, ref);
  if (loaded.kind === 'refused') return loaded;
  const notes: string[] = [];
  const user = readParts(loaded.content.user, `snapshot ${loaded.id}`, notes);
  for (const note of notes) world.context.host.log.write('warning', note);
  const content = (family: Family): Content => {
    const parsed = parseNeighbourPart(loaded.content.neighbours[family], family, `snapshot ${loaded.id}`);
    return {
      user: user[family],
      neighbours: parsed.kind === 'part' ? parsed.part : { family, tables: new Map() },
      live: undefined,
    };
  };
  const parts = { ip: content('ip'), ip6: content('ip6') };
  return { kind: 'side', label: `snapshot ${loaded.id}`, parts, native: user.native };
}

async function fileSide(world: World, path: string): Promise<Side | Refusal> {
  const read = await readRulesFile(world.context, path);
  if (read.kind === 'refused') return read;
  const content = contentOf(classify(read.ruleset, await networksOf(world)));
  const { family } = read.ruleset;
  return {
    kind: 'side',
    label: path,
    parts: { ip: family === 'ip' ? content : undefined, ip6: family === 'ip6' ? content : undefined },
    native: undefined,
  };
}

/** libvirt's definitions, read once. */
async function networksOf({ context }: World): Promise<readonly Network[] | undefined> {
  if (context.cache.networks === undefined) {
    const { networks } = await readLibvirtNetworks(context.host.files);
    context.cache.networks = networks.length === 0 ? undefined : networks;
  }
  return context.cache.networks;
}
