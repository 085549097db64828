// The diff between the user's rules as they stand and others, in the same form as `diff` gives. Pure.

import { neighbourPartOf, userPartOf } from '../classify/classify.ts';
import { sameNative } from '../ruleset/nft/native-part.ts';
import type { UserRules } from '../record/memory.ts';
import { FAMILIES } from '../ruleset/types.ts';
import { guestBridgeTest } from '../plan/family-plan.ts';
import type { NativePart } from '../ruleset/nft/native-part.ts';
import type { DiffResult } from './diff.ts';
import { linesOfBoth } from './diff-lines.ts';
import { nativeLinesOfBoth } from './diff-native.ts';
import type { SeenRulesets } from './hand.ts';

const WHOSE = { owner: undefined, all: false };

/** `live` (with its native tables) against `parts`, which `label` names. */
export function diffOfParts(live: SeenRulesets, native: NativePart, parts: UserRules, label: string): DiffResult {
  const isGuestBridge = guestBridgeTest(live.networks);
  const families: DiffResult['families'][number][] = FAMILIES.flatMap((family) => {
    const classified = live.families.find((each) => each.family === family)?.classified;
    if (classified === undefined) return [];
    const now = { user: userPartOf(classified), neighbours: neighbourPartOf(classified), live: classified };
    const then = { user: parts[family], neighbours: { family, tables: new Map() }, live: undefined };
    const [a, b] = linesOfBoth(now, then, WHOSE, isGuestBridge);
    const same =
      a.length === b.length && a.every((line, at) => line.text === b[at]?.text && line.place === b[at]?.place);
    return [{ family, a: { label: 'live', lines: a }, b: { label, lines: b }, same }];
  });
  if (native.size + parts.native.size > 0) {
    const [a, b] = nativeLinesOfBoth(native, parts.native);
    const same = sameNative(native, parts.native);
    families.push({ family: 'native', a: { label: 'live', lines: a }, b: { label, lines: b }, same });
  }
  return { kind: 'diff', families, same: families.every(({ same }) => same) };
}
