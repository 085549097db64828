// The words of one line of `nft monitor` that tells of a change. Pure.
// Guarantees: what begins like a change but names no object, family or table that nft has is none.
// Does not: read what comes after the name of the chain, set or object.

import { NFT_FAMILIES, type NftFamily, STATEFUL_KEYWORDS } from '../ruleset/nft/types.ts';
import { FAMILIES, TABLES } from '../ruleset/types.ts';

export interface Words {
  readonly verb: string;
  readonly object: string;
  readonly family: NftFamily;
  readonly table: string;
  /** Of the chain, set or object. */
  readonly name: string | undefined;
}

/** What an iptables ruleset is made of. */
export const CORE: ReadonlySet<string> = new Set(['table', 'chain', 'rule']);
const NAMED: ReadonlySet<string> = new Set(['chain', 'rule', 'element', 'set', 'map', 'meter', 'flowtable']);
const STATEFUL: ReadonlySet<string> = new Set(STATEFUL_KEYWORDS);

/** `add table inet t`, `delete ct helper ip t h`; undefined for `trace id ...` and the rest of a comment with a line break. */
export function wordsOf(text: string): Words | undefined {
  const [verb = '', first = '', second = '', third = '', fourth, fifth] = text.split(' ', 6);
  if (!isChange(verb)) return undefined;
  if (first === 'ct') return checked(verb, `ct ${second}`, third, fourth, fifth);
  return checked(verb, first, second, third, fourth);
}

function checked(verb: string, object: string, family: string, table = '', name?: string): Words | undefined {
  if (!isFamily(family) || table === '') return undefined;
  const isWhole = object === 'table' || (name !== undefined && (NAMED.has(object) || STATEFUL.has(object)));
  return isWhole ? { verb, object, family, table, name } : undefined;
}

const isFamily = (word: string): word is NftFamily => (NFT_FAMILIES as readonly string[]).includes(word);

export function isIptablesTable({ family, table }: Words): boolean {
  return (FAMILIES as readonly string[]).includes(family) && TABLES.includes(table);
}

export const isDelete = (verb: string): boolean => verb === 'delete' || verb === 'destroy';

function isChange(verb: string): boolean {
  return verb === 'add' || verb === 'insert' || verb === 'create' || verb === 'replace' || isDelete(verb);
}

/** nft has no way to write a quote inside quotes: with an odd number of them a text goes on in the next line, or ends here. */
export function hasOddQuotes(text: string): boolean {
  let odd = false;
  for (let at = text.indexOf('"'); at >= 0; at = text.indexOf('"', at + 1)) odd = !odd;
  return odd;
}
