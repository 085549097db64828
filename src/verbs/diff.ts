// `diff`: two rulesets as lines that can be compared. A side is `live`, a snapshot, or a file.
// By default the user's rules only, with the places of the neighbours (slots) where both sides have them, so that a
// displacement shows. Reading needs neither the daemon nor the lock.

import { guestBridgeTest } from '../plan/family-plan.ts';
import { FAMILIES, type Family } from '../ruleset/types.ts';
import { type DiffLine, linesOfBoth } from './diff-lines.ts';
import { readSide } from './diff-side.ts';
import type { LiveFamily } from './hand.ts';
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
    readonly family: Family;
    readonly a: DiffSide;
    readonly b: DiffSide;
    readonly same: boolean;
  }[];
  readonly same: boolean;
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
