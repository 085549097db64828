// `diff`: two rulesets as lines that can be compared. A side is `live`, a snapshot, or a file.
// By default the user's rules only, with the places of the neighbours (slots) where both sides have them, so that a
// displacement shows. Reading needs neither the daemon nor the lock.

import { classify, type Classified, neighbourPartOf, userPartOf } from '../classify/classify.ts';
import { mergeTable } from '../merge/merge.ts';
import { guestBridgeTest } from '../plan/family-plan.ts';
import { readParts } from '../record/memory.ts';
import type { Network } from '../ruleset/network.ts';
import { readLibvirtNetworks } from '../observe/networks.ts';
import { parseNeighbourPart } from '../ruleset/part-text.ts';
import { FAMILIES, type Family } from '../ruleset/types.ts';
import { type Item, type NeighbourPart, USER, type UserPart } from '../ruleset/user-part.ts';
import { type LiveFamily, readForLooking } from './hand.ts';
import { readRulesFile } from './rules-file.ts';
import { loadSnapshot } from './snapshots.ts';
import { noSnapshot, type Refusal, type World } from './types.ts';

export interface DiffArgs {
  /** `live`, `latest`, an id, or a path. */
  readonly a: string;
  readonly b: string;
  /** Whose rules; undefined: the user's. */
  readonly owner: string | undefined;
  readonly all: boolean;
}

/** One line of a side, with the chain it is about, for hunk headings and counts. */
export interface DiffLine {
  readonly text: string;
  readonly place: string;
}

export interface DiffSide {
  readonly label: string;
  readonly lines: readonly DiffLine[];
}

export interface DiffResult {
  readonly kind: 'diff';
  readonly families: readonly {
    readonly family: Family;
    readonly a: DiffSide;
    readonly b: DiffSide;
    readonly same: boolean;
  }[];
  readonly same: boolean;
}

/** One side, both families; a family that a file does not speak of is undefined. */
interface Side {
  readonly kind: 'side';
  readonly label: string;
  readonly parts: Readonly<Record<Family, Content | undefined>>;
}

interface Content {
  readonly user: UserPart;
  readonly neighbours: NeighbourPart;
  /** All rules in live order; undefined for a snapshot, whose two parts are merged. */
  readonly live: Classified | undefined;
}

export async function diff(world: World, args: DiffArgs): Promise<DiffResult | Refusal> {
  const cache: { live?: readonly LiveFamily[] } = {};
  const a = await readSide(world, args.a, cache);
  if (a.kind === 'refused') return a;
  const b = await readSide(world, args.b, cache);
  if (b.kind === 'refused') return b;
  const isGuestBridge = guestBridgeTest(world.context.cache.networks);
  const families = FAMILIES.flatMap((family) => {
    const [one, two] = [a.parts[family], b.parts[family]];
    if (one === undefined || two === undefined) return [];
    const [from, to] = linesOfBoth(one, two, args, isGuestBridge);
    const same =
      from.length === to.length && from.every((line, at) => line.text === to[at]?.text && line.place === to[at]?.place);
    return [{ family, a: { label: a.label, lines: from }, b: { label: b.label, lines: to }, same }];
  });
  return { kind: 'diff', families, same: families.every(({ same }) => same) };
}

// --- sides -----------------------------------------------------------------------------------------------------

async function readSide(world: World, name: string, cache: { live?: readonly LiveFamily[] }): Promise<Side | Refusal> {
  if (name === 'live') return liveSide(world, cache);
  const isName = /^latest(?:~\d+)?$|^[0-9a-f]{4,}$/.test(name) && !(await world.context.host.files.exists(name));
  return isName ? snapshotSide(world, name) : fileSide(world, name);
}

async function liveSide(world: World, cache: { live?: readonly LiveFamily[] }): Promise<Side | Refusal> {
  const live = cache.live ?? (await readForLooking(world.context));
  if ('code' in live) return live;
  cache.live = live;
  const content = (family: Family): Content | undefined => {
    const seen = live.find((each) => each.family === family);
    return seen === undefined ? undefined : contentOf(seen.classified);
  };
  return { kind: 'side', label: 'live', parts: { ip: content('ip'), ip6: content('ip6') } };
}

function contentOf(classified: Classified): Content {
  return { user: userPartOf(classified), neighbours: neighbourPartOf(classified), live: classified };
}

async function snapshotSide(world: World, name: string): Promise<Side | Refusal> {
  if (name === 'latest' && world.context.memory.snapshotId === undefined) return noSnapshot(world.context.memory);
  const loaded = await loadSnapshot(world.context.files.store, name);
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
  return { kind: 'side', label: `snapshot ${loaded.id}`, parts: { ip: content('ip'), ip6: content('ip6') } };
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

// --- lines -----------------------------------------------------------------------------------------------------

/** Chain -> its lines. Built-in chains that say nothing on either side are left out, so an absent table is no difference. */
type Chains = Map<
  string,
  { readonly table: string; readonly chain: string; readonly policy: string; readonly texts: readonly string[] }
>;

function linesOfBoth(
  a: Content,
  b: Content,
  args: DiffArgs,
  isGuestBridge: (name: string) => boolean,
): [DiffLine[], DiffLine[]] {
  const [one, two] = args.all
    ? [allRules(a, isGuestBridge), allRules(b, isGuestBridge)]
    : args.owner === undefined || args.owner === USER
      ? userRules(a, b)
      : [ownersRules(a, args.owner), ownersRules(b, args.owner)];
  const isShown = (key: string): boolean =>
    [one, two].some((side) => side.get(key) !== undefined && !saysNothing(side.get(key)));
  return [toLines(one, two, isShown), toLines(two, one, isShown)];
}

function saysNothing(chain: { policy: string; texts: readonly string[] } | undefined): boolean {
  return chain !== undefined && chain.texts.length === 0 && (chain.policy === 'ACCEPT' || chain.policy === '');
}

/** Chains in the order of this side; a built-in chain that only the other side prints is there with policy ACCEPT. */
function toLines(side: Chains, other: Chains, isShown: (key: string) => boolean): DiffLine[] {
  const lines: DiffLine[] = [];
  for (const table of new Set([...side.values(), ...other.values()].map((chain) => chain.table).sort())) {
    const shown = [...new Set([...keysOf(side, table), ...keysOf(other, table)])].filter(isShown);
    const here = shown.filter((key) => side.has(key) || isPolicy(other.get(key)?.policy));
    if (shown.length > 0) lines.push({ text: `*${table}`, place: table });
    for (const key of here.sort(byPacketThenName)) {
      const chain = side.get(key);
      const name = (chain ?? other.get(key))?.chain ?? '';
      const policy = chain?.policy ?? 'ACCEPT';
      const place = `${table} ${name}`;
      if (policy !== '') lines.push({ text: `:${name} ${policy}`, place });
      for (const text of chain?.texts ?? []) lines.push({ text, place });
    }
  }
  return lines;
}

const keysOf = (side: Chains, table: string): string[] =>
  [...side.keys()].filter((key) => side.get(key)?.table === table);
const isPolicy = (policy: string | undefined): boolean => policy !== undefined && policy !== '-' && policy !== '';

/** As a packet meets them. */
const BUILTIN = ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'];

/** The same order on both sides, whatever order the kernel printed the chains in: built-in chains, then by name. */
function byPacketThenName(a: string, b: string): number {
  const rank = (key: string): number =>
    (BUILTIN.indexOf(key.slice(key.indexOf(' ') + 1)) + BUILTIN.length + 1) % (BUILTIN.length + 1);
  return rank(a) - rank(b) || (a < b ? -1 : 1);
}

function userRules(a: Content, b: Content): [Chains, Chains] {
  return [userChains(a.user, b.user), userChains(b.user, a.user)];
}

function userChains(part: UserPart, other: UserPart): Chains {
  const chains: Chains = new Map();
  for (const table of part.tables.values()) {
    for (const chain of table.chains.values()) {
      const owners = slotOwners(other.tables.get(table.name)?.chains.get(chain.name)?.items ?? []);
      const texts = chain.items.flatMap((item) =>
        item.kind === 'rule' ? [item.text] : owners.has(item.owner) ? [`# ${item.owner}'s rules`] : [],
      );
      chains.set(`${table.name} ${chain.name}`, {
        table: table.name,
        chain: chain.name,
        policy: chain.policy === 'foreign' ? '' : chain.policy,
        texts,
      });
    }
  }
  return chains;
}

function slotOwners(items: readonly Item[]): Set<string> {
  return new Set(items.flatMap((item) => (item.kind === 'slot' ? [item.owner] : [])));
}

function ownersRules({ neighbours }: Content, owner: string): Chains {
  const chains: Chains = new Map();
  for (const [table, part] of neighbours.tables) {
    for (const chain of part.values()) {
      const texts = chain.rules.filter((rule) => rule.owner === owner).map((rule) => rule.text);
      if (texts.length === 0 && chain.owner !== owner) continue;
      chains.set(`${table} ${chain.name}`, {
        table,
        chain: chain.name,
        policy: chain.owner === owner ? '-' : '',
        texts,
      });
    }
  }
  return chains;
}

function allRules(content: Content, isGuestBridge: (name: string) => boolean): Chains {
  const chains: Chains = new Map();
  if (content.live !== undefined) {
    for (const table of content.live.tables.values()) {
      for (const { chain, claim } of table.chains.values()) {
        if (claim.owner === 'mendwall') continue;
        chains.set(`${table.name} ${chain.name}`, {
          table: table.name,
          chain: chain.name,
          policy: chain.policy,
          texts: chain.rules.map((rule) => rule.text),
        });
      }
    }
    return chains;
  }
  for (const table of new Set([...content.user.tables.keys(), ...content.neighbours.tables.keys()])) {
    const want = content.user.tables.get(table) ?? { name: table, chains: new Map() };
    const target = mergeTable({
      want,
      foreign: content.neighbours.tables.get(table) ?? new Map(),
      live: undefined,
      isGuestBridge,
    });
    for (const chain of target.chains.values()) {
      chains.set(`${table} ${chain.name}`, {
        table,
        chain: chain.name,
        policy: chain.policy ?? 'ACCEPT',
        texts: chain.rules.map((rule) => rule.text),
      });
    }
  }
  return chains;
}
