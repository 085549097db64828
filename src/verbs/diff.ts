// `diff`: two rulesets as lines that can be compared. A side is `live`, a snapshot, or a file.
// By default the user's rules only, with the places of the neighbours (slots) where both sides have them, so that a
// displacement shows. Reading needs neither the daemon nor the lock.

import { guestBridgeTest } from '../plan/family-plan.ts';
import { FAMILIES, type Family } from '../ruleset/types.ts';
import { sameNative } from '../ruleset/nft/native-part.ts';
import { USER } from '../ruleset/user-part.ts';
import { type DiffLine, linesOfBoth } from './diff-lines.ts';
import { nativeLinesOfBoth } from './diff-native.ts';
import { type LiveCache, readSide, type Side } from './diff-side.ts';
import type { Refusal, World } from './types.ts';

export interface DiffArgs {
  /** `live`, `latest`, an id, or a path. */
  readonly a: string;
  readonly b: string;
  /** Whose rules; undefined: the user's. */
  readonly owner: string | undefined;
  readonly all: boolean;
}

export interface DiffSide {
  readonly label: string;
  readonly lines: readonly DiffLine[];
}

export interface DiffResult {
  readonly kind: 'diff';
  readonly families: readonly {
    /** `native`: the user's own nft tables, of all families. */
    readonly family: Family | 'native';
    readonly a: DiffSide;
    readonly b: DiffSide;
    readonly same: boolean;
  }[];
  readonly same: boolean;
}

/** The user's native tables, where both sides can speak of them and one has any. A snapshot keeps no neighbour's. */
function nativeDiff(a: Side, b: Side, { owner, all }: DiffArgs): DiffResult['families'] {
  if (a.native === undefined || b.native === undefined || !(all || owner === undefined || owner === USER)) return [];
  if (a.native.size + b.native.size === 0) return [];
  const [from, to] = nativeLinesOfBoth(a.native, b.native);
  const same = sameNative(a.native, b.native);
  return [{ family: 'native', a: { label: a.label, lines: from }, b: { label: b.label, lines: to }, same }];
}

export async function diff(world: World, args: DiffArgs): Promise<DiffResult | Refusal> {
  const cache: LiveCache = {};
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
  const all = [...families, ...nativeDiff(a, b, args)];
  return { kind: 'diff', families: all, same: all.every(({ same }) => same) };
}
