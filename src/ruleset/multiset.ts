// Rules are a multiset: Xen writes identical rules several times on purpose (law 4). Pure.

/** Text -> number of copies. */
export function countTexts(texts: Iterable<string>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  return counts;
}

/** The texts of `a` that `b` holds fewer copies of, each as often as it is short, in `a`'s order (last copies first missing). */
export function missingFrom(a: readonly string[], b: readonly string[]): string[] {
  if (a.length === 0 || sameSequence(a, b)) return [];
  // Only what `a` holds is counted: it is often a handful against a whole chain.
  const left = new Map<string, number>();
  for (const text of a) left.set(text, 0);
  for (const text of b) {
    const copies = left.get(text);
    if (copies !== undefined) left.set(text, copies + 1);
  }
  return a.filter((text) => {
    const copies = left.get(text) ?? 0;
    left.set(text, copies - 1);
    return copies <= 0;
  });
}

export function sameSequence(a: readonly string[], b: readonly string[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** How many texts both hold, copies counted. */
export function countShared(a: readonly string[], b: readonly string[]): number {
  return a.length - missingFrom(a, b).length;
}
