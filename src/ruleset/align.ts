// Which rules may stay where they are: the longest common subsequence of two rule lists, found as the longest
// increasing subsequence over paired copies (O(n log n); a textbook diff is quadratic in the edits). Pure.

/**
 * Pairs the k-th copy of each text in `from` with its k-th copy in `to` and keeps the longest run of pairs that is in
 * order on both sides. Returns, for each index of `to`, the index in `from` that stays in place, or -1.
 */
export function alignStaying(from: readonly string[], to: readonly string[]): Int32Array {
  const pairs = pairCopies(from, to);
  return longestIncreasing(pairs);
}

/** For each index of `to`: the index in `from` of the same copy, or -1. */
export function pairCopies(from: readonly string[], to: readonly string[]): Int32Array {
  const pairs = new Int32Array(to.length).fill(-1);
  // Equal heads and tails pair with themselves without hashing: the usual case is a long list with one edit.
  let head = 0;
  while (head < from.length && head < to.length && from[head] === to[head]) pairs[head] = head++;
  let tail = 0;
  while (
    tail < from.length - head &&
    tail < to.length - head &&
    from[from.length - 1 - tail] === to[to.length - 1 - tail]
  ) {
    tail++;
    pairs[to.length - tail] = from.length - tail;
  }
  pairMiddle(from, to, head, tail, pairs);
  return pairs;
}

/** What is left between head and tail: the first copy by text, the further ones by a chain through `next`. */
function pairMiddle(
  from: readonly string[],
  to: readonly string[],
  head: number,
  tail: number,
  pairs: Int32Array,
): void {
  const first = new Map<string, number>();
  const next = new Int32Array(from.length);
  for (let i = from.length - tail - 1; i >= head; i--) {
    const text = from[i] as string;
    next[i] = first.get(text) ?? -1;
    first.set(text, i);
  }
  for (let i = head; i < to.length - tail; i++) {
    const text = to[i] as string;
    const at = first.get(text) ?? -1;
    if (at === -1) continue;
    pairs[i] = at;
    first.set(text, next[at] as number);
  }
}

function longestIncreasing(pairs: Int32Array): Int32Array {
  const tails: number[] = [];
  const previous = new Int32Array(pairs.length).fill(-1);
  for (let i = 0; i < pairs.length; i++) {
    const value = pairs[i] as number;
    if (value === -1) continue;
    const at = firstNotBelow(pairs, tails, value);
    previous[i] = at === 0 ? -1 : (tails[at - 1] as number);
    tails[at] = i;
  }
  const staying = new Int32Array(pairs.length).fill(-1);
  for (let i = tails.length === 0 ? -1 : (tails[tails.length - 1] as number); i !== -1; i = previous[i] as number) {
    staying[i] = pairs[i] as number;
  }
  return staying;
}

function firstNotBelow(pairs: Int32Array, tails: readonly number[], value: number): number {
  let low = 0;
  let high = tails.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((pairs[tails[middle] as number] as number) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
