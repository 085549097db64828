// `[[order]]` of mendwall.toml: above whom the user's rules of a chain are to stand. Pure.
//
//   [[order]]
//   user_chain = "INPUT"     # a chain with rules of yours
//   above = "fail2ban"       # a neighbour's id, or the name of an [[owners]] entry
//
// Guarantees: every problem says which key, what was expected, what was found. libvirt is none of them: its order is what
// snapshots remember.

import { didYouMean } from '../nearest.ts';
import { NEIGHBOURS, type OrderWish } from '../owners/index.ts';

export interface OrderProblem {
  readonly code: 'config-unknown-key' | 'config-bad-value';
  readonly key: string | undefined;
  readonly message: string;
}

const KEYS = ['user_chain', 'above'];
const CHAIN = /^[A-Za-z0-9_.:-]{1,28}$/; // INPUT, my-chain

/** The entry, or what is wrong with it. `described`: names of `[[owners]]` entries. */
export function parseOrder(
  entry: unknown,
  described: readonly string[],
): { readonly order: OrderWish | undefined; readonly problems: readonly OrderProblem[] } {
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry))
    return { order: undefined, problems: [bad(undefined, 'expected a table, as in [[order]]', entry)] };
  const { user_chain: chain, above, ...others } = entry as Readonly<Record<string, unknown>>;
  const problems = Object.keys(others).map(unknownKey);
  if (typeof chain !== 'string' || !CHAIN.test(chain))
    problems.push(bad('user_chain', 'expected the name of one chain, as in "INPUT"', chain));
  const ids = [...NEIGHBOURS.map(({ id }) => id), ...described];
  if (typeof above !== 'string' || !ids.includes(above))
    problems.push(bad('above', `expected a neighbour's id${didYouMean(String(above), ids)}`, above));
  if (problems.length > 0) return { order: undefined, problems };
  return { order: { chain: chain as string, above: above as string }, problems };
}

const unknownKey = (key: string): OrderProblem => ({
  code: 'config-unknown-key',
  key,
  message: `unknown key "${key}" in [[order]]${didYouMean(key, KEYS)}; it takes ${KEYS.join(', ')}`,
});

function bad(key: string | undefined, expected: string, found: unknown): OrderProblem {
  const what = key === undefined ? '[[order]]' : `key "order.${key}"`;
  return {
    code: 'config-bad-value',
    key,
    message: `${what}: ${expected}, found ${JSON.stringify(found) ?? 'nothing'}`,
  };
}
