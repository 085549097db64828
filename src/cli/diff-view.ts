// The unified diff of two sides. The only place that uses the diff library: for people; alignment is ruleset/align.ts.

import { structuredPatch, type StructuredPatchHunk } from 'diff';
import type { DiffResult } from '../verbs/diff.ts';
import type { DiffLine } from '../verbs/diff-lines.ts';
import { columns, paint } from './columns.ts';
import { safe } from './session.ts';

type FamilyDiff = DiffResult['families'][number];

/** jsdiff takes time quadratic in the edits; beyond this many it gives up, and all lines are shown as changed. */
const MOST_EDITS = 4000;

/** Unified diff with the chain in each hunk's heading. Safe for a terminal when `clean`. */
export function unifiedLines(
  result: DiffResult,
  options: { readonly color: boolean; readonly clean: boolean },
): string[] {
  return result.families.filter(({ same }) => !same).flatMap((family) => familyLines(family, options));
}

function familyLines(
  { family, a, b }: FamilyDiff,
  { color, clean }: { readonly color: boolean; readonly clean: boolean },
): string[] {
  const shown = (text: string): string => (clean ? safe(text) : text);
  const head = [
    paint(`--- ${shown(a.label)} (${family})`, 'bold', color),
    paint(`+++ ${shown(b.label)} (${family})`, 'bold', color),
  ];
  const hunks = hunksOf(a.lines, b.lines);
  return [...head, ...hunks.flatMap((hunk) => hunkLines(hunk, a.lines, b.lines, color, shown))];
}

function hunksOf(a: readonly DiffLine[], b: readonly DiffLine[]): readonly StructuredPatchHunk[] {
  const text = (lines: readonly DiffLine[]): string => lines.map((line) => `${line.text}\n`).join('');
  const patch = structuredPatch('a', 'b', text(a), text(b), undefined, undefined, {
    context: 3,
    maxEditLength: MOST_EDITS,
  });
  return patch?.hunks ?? [wholeHunk(a, b)];
}

function wholeHunk(a: readonly DiffLine[], b: readonly DiffLine[]): StructuredPatchHunk {
  const lines = [...a.map((line) => `-${line.text}`), ...b.map((line) => `+${line.text}`)];
  return { oldStart: 1, oldLines: a.length, newStart: 1, newLines: b.length, lines };
}

/** The chain of the first line that differs. */
function placeOf(hunk: StructuredPatchHunk, a: readonly DiffLine[], b: readonly DiffLine[]): string {
  const first = Math.max(
    0,
    hunk.lines.findIndex((line) => line.startsWith('-') || line.startsWith('+')),
  );
  const isAdded = hunk.lines[first]?.startsWith('+') === true;
  return (isAdded ? b[hunk.newStart - 1 + first] : a[hunk.oldStart - 1 + first])?.place ?? '';
}

function hunkLines(
  hunk: StructuredPatchHunk,
  a: readonly DiffLine[],
  b: readonly DiffLine[],
  color: boolean,
  shown: (text: string) => string,
): string[] {
  const place = shown(placeOf(hunk, a, b));
  const heading = paint(
    `@@ -${hunk.oldStart},${hunk.oldLines} +${hunk.newStart},${hunk.newLines} @@${place === '' ? '' : ` ${place}`}`,
    'cyan',
    color,
  );
  return [
    heading,
    ...hunk.lines.map((line) =>
      line.startsWith('-')
        ? paint(shown(line), 'red', color)
        : line.startsWith('+')
          ? paint(shown(line), 'green', color)
          : shown(line),
    ),
  ];
}

/** `ip filter FORWARD  +1 -2` a chain. */
export function statLines(result: DiffResult): string[] {
  const rows = result.families.flatMap(({ family, a, b }) =>
    [...countsByPlace(a.lines, b.lines)].map(([place, { added, removed }]) => [
      `${family} ${place}`,
      `+${added}`,
      `-${removed}`,
    ]),
  );
  return rows.length === 0 ? [] : [columns(rows)];
}

export function countsByPlace(
  a: readonly DiffLine[],
  b: readonly DiffLine[],
): Map<string, { added: number; removed: number }> {
  const counts = new Map<string, { added: number; removed: number }>();
  const at = { a: 0, b: 0 };
  for (const hunk of hunksOf(a, b)) {
    at.a = hunk.oldStart - 1;
    at.b = hunk.newStart - 1;
    for (const line of hunk.lines) {
      const mark = line[0];
      const place = (mark === '+' ? b[at.b] : a[at.a])?.place ?? '';
      const entry = counts.get(place) ?? { added: 0, removed: 0 };
      if (mark === '+') entry.added++;
      if (mark === '-') entry.removed++;
      if (mark === '+' || mark === '-') counts.set(place, entry);
      if (mark !== '+') at.a++;
      if (mark !== '-') at.b++;
    }
  }
  return counts;
}
