// One nft match: selector, comparison, operand, compiled to a predicate. Pure.

import { all, any, anyBit, equals, inField, not, unknown, type Predicate } from './expression.ts';
import type { TokenReader } from './nft-lex.ts';
import { bitsOf, readSelector, type Selector, type SelectorContext } from './nft-selector.ts';
import { readOperand, type Element, type Operand } from './nft-value.ts';
import { numberOf, type Range } from './values.ts';

export interface NftContext extends SelectorContext {
  /** The table's named sets: their elements, or undefined where the text does not say them. */
  readonly sets: ReadonlyMap<string, readonly Element[] | undefined>;
  /** The table's named verdict maps, as token lists of their elements. */
  readonly maps: ReadonlyMap<string, readonly MapElement[] | undefined>;
}

export interface MapElement {
  readonly key: Element;
  /** `accept`, `jump admin` as words. */
  readonly verdict: readonly string[];
}

/** The parts of a key: one selector, or several joined by "." (`ip saddr . tcp dport`). */
export function readSelectors(reader: TokenReader, context: SelectorContext): readonly Selector[] | undefined {
  const selectors: Selector[] = [];
  do {
    const selector = readSelector(reader, context);
    if (selector === undefined) return undefined;
    selectors.push(selector);
  } while (reader.take('.'));
  return selectors;
}

/** The match behind its selectors: comparison and operand. Undefined when it is not understood. */
export function readComparison(
  reader: TokenReader,
  selectors: readonly Selector[],
  context: NftContext,
): Predicate | undefined {
  const needs = all(selectors.map((selector) => selector.needs));
  const [only] = selectors;
  const test =
    selectors.length === 1 && only !== undefined
      ? readSingle(reader, only, context)
      : readSet(reader, selectors, context);
  return test === undefined ? undefined : all([needs, test]);
}

function readSet(reader: TokenReader, selectors: readonly Selector[], context: NftContext): Predicate | undefined {
  const { negated } = readSign(reader);
  const operand = readOperand(reader);
  const test = operand === undefined ? undefined : operandOf(operand, selectors, context);
  return test === undefined || !negated ? test : not(test);
}

function readSign(reader: TokenReader): { readonly negated: boolean; readonly exact: boolean } {
  const negated = reader.take('!=');
  const exact = !negated && reader.take('==');
  return { negated, exact };
}

function readSingle(reader: TokenReader, selector: Selector, context: NftContext): Predicate | undefined {
  if (reader.take('&')) return readMasked(reader, selector);
  if (reader.take('!')) return noneOfBits(selector, readBits(reader, selector));
  for (const sign of ['<', '<=', '>', '>=']) if (reader.take(sign)) return ordered(selector, sign, reader.next());
  const { negated, exact } = readSign(reader);
  const operand = readOperand(reader);
  if (operand === undefined) return undefined;
  const test = reader.take('/')
    ? slashed(selector, operand, reader)
    : selector.bits !== undefined && operand.kind === 'elements' && !operand.braces && !exact
      ? someBits(selector, operand.elements, negated)
      : operandOf(operand, [selector], context);
  return test === undefined || !negated ? test : not(test);
}

/**
 * `ct state established,related`: one of the bits. A single name with "!=" or a range is compared as a number, but the
 * fields that have names have one bit at a time, or are asked for bits: nft prints `tcp flags != syn` for "not just syn".
 */
function someBits(selector: Selector, elements: readonly Element[], negated: boolean): Predicate | undefined {
  const bits = bitsOf(
    selector,
    elements.map(([text = '']) => text),
  );
  const { field } = selector;
  if (bits === undefined || field === undefined) return undefined;
  if (negated && field === 'tcpFlags' && elements.length === 1) return equals(field, bits);
  return anyBit(field, bits);
}

/** `tcp flags ! syn,rst` */
function noneOfBits({ field }: Selector, bits: number | undefined): Predicate | undefined {
  return bits === undefined || field === undefined ? undefined : not(anyBit(field, bits));
}

/** `tcp flags & (fin | syn | rst | ack) == syn`, `meta mark & 0xff == 0x10` */
function readMasked(reader: TokenReader, selector: Selector): Predicate | undefined {
  const mask = readBits(reader, selector);
  const { negated, exact } = readSign(reader);
  const value = negated || exact || !reader.done() ? readBits(reader, selector) : undefined;
  const { field } = selector;
  if (mask === undefined || value === undefined || field === undefined) return undefined;
  return negated ? not(equals(field, value, mask)) : equals(field, value, mask);
}

/** `tcp flags syn / fin,syn,rst,ack`: value, then mask. */
function slashed(selector: Selector, operand: Operand, reader: TokenReader): Predicate | undefined {
  const mask = readBits(reader, selector);
  const texts = operand.kind === 'elements' ? operand.elements.map(([text = '']) => text) : [];
  const value = bitsOf(selector, texts);
  const { field } = selector;
  return mask === undefined || value === undefined || field === undefined ? undefined : equals(field, value, mask);
}

/** Names or numbers joined by "|" or ",", in brackets or not. */
function readBits(reader: TokenReader, selector: Selector): number | undefined {
  const boxed = reader.take('(');
  const texts: string[] = [];
  do texts.push(reader.next());
  while (reader.take('|') || reader.take(','));
  if (boxed && !reader.take(')')) return undefined;
  if (selector.bits !== undefined) return bitsOf(selector, texts);
  const [text = ''] = texts;
  return texts.length === 1 ? numberOf(text) : undefined;
}

const LIMIT = 0xffffffff;

function ordered({ field }: Selector, sign: string, text: string): Predicate | undefined {
  const number = numberOf(text);
  if (field === undefined || number === undefined) return undefined;
  const ends = { '<': [0, number - 1], '<=': [0, number], '>': [number + 1, LIMIT], '>=': [number, LIMIT] }[sign];
  const [first = 0, last = 0] = ends ?? [];
  return inField(field, first > last ? [] : [{ first, last }]);
}

/** One of the elements, by all parts of the key. */
function operandOf(operand: Operand, selectors: readonly Selector[], context: NftContext): Predicate | undefined {
  if (operand.kind === 'elements') return oneOf(operand.elements, selectors);
  const elements = context.sets.get(operand.name);
  const why = `the content of set @${operand.name}`;
  return elements === undefined ? unknown(why) : (oneOf(elements, selectors) ?? unknown(why));
}

function oneOf(elements: readonly Element[], selectors: readonly Selector[]): Predicate | undefined {
  const tests = elements.map((element) => keyIs(element, selectors));
  return tests.every((test) => test !== undefined) ? unite(tests) : undefined;
}

/** Values of the same field become one sorted list of ranges: a set of ten thousand addresses is searched, not walked. */
function unite(tests: readonly Predicate[]): Predicate {
  const [first] = tests;
  if (first?.kind !== 'value' || first.mask !== undefined) return any(tests);
  const ranges: Range[] = [];
  for (const test of tests) {
    if (test.kind !== 'value' || test.field !== first.field || test.mask !== undefined) return any(tests);
    ranges.push(...test.ranges);
  }
  return inField(first.field, ranges);
}

/** An element of a set or map says this of the packet. */
export function keyIs(element: Element, selectors: readonly Selector[]): Predicate | undefined {
  if (element.length !== selectors.length) return undefined;
  const parts = selectors.map((selector, at) => selector.constant(element[at] ?? ''));
  return parts.every((part) => part !== undefined) ? all(parts) : undefined;
}
